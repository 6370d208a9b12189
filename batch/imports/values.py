"""From the cells of a row to the contract's JSON, which the decoder then judges.

Cells change their form only: integers become text where the contract has text, dates and times become unix
seconds, an empty cell is an absent field. What has no such form stays as it is, for the decoder to refuse.

Never: I/O; a verdict; a cell that is mended.
"""

import json
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import compress
from typing import Any

import msgspec

from batch.imports.column_map import PLACE_FIELDS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_encode = msgspec.json.Encoder(enc_hook=str).encode
_begins_like_a_date = re.compile(r"\d{4}-\d\d-\d\d").match
_is_json_number = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", re.ASCII).fullmatch


def json_rows(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[bytes]:
    """One JSON object per row.

    Args:
        names: the field of each cell; members of the location last.
        rows: cells; None is an absent field.
    """
    top = sum(name not in PLACE_FIELDS for name in names)
    return [_object(names, row, top) for row in rows]


def _object(names: Sequence[str], row: Sequence[Any], top: int) -> bytes:
    if None in row:
        there = [cell is not None for cell in row]
        members = dict(zip(compress(names[:top], there), compress(row[:top], there), strict=True))
        place = dict(zip(compress(names[top:], there[top:]), compress(row[top:], there[top:]), strict=True))
    else:
        members, place = (
            dict(zip(names[:top], row, strict=False)),
            dict(zip(names[top:], row[top:], strict=True)),
        )
    if place:
        members["location"] = place
    try:
        return _encode(members)
    except UnicodeEncodeError:
        return _encode(_as_it_was_read(members))


def _as_it_was_read(members: dict[str, Any]) -> dict[str, Any]:
    """Texts that are no UTF-8 with the very bytes that were read, for the decoder to find."""
    return {
        name: _as_it_was_read(value) if isinstance(value, dict) else _raw_text(value)
        for name, value in members.items()
    }


def _raw_text(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return msgspec.Raw(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogateescape"))


def number(cell: str) -> Any:
    """A cell of text as the number that it spells, digit by digit; as text if it is none."""
    stripped = cell.strip()
    return msgspec.Raw(stripped.encode()) if _is_json_number(stripped) else cell


def time(cell: str) -> Any:
    """A cell of text as unix seconds: a number, or an ISO 8601 time (UTC unless it says otherwise)."""
    seconds = iso_seconds(cell)
    return number(cell) if seconds is None else seconds


def iso_seconds(text: str) -> float | None:
    """Unix seconds of an ISO 8601 date or time, to the microsecond; None if it is none."""
    stripped = text.strip()
    if _begins_like_a_date(stripped) is None:
        return None
    try:
        at = datetime.fromisoformat(stripped)
    except ValueError:
        return None
    return (at.replace(tzinfo=at.tzinfo or UTC) - _EPOCH).total_seconds()


def not_finite(value: float) -> msgspec.Raw:
    """NaN and the infinities as Python writes them into JSON; the decoder knows these names."""
    return msgspec.Raw(json.dumps(value).encode())
