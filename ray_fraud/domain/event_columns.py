"""The exact events of one packed state, read in place, and the new columns with one more event among them.

Never: copying what it only reads; changing the old state, which is immutable.
"""

import struct
from bisect import bisect_right
from functools import lru_cache

from ray_fraud.domain.features import MISSING
from ray_fraud.domain.geo import E7, haversine_km, speed_kmh
from ray_fraud.domain.rules import Neighbour
from ray_fraud.domain.user_state import HEADER, ID_BYTES, NO_PLACE, PLACE
from ray_fraud.domain.windows import BUCKET_MS, Tallies

Place = tuple[int, int]
"""Latitude and longitude in 1e-7 degree; `PLACELESS` for none."""
PLACELESS: Place = (NO_PLACE, NO_PLACE)
Entry = tuple[bytes, bytes, bytes, bytes]
"""One exact event as it goes into the four columns: time, amount, place, ids."""
NO_ENTRY: Entry = (b"", b"", b"", b"")
_TIME = struct.Struct("<q")
_AMOUNT = struct.Struct("<d")


@lru_cache(maxsize=2048)
def _amounts_struct(count: int) -> struct.Struct:
    return struct.Struct(f"<{count}d")


def entry(event_ms: int, amount: float, place: Place, ids: bytes) -> Entry:
    """A packed event; `ids` is its payload digest and id hash."""
    return _TIME.pack(event_ms), _AMOUNT.pack(amount), PLACE.pack(*place), ids


def holds(state: bytes, ids_at: int, ids_end: int, needle: bytes, within: int) -> bool:
    """Whether one of the id slots from `ids_at` to `ids_end` holds `needle` at its byte `within`."""
    # Nearly always no slot has even the first byte.
    if needle[0] not in state[ids_at + within : ids_end : ID_BYTES]:
        return False
    at = state.find(needle, ids_at, ids_end)
    while at >= 0:
        if (at - ids_at) % ID_BYTES == within:
            return True
        at = state.find(needle, at + 1, ids_end)
    return False


def neighbour(
    position: str, event_ms: int, place: Place, then_ms: int, amount: float, there: Place
) -> Neighbour:
    """The event at `then_ms` and `there`, seen from a record at `event_ms` and `place`."""
    lat, lon = there[0] / E7, there[1] / E7
    km = 0.0 if there == place else haversine_km(lat, lon, place[0] / E7, place[1] / E7)
    elapsed_ms = abs(event_ms - then_ms)
    return Neighbour(position, then_ms, amount, lat, lon, km, elapsed_ms / 1000, speed_kmh(km, elapsed_ms))


class EventColumns:
    """The events of a state: those from `first` on stay, a new one belongs just before `at` >= `first`."""

    __slots__ = ("amounts", "at", "count", "first", "ids_at", "ids_end", "state", "times")

    def __init__(self, state: bytes, count: int) -> None:
        amounts_at = HEADER.size + 8 * count
        self.state = state
        self.count = count
        self.ids_at = HEADER.size + 24 * count
        self.ids_end = self.ids_at + ID_BYTES * count
        self.times = memoryview(state)[HEADER.size : amounts_at].cast("q")
        self.amounts: tuple[float, ...] = _amounts_struct(count).unpack_from(state, amounts_at)
        self.first = 0
        self.at = count

    def holds(self, needle: bytes, within: int) -> bool:
        """Whether the ids of an event hold `needle` at byte `within` of their slot."""
        return holds(self.state, self.ids_at, self.ids_end, needle, within)

    def locate(self, event_ms: int) -> int:
        """Puts `at` behind all events up to `event_ms`; the newest event time, the new event's included."""
        if not self.count:
            return event_ms
        newest_ms: int = self.times[-1]
        if event_ms >= newest_ms:
            return event_ms
        self.at = bisect_right(self.times, event_ms)
        return newest_ms

    def drop_until(self, horizon_ms: int) -> None:
        """Lets go of events at or before `horizon_ms`, which only a new newest event moves."""
        if self.count and self.times[0] <= horizon_ms:
            self.first = bisect_right(self.times, horizon_ms)

    def move_oldest(self, count: int, buckets: Tallies) -> None:
        """Lets go of the `count` oldest events; they live on in their buckets."""
        for index in range(self.first, self.first + count):
            buckets.add(self.times[index] // BUCKET_MS, self.amounts[index])
        self.first += count
        self.at = max(self.at, self.first)

    def amounts_before(self) -> tuple[float, ...]:
        """Amounts of the events that stay, up to the new one."""
        return self.amounts[self.first : self.at]

    def count_since(self, earliest_ms: int) -> int:
        """How many of these events are later than `earliest_ms`."""
        if self.first < self.at and self.times[self.first] > earliest_ms:
            return self.at - self.first
        return self.at - bisect_right(self.times, earliest_ms, self.first, self.at)

    def seconds_since_previous(self, event_ms: int) -> float:
        """Time from the event just before the new one; missing if there is none."""
        return (event_ms - self.times[self.at - 1]) / 1000 if self.at > self.first else MISSING

    def previous(self, event_ms: int, place: Place) -> Neighbour | None:
        """The nearest event before the new one that has a place."""
        if self.at == self.first:
            return None
        return self._nearest("previous", range(self.at - 1, self.first - 1, -1), event_ms, place)

    def next(self, event_ms: int, place: Place) -> Neighbour | None:
        """The nearest event after the new one that has a place."""
        if self.at == self.count:
            return None
        return self._nearest("next", range(self.at, self.count), event_ms, place)

    def _nearest(self, position: str, indexes: range, event_ms: int, place: Place) -> Neighbour | None:
        places_at = HEADER.size + 16 * self.count
        for index in indexes:
            there: Place = PLACE.unpack_from(self.state, places_at + 8 * index)
            if there != PLACELESS:
                return neighbour(position, event_ms, place, self.times[index], self.amounts[index], there)
        return None

    def packed_with(self, new: Entry) -> tuple[bytes, ...]:
        """Times, amounts, places and ids of the events that stay, with `new` among them."""
        time, amount, place, ids = new
        state, first, ids_at = self.state, self.first, self.ids_at
        amounts_at = HEADER.size + 8 * self.count
        places_at = HEADER.size + 16 * self.count
        times = state[HEADER.size + 8 * first : amounts_at]
        amounts = state[amounts_at + 8 * first : places_at]
        places = state[places_at + 8 * first : ids_at]
        slots = state[ids_at + ID_BYTES * first : self.ids_end]
        if self.at == self.count:
            return times, time, amounts, amount, places, place, slots, ids
        split = 8 * (self.at - first)
        slot = ID_BYTES * (self.at - first)
        return (
            *(times[:split], time, times[split:]),
            *(amounts[:split], amount, amounts[split:]),
            *(places[:split], place, places[split:]),
            *(slots[:slot], ids, slots[slot:]),
        )
