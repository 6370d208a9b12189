"""Finds card numbers in bytes and text that may be anything, and hides their digits in place.

Masked are the digits of a `card_number` field, whatever its type and wherever it stands, and every run of
13–19 digits with a valid Luhn sum inside a JSON string, spaces and dashes between its groups allowed.
The first 6 and last 4 digits stay. A bare JSON number (a timestamp) is never taken for a card. Where a value
is not JSON, what is neither text nor clearly a number counts as text: rather one number too many is hidden.

Never: a change of length, an exception, work that grows faster than the value.
"""

import re

import numpy as np
from numpy.typing import NDArray

from ray_fraud.domain.masking_regions import readable_text, spans_of_card_fields, spelled_out

SHORTEST_RUN = 13
LONGEST_RUN = 19
KEPT_FIRST = 6
KEPT_LAST = 4

_SPACE, _DASH, _NUL, _ZERO, _STAR = b" -\x000*"
_LUHN_DOUBLED = np.array([0, 2, 4, 6, 8, 1, 3, 5, 7, 9], dtype=np.int64)
"""Contribution of a digit that the Luhn formula (ISO/IEC 7812-1, annex B) doubles."""

_may_hold_a_card = re.compile(rb"(?i:card|\\u00)|(?:[0-9][ \-\x00]*+){13}").search
"""Nothing is masked without one of: a field's name, an escape that may spell name or digit, 13 digits."""
_digit_run = re.compile(rb"[0-9](?:[ \-\x00]*+[0-9])*+")


def luhn_valid(digits: str) -> bool:
    """Whether a text of ASCII digits has a valid Luhn check digit (ISO/IEC 7812-1)."""
    values = [ord(digit) - _ZERO for digit in reversed(digits)]
    return (sum(values[::2]) + sum(int(_LUHN_DOUBLED[value]) for value in values[1::2])) % 10 == 0


def mask_card_numbers(value: bytes) -> bytes:
    """The value with its card numbers masked; the very same object if it holds none.

    NUL bytes count as nothing, so UTF-16 is read like UTF-8.
    """
    if b"\0" not in value:
        return _masked(value)
    octets = np.frombuffer(value, dtype=np.uint8).copy()
    compact = value.replace(b"\0", b"")
    masked = _masked(compact)
    if masked is compact:
        return value
    octets[octets != 0] = np.frombuffer(masked, dtype=np.uint8)
    return octets.tobytes()


def _masked(value: bytes) -> bytes:
    if _may_hold_a_card(value) is None:
        return value
    spelled = spelled_out(value)
    positions = _luhn_positions(readable_text(value))
    for start, end in spans_of_card_fields(value):
        positions += _positions_in_card_field(spelled, start, end)
    return _hide(value, spelled, positions) if positions else value


def mask_text(text: str) -> str:
    """A text with every Luhn-valid run masked, for messages; every digit in it counts as text."""
    octets = text.encode("utf-8", "surrogatepass")
    return _hide(octets, octets, _luhn_positions(octets)).decode("utf-8", "surrogatepass")


def _hide(value: bytes, spelled: bytes, positions: list[int]) -> bytes:
    masked = bytearray(value)
    for position in positions:
        if spelled[position - 1] != value[position - 1]:
            masked[position - 1 : position + 1] = b"2a"  # the digit was an escape, and so is its asterisk
        else:
            masked[position] = _STAR
    return bytes(masked)


def _positions_in_card_field(spelled: bytes, start: int, end: int) -> list[int]:
    """Digits to hide in the value of a `card_number` field: the middle of a card-long run, all of others."""
    hidden: list[int] = []
    for run in _digit_run.finditer(spelled, start, end):
        digits = [run.start() + index for index, octet in enumerate(run[0]) if octet >= _ZERO]
        a_card = SHORTEST_RUN <= len(digits) <= LONGEST_RUN
        hidden += digits[KEPT_FIRST:-KEPT_LAST] if a_card else digits
    return hidden


def _luhn_positions(readable: bytes) -> list[int]:
    """Positions of the digits to hide in Luhn-valid windows of whole digit groups.

    All windows of one length are summed at once. A space or dash ends a group, anything else ends a run;
    NUL bytes, which cover the escapes, count as nothing.
    """
    if len(readable) < SHORTEST_RUN:
        return []
    octets: NDArray[np.uint8] = np.frombuffer(readable, dtype=np.uint8)
    is_digit = (octets >= _ZERO) & (octets <= _ZERO + 9)
    at = np.flatnonzero(is_digit)
    if at.size < SHORTEST_RUN:
        return []
    is_separator = (octets == _SPACE) | (octets == _DASH)
    separators = np.cumsum(is_separator)[at]
    breaks = np.cumsum(~is_digit & ~is_separator & (octets != _NUL))[at]
    new_run = np.diff(breaks, prepend=-1) > 0
    gaps = np.diff(separators, prepend=separators[0])
    new_run[0] = True
    starts_group = new_run | (gaps > 0)
    ends_group = np.append(starts_group[1:], True)
    run = np.cumsum(new_run)

    digits = octets[at].astype(np.int64) - _ZERO
    odd = np.arange(at.size) % 2 == 1
    # Prefix sums with every even, and with every odd place doubled: a window's sum is one subtraction.
    even_doubled = np.concatenate(([0], np.cumsum(np.where(odd, digits, _LUHN_DOUBLED[digits]))))
    odd_doubled = np.concatenate(([0], np.cumsum(np.where(odd, _LUHN_DOUBLED[digits], digits))))
    depth = np.zeros(at.size + 1, dtype=np.int64)
    for length in range(SHORTEST_RUN, min(LONGEST_RUN, at.size) + 1):
        first = np.flatnonzero(starts_group[: at.size - length + 1])
        last = first + length - 1
        first = first[ends_group[last] & (run[first] == run[last])]
        last = first + length - 1
        sums = np.where(
            last % 2 == 1,
            even_doubled[last + 1] - even_doubled[first],
            odd_doubled[last + 1] - odd_doubled[first],
        )
        first = first[sums % 10 == 0]
        np.add.at(depth, first + KEPT_FIRST, 1)
        np.add.at(depth, first + length - KEPT_LAST, -1)
    positions: list[int] = at[np.cumsum(depth[:-1]) > 0].tolist()
    return positions
