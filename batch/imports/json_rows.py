"""JSON lines as the contract's JSON.

A line that is a record value already is passed on byte for byte. Others are written anew with the contract's
names and forms; members that are given twice stay so, for the decoder to refuse.

Never: I/O; a number that is rounded on its way.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from batch.imports.column_map import LOCATION, PLACE_FIELDS, TEXT_FIELDS, ColumnMap
from batch.imports.masked import masked
from batch.imports.rows import Value
from batch.imports.values import iso_seconds
from ray_fraud.domain.contract import MAX_VALUE_BYTES

_parse = msgspec.json.Decoder().decode
_TEXTS = tuple(TEXT_FIELDS - set(PLACE_FIELDS))


class _Literal(str):
    """A number, or what Python takes for one, as it is written."""

    __slots__ = ()


class _Members(list[tuple[str, Any]]):
    """An object's members in order, repeated ones too."""


@dataclass(frozen=True)
class JsonRows:
    """See `Rows`; lines without their ends."""

    lines: Sequence[bytes]
    columns: ColumnMap

    def values(self) -> list[Value]:
        return [self._value(line) for line in self.lines]

    def cells(self, column: str) -> list[Any]:
        return [_cell(line, column) for line in self.lines]

    def _value(self, line: bytes) -> Value:
        if not line.strip():
            return None
        if len(line) > MAX_VALUE_BYTES or (not self.columns.renamed and _is_a_value(line)):
            return line
        members = _members_of(line)
        try:
            # What cannot be read is refused by the decoder, for a reason of its own.
            return line if members is None else self._rewritten(members)
        except RecursionError:
            return line

    def _rewritten(self, members: _Members) -> bytes:
        found = [
            (field, _formed(field, value)) for name, value in members for field in self._fields.get(name, ())
        ]
        top = [(field, value) for field, value in found if field not in PLACE_FIELDS]
        place = [(field, value) for field, value in found if field in PLACE_FIELDS]
        if not any(field == LOCATION and value is not None for field, value in top) and any(
            field in ("lat", "lon") and value is not None for field, value in place
        ):
            top = [pair for pair in top if pair[0] != LOCATION]
            top.append((LOCATION, _Members(place)))
        return _written(_Members(top)).encode("utf-8", "surrogatepass")

    @cached_property
    def _fields(self) -> dict[str, list[str]]:
        """Fields by column: one column may serve several."""
        fields: dict[str, list[str]] = {}
        for field, column in self.columns.columns.items():
            fields.setdefault(column, []).append(field)
        return fields

    def original(self, index: int, value: bytes) -> bytes:
        line = self.lines[index]
        if self.columns.card_column == "card_number":
            return masked(line)
        # Masking knows the field by the contract's name, which only a line that could be read has got.
        return masked(value, card_anywhere=value is line)


def keys_of(lines: Sequence[bytes]) -> list[str]:
    """All keys of these lines, in the order of their first appearance; a line that is no object has none."""
    keys: dict[str, None] = {}
    for line in lines:
        keys |= dict.fromkeys(name for name, _ in _members_of(line) or ())
    return list(keys)


def _cell(line: bytes, column: str) -> Any:
    try:
        parsed = _parse(line)
    except (ValueError, RecursionError):
        return None
    return parsed.get(column) if isinstance(parsed, dict) else None


def _is_a_value(line: bytes) -> bool:
    """Whether nothing of the line has to change its form; also if it cannot be read."""
    try:
        parsed = _parse(line)
    except (ValueError, RecursionError):
        return True
    if not isinstance(parsed, dict):
        return True
    if isinstance(parsed.get("timestamp"), str) or any(type(parsed.get(name)) is int for name in _TEXTS):
        return False
    return parsed.get(LOCATION) is not None or not ("lat" in parsed or "lon" in parsed)


def _members_of(line: bytes) -> _Members | None:
    """The members of the object in this line; None if there is none."""
    try:
        parsed = json.loads(
            line.decode(),
            object_pairs_hook=_Members,
            parse_int=_Literal,
            parse_float=_Literal,
            parse_constant=_Literal,
        )
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, _Members) else None


def _formed(field: str, value: Any) -> Any:
    if isinstance(value, _Literal):
        return str(value) if field in TEXT_FIELDS and value.lstrip("-").isdigit() else value
    if field == "timestamp" and isinstance(value, str):
        seconds = iso_seconds(value)
        return value if seconds is None else _Literal(repr(seconds))
    return value


def _written(value: Any) -> str:
    if isinstance(value, _Members):
        return "{" + ",".join(f"{json.dumps(name)}:{_written(part)}" for name, part in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    return str(value) if isinstance(value, _Literal) else json.dumps(value)
