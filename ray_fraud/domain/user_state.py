"""The state of one user: an immutable `bytes` value, and a readable view of it.

What lies in memory is what Redis stores and what digests are made of, so a cut, a snapshot and a replay
can be compared byte for byte. Little-endian, n exact events, m buckets, k days:

| section | bytes   | content                                                                         |
|---------|---------|---------------------------------------------------------------------------------|
| header  | 16      | last_seen_ms i64, n u16, m u16, k u8, layout version u8, two zero bytes         |
| life    | 28      | amount_sum f64, high f64, last_high_ms i64, count u32 of all transactions       |
| times   | 8 · n   | event_ms i64, ascending; equal times in order of arrival                        |
| amounts | 8 · n   | f64                                                                             |
| places  | 8 · n   | lat i32, lon i32 in 1e-7 degree; lat = lon = -2**31 without a place             |
| ids     | 20 · n  | payload digest (16), id_hash (4)                                                |
| buckets | 16 · m  | numbers i32 · m ascending, counts u32 · m, sums f64 · m: event_ms // 5 min      |
| days    | 16 · k  | numbers i32 · k ascending, counts u32 · k, sums f64 · k: event_ms // 1 day      |

Size: 44 bytes, 44 per exact event, 16 per bucket and day. A user with 40 events of one day: 1,820 bytes; with
30 days: 2,284. The busiest user there can be has `max_events` events (64 unless set otherwise), 289 buckets
and 30 days: 7,964 bytes. A bytes object adds 33 bytes, its entry in `users` about 100.

Every state holds at least one event, and the last one is the newest: there is no separate `newest_ms`.

Never: changing a layout without a new layout version and `FOLD_VERSION`.
"""

import struct
import sys
import zlib
from collections.abc import Collection
from typing import NamedTuple

import crc32c
import msgspec
import numpy as np

if sys.byteorder != "little":
    raise ImportError("ray-fraud reads packed states in place and needs a little-endian machine")

LAYOUT_VERSION = 2
HEADER = struct.Struct("<qHHBB2xddqI")
"""Header and life, which every state has."""
HEADER_BYTES = HEADER.size
VERSION_AT = 13
PLACE = struct.Struct("<ii")
_LAST_SEEN = struct.Struct("<q")
ID_BYTES = 20
DIGEST_BYTES = 16
EVENT_BYTES = 24 + ID_BYTES
TALLY_BYTES = 16
NO_PLACE = -(2**31)
"""Latitude and longitude of an event without a place."""
EMPTY_STATE = HEADER.pack(0, 0, 0, 0, LAYOUT_VERSION, 0.0, 0.0, 0, 0)
"""What the first record of a user is folded into; no user is ever stored with it."""


class Layout(NamedTuple):
    """Where the sections of one state begin: byte offsets and counts."""

    events: int
    buckets: int
    days: int
    amounts_at: int
    places_at: int
    ids_at: int
    buckets_at: int
    days_at: int
    end: int


def layout_of(state: bytes) -> Layout:
    """The sections of a packed state, from its header."""
    n, m, k = HEADER.unpack_from(state)[1:4]
    ids_at = HEADER.size + 24 * n
    buckets_at = ids_at + ID_BYTES * n
    days_at = buckets_at + TALLY_BYTES * m
    end = days_at + TALLY_BYTES * k
    return Layout(n, m, k, HEADER.size + 8 * n, HEADER.size + 16 * n, ids_at, buckets_at, days_at, end)


def last_seen_ms(state: bytes) -> int:
    """When the user's last accepted record came, by the watermark; expiry is judged by it."""
    seen_ms: int = HEADER.unpack_from(state)[0]
    return seen_ms


def with_last_seen(state: bytes, seen_ms: int) -> bytes:
    """The same state, last seen at another watermark."""
    return _LAST_SEEN.pack(seen_ms) + state[_LAST_SEEN.size :]


class Place(msgspec.Struct, frozen=True):
    """Degrees times 1e7, WGS 84."""

    lat_e7: int
    lon_e7: int


class ExactEvent(msgspec.Struct, frozen=True):
    """One transaction as the state remembers it."""

    event_ms: int
    amount: float
    place: Place | None
    digest: bytes
    """Payload digest, 16 bytes."""
    id_hash: bytes
    """4 bytes."""


class Tally(msgspec.Struct, frozen=True):
    """Count and sum of amounts of one bucket or day."""

    number: int
    """Event time in whole buckets of 5 minutes, or in whole UTC days, since 1970."""
    count: int
    amount_sum: float


class Lifetime(msgspec.Struct, frozen=True):
    """What is kept of all transactions since the user's state began (`ray_fraud.domain.lifetime`)."""

    amount_sum: float = 0.0
    """The running float sum in order of arrival."""
    high: float = 0.0
    """Number of high transactions, decayed up to the UTC day of the newest of them; 0 without one."""
    last_high_ms: int = 0
    """Event time of the newest high one; 0 without one."""
    count: int = 0


