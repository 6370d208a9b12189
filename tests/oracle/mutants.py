"""Wrong folds: the oracle with one decision changed in each, as a wrong product would have it.

The comparison must notice every one of them, or the streams do not hold the case that tells.

Never: two defects in one mutant.
"""

# ruff: noqa: ARG002 (an override that decides wrongly leaves out what it should look at)

import dataclasses

import numpy as np

from tests.oracle.contract import RefusedError, Txn
from tests.oracle.oracle import Oracle, RecordLike
from tests.oracle.user import BUCKET_MS, HOUR_MS, Event, Moved, Pair, User


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
    def move(self, txn: Txn, watermark_ms: int, max_events: int) -> Moved:
        narrow = dataclasses.replace(txn, amount=float(np.float32(txn.amount)))
        return super().move(narrow, watermark_ms, max_events)


class OneEventMore(User):
    def move(self, txn: Txn, watermark_ms: int, max_events: int) -> Moved:
        return super().move(txn, watermark_ms, max_events + 1)


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
    def move(self, txn: Txn, watermark_ms: int, max_events: int) -> Moved:
        return super().move(txn, txn.event_ms, max_events)


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
        watermark_ms = max(self.watermark_ms or 0, record.timestamp_ms)
        if txn.event_ms > watermark_ms + self.settings.max_future_skew_seconds * 1000:
            raise RefusedError("timestamp_in_future", "timestamp")


class IdleOneHourEarly(Oracle):
    def is_idle(self, user: User, hour: int) -> bool:
        return hour - user.last_seen_ms // HOUR_MS >= self.settings.idle_hours


class NeverIdle(Oracle):
    def is_idle(self, user: User, hour: int) -> bool:
        return False


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
]
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
