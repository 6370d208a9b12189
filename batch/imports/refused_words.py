"""Why a row was refused, for the one who has the file: with the value, and with what would be accepted.

Never: a card number; a verdict.
"""

import re
from typing import Any

import msgspec

from ray_fraud.domain.field_rules import show
from ray_fraud.domain.rejection import Rejection, RejectionCode

_in_powers = re.compile(r"[0-9](?:[.,][0-9]+)?[eE]\+?[0-9]+").fullmatch
_times = (
    "unix seconds or ISO 8601 like 2026-01-31 10:00:00; else say --time-format, or --time-origin and "
    "--time-unit"
)
_ACCEPTED = {
    "user_id": "a whole number; --hash-user makes numbers of texts",
    "amount": "a number like 12.50, 1,299.00 or $80.31, with --decimal , also 1.299,00",
    "timestamp": _times,
    "location.lat": "degrees, -90 to 90",
    "location.lon": "degrees, -180 to 180",
}
_SPREADSHEET = "saved by a spreadsheet? the digits are lost: export this column as text"
_FORMED = (RejectionCode.WRONG_TYPE, RejectionCode.TIMESTAMP_IN_MILLISECONDS)


def in_words(rejection: Rejection, value: bytes) -> str:
    """The decoder's sentence with the value, if it does not show it, and what is accepted."""
    if rejection.code == RejectionCode.NOT_UTF8:
        return f"{rejection.message}; if the file is not in UTF-8 say --encoding latin-1 or windows-1252"
    told, cell = rejection.message, value_of(value, rejection.field)
    if cell is None or rejection.field == "card_number":
        return told
    if rejection.field == "user_id" and _in_powers(written := _as_written(value, "user_id")):
        return f"{told}; the value is {written}: {_SPREADSHEET}"
    shown = show(cell)
    if shown not in told:
        told += f"; the value is {shown}"
    if is_refund(rejection, value):
        return f"{told}: a refund; only payments are taken"
    if rejection.code == RejectionCode.TIMESTAMP_IN_MILLISECONDS:
        return f"{told}, or say --time-unit milliseconds"
    if rejection.code in _FORMED and rejection.field in _ACCEPTED:
        return f"{told}; accepted is {_ACCEPTED[rejection.field]}"
    return told


def is_refund(rejection: Rejection, value: bytes) -> bool:
    """Whether what is wrong is an amount below 0."""
    if rejection.code != RejectionCode.OUT_OF_RANGE or rejection.field != "amount":
        return False
    cell = value_of(value, "amount")
    return isinstance(cell, int | float) and cell < 0


def value_of(value: bytes, field: str) -> Any:
    """What a value has in a field like `location.lat`; None if that cannot be told."""
    try:
        found: Any = msgspec.json.decode(value)
    except (ValueError, RecursionError):
        return None
    for name in field.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, str | int | float) else None


def _as_written(value: bytes, field: str) -> str:
    """A member of the object by its own digits."""
    try:
        found = msgspec.json.decode(value, type=dict[str, msgspec.Raw])
    except (ValueError, RecursionError):
        return ""
    return bytes(found.get(field, b"")).decode("utf-8", "replace").strip('" ')