class UserState(msgspec.Struct):
    """The readable view; `encode_state(decode_state(state)) == state`."""

    last_seen_ms: int
    lifetime: Lifetime
    events: list[ExactEvent]
    buckets: list[Tally]
    days: list[Tally]

    @property
    def newest_ms(self) -> int:
        """The user's highest event time."""
        return self.events[-1].event_ms


class StateFormatError(Exception):
    """A stored state that this release cannot read; recover from the log or a snapshot."""


def decode_state(state: bytes) -> UserState:
    """The readable view of a packed state.

    Raises:
        StateFormatError: another layout version, or a length that its header contradicts.
    """
    if len(state) < HEADER.size or state[VERSION_AT] != LAYOUT_VERSION or len(state) != layout_of(state).end:
        start = state[: HEADER.size].hex()
        raise StateFormatError(f"{len(state)} bytes starting {start} are no state of layout {LAYOUT_VERSION}")
    at = layout_of(state)
    n = at.events
    times = struct.unpack_from(f"<{n}q", state, HEADER.size)
    amounts = struct.unpack_from(f"<{n}d", state, at.amounts_at)
    places = PLACE.iter_unpack(state[at.places_at : at.ids_at])
    ids = struct.iter_unpack("<16s4s", state[at.ids_at : at.buckets_at])
    events = [
        ExactEvent(event_ms, amount, None if lat == NO_PLACE else Place(lat, lon), digest, id_hash)
        for event_ms, amount, (lat, lon), (digest, id_hash) in zip(times, amounts, places, ids, strict=True)
    ]
    return UserState(
        last_seen_ms(state),
        Lifetime(*HEADER.unpack_from(state)[5:]),
        events,
        _decode_tallies(state, at.buckets_at, at.buckets),
        _decode_tallies(state, at.days_at, at.days),
    )


def _decode_tallies(state: bytes, start: int, count: int) -> list[Tally]:
    columns = struct.unpack_from(f"<{count}i{count}I{count}d", state, start)
    rows = zip(columns[:count], columns[count : 2 * count], columns[2 * count :], strict=True)
    return [Tally(*row) for row in rows]


def encode_state(view: UserState) -> bytes:
    """The packed state of a readable view."""
    events = view.events
    counts = len(events), len(view.buckets), len(view.days)
    header = HEADER.pack(view.last_seen_ms, *counts, LAYOUT_VERSION, *msgspec.structs.astuple(view.lifetime))
    places = (event.place or Place(NO_PLACE, NO_PLACE) for event in events)
    return b"".join(
        (
            header,
            struct.pack(f"<{len(events)}q", *(event.event_ms for event in events)),
            struct.pack(f"<{len(events)}d", *(event.amount for event in events)),
            *(PLACE.pack(place.lat_e7, place.lon_e7) for place in places),
            *(event.digest + event.id_hash for event in events),
            _encode_tallies(view.buckets),
            _encode_tallies(view.days),
        )
    )


def _encode_tallies(tallies: list[Tally]) -> bytes:
    k = len(tallies)
    numbers = (tally.number for tally in tallies)
    counts = (tally.count for tally in tallies)
    sums = (tally.amount_sum for tally in tallies)
    return struct.pack(f"<{k}i{k}I{k}d", *numbers, *counts, *sums)


_MASK = 2**64 - 1
_STRIDE, _FIRST_FACTOR, _SECOND_FACTOR = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
"""Of splitmix64."""


def users_digest_term(user_id: int, state: bytes) -> int:
    """One user's share of a partition's digest, 64 bits; the digest is the XOR over all users.

    CRC-32C and CRC-32 of the state side by side, mixed with the user id by the finaliser of splitmix64
    (Steele, Lea & Flood 2014). Without the mixing, XOR would not notice states that users exchanged.
    It finds damage, not malice.
    """
    x = (crc32c.crc32c(state) << 32 | zlib.crc32(state)) + user_id * _STRIDE & _MASK
    x = (x ^ x >> 30) * _FIRST_FACTOR & _MASK
    x = (x ^ x >> 27) * _SECOND_FACTOR & _MASK
    return x ^ x >> 31


def users_digest(users: Collection[tuple[int, bytes]]) -> int:
    """The XOR of the users' terms, in any order: `users_digest_term` for many at half its cost."""
    count, crc_32c, crc_32 = len(users), crc32c.crc32c, zlib.crc32
    ids = np.fromiter((user_id for user_id, _ in users), np.uint64, count)
    high = np.fromiter((crc_32c(state) for _, state in users), np.uint64, count)
    low = np.fromiter((crc_32(state) for _, state in users), np.uint64, count)
    # Unsigned array arithmetic wraps at 2**64, which is what the masks say above.
    x = (high << np.uint64(32) | low) + ids * np.uint64(_STRIDE)
    x = (x ^ x >> np.uint64(30)) * np.uint64(_FIRST_FACTOR)
    x = (x ^ x >> np.uint64(27)) * np.uint64(_SECOND_FACTOR)
    return int(np.bitwise_xor.reduce(x ^ x >> np.uint64(31)))
