"""What one row of a file of verdicts says, or why it is refused.

Never: I/O; a clock; a cell that is mended.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from batch.imports.times import iso_seconds
from ray_fraud.domain.rejection import Rejection, RejectionCode
from ray_fraud.domain.verdicts import Origin
from ray_fraud.stores.verdicts.port import NewVerdict, why_refused

WORDS: dict[str, bool | None] = {"true_fraud": True, "false_positive": False, "taken_back": None}
REQUIRED = ("transaction_id", "user_id", "verdict")
COLUMNS = (*REQUIRED, "merchant_id", "event_time", "known_at", "origin", "reviewer", "note")
MAX_SECONDS = 1e11
"""A larger number of seconds is meant as milliseconds."""


class Defaults(msgspec.Struct, frozen=True):
    """What holds for a row that does not say it."""

    origin: Origin
    reviewer: str


class _Refused(Exception):
    """Carries the rejection out of the checks of one field."""

    def __init__(self, code: RejectionCode, field: str, rule: str) -> None:
        super().__init__(code, field, rule)
        self.rejection = Rejection(code, field, f"{field}: {rule}")


def verdict_of(row: Mapping[str, Any], defaults: Defaults, now_ms: int) -> NewVerdict | Rejection:
    """The verdict in a row.

    Args:
        row: cells by column; None and "" are absent, text may stand for numbers and times.
        defaults: of columns that are absent.
        now_ms: when the import began, unix milliseconds; nothing can be known later.
    """
    try:
        made = _verdict(row, defaults, now_ms)
    except _Refused as refused:
        return refused.rejection
    reason = why_refused(made, now_ms)
    if reason is not None:
        return Rejection(RejectionCode.OUT_OF_RANGE, reason.partition(":")[0], reason)
    return made


def _verdict(row: Mapping[str, Any], defaults: Defaults, now_ms: int) -> NewVerdict:
    for name in REQUIRED:
        if row.get(name) in (None, ""):
            raise _Refused(RejectionCode.MISSING_FIELD, name, "required")
    return NewVerdict(
        transaction_id=_text(row, "transaction_id") or "",
        user_id=_whole(row["user_id"], "user_id"),
        fraud=WORDS[_word(row, "verdict", tuple(WORDS), "")],
        origin=Origin(_word(row, "origin", tuple(Origin), defaults.origin)),
        merchant_id=_text(row, "merchant_id"),
        event_ms=_moment(row, "event_time", now_ms),
        known_ms=_moment(row, "known_at", now_ms),
        reviewer=_text(row, "reviewer") or defaults.reviewer,
        note=_text(row, "note") or "",
    )


def _text(row: Mapping[str, Any], name: str) -> str | None:
    cell = row.get(name)
    if cell is None or cell == "":
        return None
    if isinstance(cell, int) and not isinstance(cell, bool):
        return str(cell)
    if not isinstance(cell, str):
        raise _Refused(RejectionCode.WRONG_TYPE, name, f"is {_kind(cell)}, must be text")
    if "\0" in cell:
        raise _Refused(RejectionCode.FORBIDDEN_CHARACTER, name, "holds the character NUL")
    try:
        cell.encode()
    except UnicodeEncodeError:
        raise _Refused(RejectionCode.NOT_UTF8, name, "is no UTF-8") from None
    return cell


def _word(row: Mapping[str, Any], name: str, words: tuple[str, ...], default: str) -> str:
    word = _text(row, name) or default
    if word not in words:
        raise _Refused(RejectionCode.OUT_OF_RANGE, name, f"{word!r} is none of {', '.join(words)}")
    return word


def _whole(cell: Any, name: str) -> int:
    if isinstance(cell, str) and cell.strip().isascii() and cell.strip().isdigit():
        return int(cell) if len(cell.strip()) < 20 else 2**63
    if isinstance(cell, int) and not isinstance(cell, bool):
        return cell
    raise _Refused(RejectionCode.WRONG_TYPE, name, f"is {_kind(cell)}, must be a whole number")


def _moment(row: Mapping[str, Any], name: str, now_ms: int) -> int | None:
    cell = row.get(name)
    if cell is None or cell == "":
        return None
    seconds = _seconds(cell)
    if seconds is None:
        rule = f"is {_kind(cell)}, must be unix seconds or an ISO 8601 time"
        raise _Refused(RejectionCode.WRONG_TYPE, name, rule)
    if not 0 <= seconds < MAX_SECONDS:
        raise _Refused(RejectionCode.OUT_OF_RANGE, name, f"{seconds:g} is no time in unix seconds")
    at_ms = round(seconds * 1000)
    if at_ms > now_ms:
        raise _Refused(
            RejectionCode.TIMESTAMP_IN_FUTURE,
            name,
            f"{(at_ms - now_ms) / 1000:,.3f} s later than the begin of this import; check its time zone",
        )
    return at_ms


def _seconds(cell: Any) -> float | None:
    if isinstance(cell, datetime):
        return cell.replace(tzinfo=cell.tzinfo or UTC).timestamp()
    if isinstance(cell, str):
        found = iso_seconds(cell)
        if found is not None:
            return found
        try:
            cell = float(cell)
        except ValueError:
            return None
    if isinstance(cell, int | float) and not isinstance(cell, bool) and math.isfinite(cell):
        return float(cell)
    return None


def _kind(cell: Any) -> str:
    return {str: "text", bool: "true or false", float: "a number", int: "a number"}.get(
        type(cell), "no value"
    )
