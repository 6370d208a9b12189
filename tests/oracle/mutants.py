"""Wrong folds: the oracle with one decision changed in each, as a wrong product would have it.

The comparison must notice every one of them, or the streams do not hold the case that tells.

Never: two defects in one mutant.
"""

# ruff: noqa: ARG002 (an override that decides wrongly leaves out what it should look at)

import dataclasses

import numpy as np

from tests.oracle.clock import Clock
from tests.oracle.contract import RefusedError, Txn
from tests.oracle.oracle import Oracle, RecordLike
from tests.oracle.user import BUCKET_MS, DAY_MS, HOUR_MS, Event, Moved, Pair, User


class ClosedWindow(User):
    def in_window(self, event_ms: int, e: int, width_ms: int) -> bool:
        return e - width_ms <= event_ms <= e


class WindowWithoutLater(User):
    """Equal times are left out, and with them the record itself."""

    def in_window(self, event_ms: int, e: int, width_ms: int) -> bool:
        return e - width_ms < event_ms < e


class BucketByItsStart(User):
    def bucket_in_window(self, b: int, e: int, width_ms: int) -> bool:
        return e - width_ms < b * BUCKET_MS <= e


class DuplicateIgnored(User):
    def is_duplicate(self, txn: Txn) -> bool:
        return False


class DuplicateById(User):
    """A re-used id hides the other payload."""

    def is_duplicate(self, txn: Txn) -> bool:
        return self.is_reused(txn)


class ReuseNotCounted(User):
    def is_reused(self, txn: Txn) -> bool:
        return False


class NoNextNeighbour(User):
    def next_pair(self, moved: Moved) -> Pair | None:
        return None


class FarthestNeighbour(User):
    """The oldest place in state instead of the one just before."""

    def previous_pair(self, moved: Moved) -> Pair | None:
        oldest = [event for event in moved.before if event.place is not None][:1]
        return super().previous_pair(dataclasses.replace(moved, before=oldest))


class NeighbourWithoutPlace(User):
    """Looks at the one event just before and gives up if it has no place."""

    def previous_pair(self, moved: Moved) -> Pair | None:
        return super().previous_pair(dataclasses.replace(moved, before=moved.before[-1:]))


class Float32Amount(User):
    def move(self, txn: Txn, max_events: int) -> Moved:
        narrow = dataclasses.replace(txn, amount=float(np.float32(txn.amount)))
        return super().move(narrow, max_events)


class OneEventMore(User):
    def move(self, txn: Txn, max_events: int) -> Moved:
        return super().move(txn, max_events + 1)


class DayOneMillisecondLonger(User):
    def is_beyond(self, event_ms: int, newest_ms: int) -> bool:
        return super().is_beyond(event_ms + 1, newest_ms)


class EvictedIsLost(User):
    def add(self, table: dict[int, tuple[int, float]], slot: int, amount: float) -> None:
        if table is self.days:
            super().add(table, slot, amount)


class DayOfWindowMissing(User):
    def day_window(self, e: int, days: int) -> tuple[int, float]:
        return super().day_window(e, days - 1)


class MeanWithItself(User):
    def over_mean(self, amount: float, month: tuple[int, float]) -> float:
        return amount / (month[1] / month[0]) if month[1] else float("nan")


class PlaceInMicrodegrees(User):
    def event_of(self, txn: Txn) -> Event:
        event = super().event_of(txn)
        lat, lon = event.place or (0, 0)
        coarse = (round(lat, -1), round(lon, -1))
        return dataclasses.replace(event, place=coarse if event.place else None)


class SeenByOwnTime(User):
    def move(self, txn: Txn, max_events: int) -> Moved:
        self.last_seen_ms = txn.event_ms
        return super().move(txn, max_events)


class HighFromTheFifthOn(User):
    """A mean of four earlier transactions is enough."""

    def is_high(self, amount: float) -> bool:
        earlier = len(self.amounts)
        return earlier >= 4 and amount > 3.0 * self.lifetime_sum() / earlier


class HighCountsItself(User):
    def live(self, moved: Moved) -> None:
        super().live(moved)
        moved.lifetime = self.high_at(moved.event.event_ms), moved.lifetime[1]


