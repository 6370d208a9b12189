"""A value read as JSON with everything kept that a fast parser drops: repeated keys, NaN, huge integers.

Never: an exception, whatever the input; knowledge of the transaction's fields.
"""

import json
import re
from typing import Any, NamedTuple

from ray_fraud.domain.contract import MAX_DEPTH
from ray_fraud.domain.rejection import RejectionCode

MAX_INTEGER_DIGITS = 400
"""Longer integers stay text: no field takes one, and Python refuses to convert thousands of digits."""


class Fault(NamedTuple):
    """Why the bytes are no JSON document; the message continues "value …"."""

    code: RejectionCode
    message: str


class Members(dict[str, Any]):
    """A JSON object that remembers which of its keys were given more than once."""

    repeated: frozenset[str] = frozenset()


class Constant(NamedTuple):
    """NaN, Infinity or -Infinity: Python writes and reads them, JSON has no such values."""

    name: str


class HugeInteger(NamedTuple):
    """An integer of more than `MAX_INTEGER_DIGITS` digits."""

    digits: int


def read_document(value: bytes) -> Any | Fault:
    """The parsed document (objects as `Members`), or the fault that stops the reading."""
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        hint = "it looks like UTF-16" if value[:2] in (b"\xff\xfe", b"\xfe\xff") else "send JSON in UTF-8"
        return Fault(RejectionCode.NOT_UTF8, f"is not UTF-8 from byte {error.start} on; {hint}")
    encoding_fault = _other_encoding(text)
    if encoding_fault is not None:
        return encoding_fault
    if _deeper_than(text, MAX_DEPTH):
        return Fault(RejectionCode.TOO_DEEP, f"nests deeper than {MAX_DEPTH} objects and arrays")
    try:
        return json.loads(
            text, object_pairs_hook=_members, parse_constant=Constant, parse_int=_integer, parse_float=float
        )
    except json.JSONDecodeError as error:
        if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
            return Fault(RejectionCode.NOT_JSON, f"is not JSON: it ends too early, after {len(value)} bytes")
        return Fault(RejectionCode.NOT_JSON, f"is not JSON: {error.msg} at character {error.pos}")


def _other_encoding(text: str) -> Fault | None:
    """The fault of bytes that happen to be UTF-8 but start like something else."""
    if text.startswith("\ufeff"):
        return Fault(RejectionCode.NOT_JSON, "is not JSON: it starts with a byte order mark; leave it out")
    if text.startswith("\0") and text[5:6] == "{" and text[1:2] != "{":
        return Fault(
            RejectionCode.NOT_JSON,
            "is not JSON: it starts like a schema registry's wire format; make the producer write plain JSON",
        )
    if "\0" in text[:2]:
        return Fault(RejectionCode.NOT_UTF8, "holds NUL bytes between characters; it looks like UTF-16")
    return None


_structure = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL).finditer


def _deeper_than(text: str, limit: int) -> bool:
    depth = 0
    for match in _structure(text):
        first = text[match.start()]
        if first in "[{":
            depth += 1
            if depth > limit:
                return True
        elif first in "]}":
            depth -= 1
    return False


def _members(pairs: list[tuple[str, Any]]) -> Members:
    members = Members(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        members.repeated = frozenset(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]  # add() returns None, which is the point
    return members


def _integer(digits: str) -> int | HugeInteger:
    return int(digits) if len(digits) <= MAX_INTEGER_DIGITS else HugeInteger(len(digits))
