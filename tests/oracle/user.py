"""One user's state in the oracle: plain lists and dicts, moved exactly as the page says.

Every number is worked out anew from the lists; nothing is kept up to date beside them. The small
methods are the decisions of the page; the mutation test overrides them one at a time.

Never: importing anything of the product.
"""

import datetime
import math
from dataclasses import dataclass, field

from tests.oracle.contract import Txn
from tests.oracle.values import haversine_km

HOUR_MS = 3_600_000
DAY_MS = 86_400_000
BUCKET_MS = 300_000
MISSING = math.nan
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


@dataclass(frozen=True)
class Event:
    """One exact event; the place in whole 1e-7 degrees."""

    event_ms: int
    amount: float
    place: tuple[int, int] | None
    payload_digest: bytes
    id_hash: bytes


@dataclass(frozen=True)
class Pair:
    """A record compared with one neighbour in event time."""

    neighbour: str
    km: float
    kmh: float


@dataclass
class Moved:
    """What became of the record itself."""

    event: Event
    late_beyond_state: bool
    in_day: bool
    lifetime: tuple[float, float] = (0.0, MISSING)
    """What the records folded before this one say of it."""
    before: list[Event] = field(default_factory=list)
    """Exact events before the record in the order, oldest first; empty if it is not among them."""
    after: list[Event] = field(default_factory=list)