class LateRecordDecays(User):
    """Days count in both directions of event time."""

    def high_at(self, e: int) -> float:
        days = abs(e // DAY_MS - self.last_high() // DAY_MS) if self.highs else 0
        return self.high_so_far() * self.left_after(days)


class LateHighCountsWhole(User):
    """A high one that came late enters as if it were of the newest one's day."""

    def high_so_far(self) -> float:
        kept = self.highs
        try:
            self.highs = [max(kept[: index + 1]) for index in range(len(kept))]
            return super().high_so_far()
        finally:
            self.highs = kept


class LastHighByArrival(User):
    def last_high(self) -> int:
        return self.highs[-1]


class HighOfTheExactEvents(User):
    """The mean of what is left of the last day, not of the lifetime."""

    def is_high(self, amount: float) -> bool:
        total = sum(event.amount for event in self.exact) - amount
        return len(self.exact) > 5 and amount > 3.0 * total / (len(self.exact) - 1)


class LifetimeWithoutLate(User):
    """What is late beyond state is left out."""

    def live(self, moved: Moved) -> None:
        if not moved.late_beyond_state:
            super().live(moved)


class AmountAtLimit(Oracle):
    def guard_future(self, txn: Txn, record: RecordLike) -> None:
        super().guard_future(txn, record)
        limit = self.settings.amount_limit
        self.settings = dataclasses.replace(self.settings, amount_limit=float(np.nextafter(limit, limit - 1)))


class FutureOneMillisecondMore(Oracle):
    def guard_future(self, txn: Txn, record: RecordLike) -> None:
        if txn.event_ms > record.timestamp_ms + self.settings.max_future_skew_seconds * 1000 + 1:
            raise RefusedError("timestamp_in_future", "timestamp")


class FutureByWatermark(Oracle):
    def guard_future(self, txn: Txn, record: RecordLike) -> None:
        watermark_ms = max(self.clock.watermark_ms, record.timestamp_ms)
        if txn.event_ms > watermark_ms + self.settings.max_future_skew_seconds * 1000:
            raise RefusedError("timestamp_in_future", "timestamp")


class IdleOneHourEarly(Oracle):
    def is_idle(self, user: User, hour: int) -> bool:
        return hour - user.last_seen_ms // HOUR_MS >= self.settings.idle_hours


class NeverIdle(Oracle):
    def is_idle(self, user: User, hour: int) -> bool:
        return False


class JumpsForgetWhoWasSeenMeanwhile(Oracle):
    def forget(self, before_ms: int, how: str) -> None:
        super().forget(before_ms, "rose")


class FallsLeaveLastSeen(Oracle):
    def lower_last_seen(self) -> None:
        pass


class SeenByTheWatermarkOnly(Oracle):
    def seen_ms(self, timestamp_ms: int, user: User) -> int:
        return self.clock.watermark_ms


class SeenAsTold(Oracle):
    def seen_ms(self, timestamp_ms: int, user: User) -> int:
        return max(self.clock.watermark_ms, timestamp_ms)


class HighestEver(Clock):
    """Believes every record, as the fold did before version 4."""

    def take(self, t: int, user_id: int) -> str:
        before, self.watermark_ms = self.watermark_ms, max(self.watermark_ms, t)
        return "rose" if t > before else "stood"


class NeverFalls(Clock):
    def fall(self) -> str:
        return "stood"


class HighestCandidate(Clock):
    def candidate(self) -> int:
        return max(t for t, _ in self.said_ahead)


class OneVoterWillDo(Clock):
    def has_voters(self) -> bool:
        return True


class NeverFrozen(Clock):
    def is_frozen(self) -> bool:
        return False


class NeverEstablished(Clock):
    def trust_ahead(self) -> None:
        super().trust_ahead()
        self.established = False


class PreviousOnly(Oracle):
    """Takes the previous neighbour's speed even when the next one's is higher."""

    def fastest(self, user: User, moved: Moved) -> Pair | None:
        return user.previous_pair(moved) or user.next_pair(moved)


class EventsOneOffsetLate(Oracle):
    def apply_events(self, offset: int) -> None:
        super().apply_events(offset - 1)


USER_MUTANTS: list[type[User]] = [
    ClosedWindow,
    WindowWithoutLater,
    BucketByItsStart,
    DuplicateIgnored,
    DuplicateById,
    ReuseNotCounted,
    NoNextNeighbour,
    FarthestNeighbour,
    NeighbourWithoutPlace,
    Float32Amount,
    OneEventMore,
    DayOneMillisecondLonger,
    EvictedIsLost,
    DayOfWindowMissing,
    MeanWithItself,
    PlaceInMicrodegrees,
    SeenByOwnTime,
    HighFromTheFifthOn,
    HighCountsItself,
    LateRecordDecays,
    LateHighCountsWhole,
    LastHighByArrival,
    HighOfTheExactEvents,
    LifetimeWithoutLate,
]
CLOCK_MUTANTS: list[type[Clock]] = [
    HighestEver,
    NeverFalls,
    HighestCandidate,
    OneVoterWillDo,
    NeverFrozen,
    NeverEstablished,
]
CLOCKED_MUTANTS: list[type[Oracle]] = [
    JumpsForgetWhoWasSeenMeanwhile,
    FallsLeaveLastSeen,
    SeenByTheWatermarkOnly,
    SeenAsTold,
    *(
        type(clock.__name__, (Oracle,), {"new_clock": clock, "__doc__": clock.__doc__})
        for clock in CLOCK_MUTANTS
    ),
]
"""Wrong readings of the watermark; found on logs whose clocks are wrong."""
FOLD_MUTANTS: list[type[Oracle]] = [
    AmountAtLimit,
    FutureOneMillisecondMore,
    FutureByWatermark,
    IdleOneHourEarly,
    NeverIdle,
    PreviousOnly,
    EventsOneOffsetLate,
    *(type(user.__name__, (Oracle,), {"new_user": user, "__doc__": user.__doc__}) for user in USER_MUTANTS),
]
