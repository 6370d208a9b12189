"""Finds card numbers in bytes and text that may be anything, and hides their digits in place.

Masked are the digits of a `card_number` field, whatever its type and wherever it stands, and every run of
13–19 digits with a valid Luhn sum inside a JSON string, spaces and dashes between its groups allowed.
The first 6 and last 4 digits stay. A bare JSON number (a timestamp) is never taken for a card. Where a value
is not JSON, what is neither text nor clearly a number counts as text: rather one number too many is hidden.

Never: a change of length, an exception, work that grows faster than the value.
"""

import re
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ray_fraud.domain.masking_regions import (
    names_card_number,
    readable_text,
    spans_of_card_fields,
    spelled_out,
)

SHORTEST_RUN = 13
LONGEST_RUN = 19
KEPT_FIRST = 6
KEPT_LAST = 4

LONGEST_TORN_ESCAPE = 5

DIGITS_HIDDEN = bytes(ord("*") if octet in b"0123456789" else octet for octet in range(256))
"""Table of `bytes.translate` that puts an asterisk for each ASCII digit: so a value that is kept masked is
hashed, because then nobody can try digits until the hash fits."""

Positions = NDArray[np.int64]

_COUNT = np.int32
"""Values have a limit far below 2**31 bytes."""
_NOWHERE: Positions = np.empty(0, dtype=np.int64)
_SPACE, _DASH, _NUL, _ZERO, _STAR, _TWO, _A = b" -\x000*2a"
_OF_A_RUN = b"0123456789 -\x00\t\r\n\v\f\\"
"""What may stand between two digits of one number, and whitespace behind it."""
_LUHN_DOUBLED = np.array([0, 2, 4, 6, 8, 1, 3, 5, 7, 9], dtype=np.uint8)
"""Contribution of a digit that the Luhn formula (ISO/IEC 7812-1, annex B) doubles."""

_may_hold_a_card = re.compile(rb"(?i:card|\\u00)|(?:[0-9][ \-\x00]*+){13}").search
"""Nothing is masked without one of: a field's name, an escape that may spell name or digit, 13 digits."""
_torn_escape = re.compile(rb"\\(?:u[0-9a-fA-F]{0,3})?\Z").search


def luhn_valid(digits: str) -> bool:
    """Whether a text of ASCII digits has a valid Luhn check digit (ISO/IEC 7812-1)."""
    values = [ord(digit) - _ZERO for digit in reversed(digits)]
    return (sum(values[::2]) + sum(int(_LUHN_DOUBLED[value]) for value in values[1::2])) % 10 == 0


def mask_card_numbers(value: bytes) -> bytes:
    """The value with its card numbers masked; the very same object if it holds none.

    NUL bytes count as nothing, so UTF-16 is read like UTF-8.
    """
    return _without_nul(value, _masked)


def mask_beginning(beginning: bytes) -> bytes:
    """The beginning of a longer value with its card numbers masked, those too that the cut goes through.

    Where the rest begins nothing proves what a digit belongs to: the last `LONGEST_RUN - 1` digits of a run
    that ends there are hidden.
    """
    return _without_nul(beginning, _masked_beginning)


def mask_key(key: bytes, *, cut: bool = False) -> bytes:
    """A record's key with every Luhn-valid run masked, also one that is the whole key; other numbers stay."""
    return _without_nul(key, lambda compact: _masked_text(compact, spelled_out, cut=cut))


def mask_header(name: bytes, value: bytes, *, cut: bool = False) -> bytes:
    """A header's value likewise; times in milliseconds stay, and one named `card_number` is such a field."""
    field = names_card_number(name)
    return _without_nul(value, lambda compact: _masked_text(compact, _readable_header, cut=cut, field=field))


def _without_nul(value: bytes, masked: Callable[[bytes], bytes]) -> bytes:
    if b"\0" not in value:
        return masked(value)
    compact = value.replace(b"\0", b"")
    after = masked(compact)
    if after is compact:
        return value
    octets = np.frombuffer(value, dtype=np.uint8).copy()
    octets[octets != 0] = np.frombuffer(after, dtype=np.uint8)
    return octets.tobytes()


def _masked(value: bytes) -> bytes:
    return _masked_text(value, readable_text)


def _masked_beginning(beginning: bytes) -> bytes:
    return _masked_text(beginning, lambda value: readable_text(value, whole=False), cut=True)


def _readable_header(value: bytes) -> bytes:
    return readable_text(value, whole=False)


def _masked_text(
    value: bytes, readable: Callable[[bytes], bytes], *, cut: bool = False, field: bool = False
) -> bytes:
    """`value` (no NUL in it) masked; the very same object if nothing is to be hidden.

    Args:
        value: any bytes.
        readable: gives a copy in which a run may count as a card number.
        cut: the value goes on behind its end.
        field: all of it is the value of a `card_number` field.
    """
    hidden: list[Positions] = []
    spelled = value
    if field or _may_hold_a_card(value) is not None:
        spelled = spelled_out(value)
        hidden.append(_luhn_positions(readable(value)))
        spans = [(0, len(value))] if field else spans_of_card_fields(value)
        hidden.append(_positions_in_card_fields(spelled, spans))
    if cut:
        spelled = spelled if hidden else spelled_out(value)
        hidden.append(_positions_at_the_cut(value, spelled))
    positions = np.concatenate(hidden) if hidden else _NOWHERE
    return _hide(value, spelled, positions) if positions.size else value


