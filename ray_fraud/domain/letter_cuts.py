"""What of a record's value, key and headers is kept where not all of it has room.

The value is what a refusal is about: it is kept whole as long as it leaves the key its share and a quarter of
the rest to the headers (less if these are smaller). Of headers the longest names and values are cut first.

Never: work on more bytes than there is room for.
"""

from typing import NamedTuple

from ray_fraud.domain.record import Headers
from ray_fraud.domain.record_size import field_bytes, name_bytes, varint_bytes

KEY_SHARE = 4
"""The key gets at most one part in so many of the room …"""
HEADERS_SHARE = 4
"""… and the headers of what is left, unless the value needs less than the others."""
MIN_HEADER_BYTES = 32
"""A header counts as this at least: it limits how many there are."""
COUNT_BYTES = 4
"""What the count of headers may grow by."""

RawHeaders = tuple[tuple[bytes, bytes | None], ...]
"""Names as bytes: a cut may go through a character."""


class Kept(NamedTuple):
    """Beginnings of a record's parts."""

    key: bytes | None
    value: bytes | None
    headers: RawHeaders


def cut_to(room: int, key: bytes | None, value: bytes | None, headers: Headers) -> Kept:
    """Beginnings that take at most `room` bytes in a record, lengths included."""
    room = max(0, room - COUNT_BYTES)
    kept_key = None if key is None else key[: _fitting(room // KEY_SHARE)]
    room -= 0 if kept_key is None else field_bytes(len(kept_key))
    room = max(0, room)
    value_bytes = 0 if value is None else field_bytes(len(value))
    kept_headers = _cut_headers(headers, max(room - value_bytes, room // HEADERS_SHARE))
    room -= sum(field_bytes(len(name)) + field_bytes(len(text or b"")) for name, text in kept_headers)
    return Kept(kept_key, None if value is None else value[: _fitting(room)], kept_headers)


def _fitting(room: int) -> int:
    """How many bytes fit into `room` with their length before them; 0 if nothing does."""
    return max(0, room - varint_bytes(max(0, room)))


def _cut_headers(headers: Headers, room: int) -> RawHeaders:
    first = headers[: room // MIN_HEADER_BYTES]
    parts = [part for name, text in first for part in (len(name_bytes(name)), len(text or b""))]
    longest = _longest(parts, room - sum(varint_bytes(part) for part in parts))
    return tuple(
        (name_bytes(name)[:longest], None if text is None else text[:longest]) for name, text in first
    )


def _longest(sizes: list[int], room: int) -> int:
    """The largest size that all may be cut to so that together they fit."""
    left = len(sizes)
    for size in sorted(sizes):
        if size * left > room:
            return max(0, room // left)
        room -= size
        left -= 1
    return max(sizes, default=0)