class User:
    """The state of one user."""

    def __init__(self) -> None:
        self.newest_ms: int | None = None
        self.last_seen_ms = 0
        self.exact: list[Event] = []
        self.buckets: dict[int, tuple[int, float]] = {}
        self.days: dict[int, tuple[int, float]] = {}
        self.amounts: list[float] = []
        """Of all transactions, in order of arrival."""
        self.highs: list[int] = []
        """Event times of the high ones, in order of arrival."""

    def is_duplicate(self, txn: Txn) -> bool:
        return any(event.payload_digest == txn.payload_digest for event in self.exact)

    def is_reused(self, txn: Txn) -> bool:
        return any(event.id_hash == txn.id_hash for event in self.exact)

    def event_of(self, txn: Txn) -> Event:
        kept = None if txn.place is None else (round(txn.place[0] * 1e7), round(txn.place[1] * 1e7))
        return Event(txn.event_ms, txn.amount, kept, txn.payload_digest, txn.id_hash)

    def move(self, txn: Txn, max_events: int) -> Moved:
        """Steps 1 to 6 of the page."""
        e = txn.event_ms
        newest = e if self.newest_ms is None else max(self.newest_ms, e)
        self.newest_ms = newest
        moved = Moved(self.event_of(txn), self.is_beyond(e, newest), in_day=False)
        if not moved.late_beyond_state:
            later = [event for event in self.exact if event.event_ms > e]
            earlier = [event for event in self.exact if event.event_ms <= e]
            self.exact = [*earlier, moved.event, *later]
        self.exact = [event for event in self.exact if not self.is_beyond(event.event_ms, newest)]
        self.buckets = {
            b: pair for b, pair in self.buckets.items() if not self.is_beyond((b + 1) * BUCKET_MS, newest)
        }
        while len(self.exact) > max_events:
            self.add(self.buckets, self.exact[0].event_ms // BUCKET_MS, self.exact[0].amount)
            self.exact = self.exact[1:]
        if e // DAY_MS > newest // DAY_MS - 30:
            self.add(self.days, e // DAY_MS, txn.amount)
            moved.in_day = True
        self.days = {d: pair for d, pair in self.days.items() if d > newest // DAY_MS - 30}
        if not moved.late_beyond_state:
            self.look_around(moved)
        self.live(moved)
        return moved

    def live(self, moved: Moved) -> None:
        """Step 6: the features of the lifetime, then the record in it."""
        e = moved.event.event_ms
        moved.lifetime = self.high_at(e), (e - self.last_high()) / DAY_MS if self.highs else MISSING
        is_high = self.is_high(moved.event.amount)
        self.amounts.append(moved.event.amount)
        if is_high:
            self.highs.append(e)

    def is_high(self, amount: float) -> bool:
        earlier = len(self.amounts)
        return earlier >= 5 and amount > 3.0 * self.lifetime_sum() / earlier

    def lifetime_sum(self) -> float:
        total = 0.0
        for amount in self.amounts:
            total += amount
        return total

    def last_high(self) -> int:
        return max(self.highs)

    def high_so_far(self) -> float:
        """All high ones, decayed up to the day of the newest, one after the other as they came."""
        high, newest_day = 0.0, None
        for event_ms in self.highs:
            day = event_ms // DAY_MS
            newest_day = day if newest_day is None else newest_day
            high = high * self.left_after(day - newest_day) + self.left_after(newest_day - day)
            newest_day = max(newest_day, day)
        return high

    def high_at(self, e: int) -> float:
        if not self.highs:
            return 0.0
        return self.high_so_far() * self.left_after(e // DAY_MS - self.last_high() // DAY_MS)

    def left_after(self, days: int) -> float:
        """Of 1, after so many days; 1 for days that lie before."""
        left = 1.0
        for _ in range(min(days, 400)):
            left *= 0.9330329915368074
        return left

    def is_beyond(self, event_ms: int, newest_ms: int) -> bool:
        return event_ms <= newest_ms - DAY_MS

    def add(self, table: dict[int, tuple[int, float]], slot: int, amount: float) -> None:
        count, total = table.get(slot, (0, 0.0))
        table[slot] = (count + 1, total + amount)

    def look_around(self, moved: Moved) -> None:
        """Fills in what lies before and after the record once everything has been dropped."""
        places = [index for index, event in enumerate(self.exact) if event is moved.event]
        if places:  # else it was itself the oldest of too many: what is evicted takes no part in geography
            moved.before, moved.after = self.exact[: places[0]], self.exact[places[0] + 1 :]

    def in_window(self, event_ms: int, e: int, width_ms: int) -> bool:
        return e - width_ms < event_ms <= e

    def bucket_in_window(self, b: int, e: int, width_ms: int) -> bool:
        return (b + 1) * BUCKET_MS > e - width_ms and b * BUCKET_MS <= e

    def window(self, e: int, width_ms: int) -> tuple[int, float]:
        """(count, sum) of the exact events and buckets of a window that ends with `e`."""
        amounts = [event.amount for event in self.exact if self.in_window(event.event_ms, e, width_ms)]
        buckets = [pair for b, pair in self.buckets.items() if self.bucket_in_window(b, e, width_ms)]
        count = len(amounts) + sum(pair[0] for pair in buckets)
        return count, math.fsum(amounts + [pair[1] for pair in buckets])

    def day_window(self, e: int, days: int) -> tuple[int, float]:
        last = e // DAY_MS
        kept = [pair for d, pair in self.days.items() if last - days < d <= last]
        return sum(pair[0] for pair in kept), math.fsum(pair[1] for pair in kept)

    def pair(self, here: Event, other: Event, neighbour: str) -> Pair:
        """Distance and speed between two places; both events have one."""
        if here.place is None or other.place is None:
            raise ValueError("a pair needs two places")
        (lat_a, lon_a), (lat_b, lon_b) = here.place, other.place
        km = haversine_km(lat_a / 1e7, lon_a / 1e7, lat_b / 1e7, lon_b / 1e7)
        hours = max(abs(here.event_ms - other.event_ms), 1000) / HOUR_MS
        return Pair(neighbour, km, km / hours)

    def previous_pair(self, moved: Moved) -> Pair | None:
        placed = [event for event in moved.before if event.place is not None]
        return self.pair(moved.event, placed[-1], "previous") if placed and moved.event.place else None

    def next_pair(self, moved: Moved) -> Pair | None:
        placed = [event for event in moved.after if event.place is not None]
        return self.pair(moved.event, placed[0], "next") if placed and moved.event.place else None

    def features(self, txn: Txn, moved: Moved) -> list[float]:
        """The 19 features in catalogue order; NaN where one is missing."""
        e = txn.event_ms
        when = EPOCH + datetime.timedelta(milliseconds=e)
        hour, day = self.window(e, HOUR_MS), self.window(e, DAY_MS)
        week, month = self.day_window(e, 7), self.day_window(e, 30)
        previous = self.previous_pair(moved)
        return [
            txn.amount,
            *(txn.place or (MISSING, MISSING)),
            float(when.hour),
            float(when.weekday()),
            *map(float, (*hour, *day, *week, *month)),
            self.over_mean(txn.amount, month) if moved.in_day else MISSING,
            (e - moved.before[-1].event_ms) / 1000 if moved.before else MISSING,
            previous.km if previous else MISSING,
            previous.kmh if previous else MISSING,
            *moved.lifetime,
        ]

    def over_mean(self, amount: float, month: tuple[int, float]) -> float:
        """The amount over the mean of the other transactions of the 30 days."""
        count, total = month
        if count <= 1:
            return MISSING
        mean = (total - amount) / (count - 1)
        return amount / mean if mean > 0 else MISSING