def mask_text(text: str) -> str:
    """A text with every Luhn-valid run masked, for messages; every digit in it counts as text."""
    octets = text.encode("utf-8", "surrogatepass")
    return _hide(octets, octets, _luhn_positions(octets)).decode("utf-8", "surrogatepass")


def _hide(value: bytes, spelled: bytes, positions: Positions) -> bytes:
    masked = bytearray(value)
    octets = np.frombuffer(masked, dtype=np.uint8)
    if spelled is not value:
        covered = np.frombuffer(spelled, dtype=np.uint8)[positions - 1] != octets[positions - 1]
        covered[positions == 0] = False
        # The digit was an escape, and so is its asterisk.
        octets[positions[covered] - 1] = _TWO
        octets[positions[covered]] = _A
        positions = positions[~covered]
    octets[positions] = _STAR
    del octets
    return bytes(masked)


def _positions_in_card_fields(spelled: bytes, spans: list[tuple[int, int]]) -> Positions:
    """Digits to hide in the values of `card_number` fields: the middle of a card-long run, all of others."""
    if not spans:
        return _NOWHERE
    octets = np.frombuffer(spelled, dtype=np.uint8)
    starts, ends = np.array(spans, dtype=np.int64).T
    begun = np.bincount(starts, minlength=octets.size + 1)[:-1].cumsum(dtype=_COUNT)
    ended = np.bincount(ends, minlength=octets.size + 1)[:-1].cumsum(dtype=_COUNT)
    is_digit = (octets >= _ZERO) & (octets <= _ZERO + 9)
    at = np.flatnonzero(is_digit & (begun > ended))
    goes_on = is_digit | (octets == _SPACE) | (octets == _DASH) | (octets == _NUL)
    breaks = np.cumsum(~goes_on, dtype=_COUNT)[at] + begun[at]
    _, run, lengths = np.unique(breaks, return_inverse=True, return_counts=True)
    length = lengths[run]
    place = np.arange(at.size) - (np.cumsum(lengths) - lengths)[run]
    a_card = (length >= SHORTEST_RUN) & (length <= LONGEST_RUN)
    hidden: Positions = at[~a_card | ((place >= KEPT_FIRST) & (place < length - KEPT_LAST))]
    return hidden


def _positions_at_the_cut(value: bytes, spelled: bytes) -> Positions:
    """Digits at the end that may belong to a number which goes on behind it."""
    torn_escape = _torn_escape(value, max(0, len(value) - LONGEST_TORN_ESCAPE))
    if torn_escape is not None:
        spelled = spelled[: torn_escape.start()]
    start = len(spelled.rstrip(_OF_A_RUN))
    tail = np.frombuffer(spelled, dtype=np.uint8)[start:]
    at = np.flatnonzero((tail >= _ZERO) & (tail <= _ZERO + 9))
    return at[1 - LONGEST_RUN :] + start


def _luhn_positions(readable: bytes) -> Positions:
    """Positions of the digits to hide in Luhn-valid windows of whole digit groups.

    All windows of one length are summed at once. A space or dash ends a group, anything else ends a run;
    NUL bytes, which cover the escapes, count as nothing.
    """
    if len(readable) < SHORTEST_RUN:
        return _NOWHERE
    octets: NDArray[np.uint8] = np.frombuffer(readable, dtype=np.uint8)
    is_digit = (octets >= _ZERO) & (octets <= _ZERO + 9)
    at = np.flatnonzero(is_digit).astype(_COUNT)
    if at.size < SHORTEST_RUN:
        return _NOWHERE
    is_separator = (octets == _SPACE) | (octets == _DASH)
    separators = np.cumsum(is_separator, dtype=_COUNT)[at]
    breaks = np.cumsum(~(is_digit | is_separator | (octets == _NUL)), dtype=_COUNT)[at]
    new_run = np.diff(breaks, prepend=-1) > 0
    gaps = np.diff(separators, prepend=separators[0])
    new_run[0] = True
    starts_group = new_run | (gaps > 0)
    ends_group = np.append(starts_group[1:], True)
    run = np.cumsum(new_run, dtype=_COUNT)

    digits = octets[at] - _ZERO
    odd = np.arange(at.size) % 2 == 1
    # Prefix sums with every even, and with every odd place doubled: a window's sum is one subtraction.
    even_doubled = _sums_before(np.where(odd, digits, _LUHN_DOUBLED[digits]))
    odd_doubled = _sums_before(np.where(odd, _LUHN_DOUBLED[digits], digits))
    depth = np.zeros(at.size + 1, dtype=_COUNT)
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
    return at[np.cumsum(depth[:-1]) > 0].astype(np.int64)


def _sums_before(values: NDArray[np.uint8]) -> NDArray[np.int32]:
    """At each index the sum of all values before it; shape (n,) to (n + 1,)."""
    sums = np.zeros(values.size + 1, dtype=_COUNT)
    np.cumsum(values, out=sums[1:], dtype=_COUNT)
    return sums
