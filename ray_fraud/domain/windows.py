"""Time windows: their widths, the tallies of buckets and days, and the features that are read from them.

Never: a clock; windows are judged by event time.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from math import fsum

from ray_fraud.domain.features import MISSING
from ray_fraud.domain.transaction import Location

HOUR_MS = 3_600_000
DAY_MS = 86_400_000
BUCKET_MS = 300_000
"""Width of a bucket: what is kept of the last 24 hours beyond the exact events."""
WEEK_DAYS = 7
DAYS_KEPT = 30
ALL_ROWS = slice(None)
DayTallies = tuple[int, Iterable[float], int, Iterable[float]]
"""Count of transactions and sums of days: of the last 7 days, then of the last 30."""
_THURSDAY = 3
"""Day of the week of 1 January 1970; Monday is 0."""


class Tallies:
    """Counts and sums of amounts by number of bucket, or of day, ascending."""

    __slots__ = ("counts", "numbers", "sums")

    def __init__(self, state: bytes, start: int, count: int) -> None:
        """Reads `count` tallies at byte `start` of a packed state: numbers, then counts, then sums."""
        counts_at = start + 4 * count
        sums_at = counts_at + 4 * count
        self.numbers = array("i", state[start:counts_at])
        self.counts = array("I", state[counts_at:sums_at])
        self.sums = array("d", state[sums_at : sums_at + 8 * count])

    def drop_below(self, number: int) -> None:
        """Forgets every tally with a smaller number."""
        if self.numbers and self.numbers[0] < number:
            kept = bisect_left(self.numbers, number)
            del self.numbers[:kept], self.counts[:kept], self.sums[:kept]

    def add(self, number: int, amount: float) -> None:
        """Counts one amount; the sum is the running float sum in order of arrival."""
        numbers = self.numbers
        at = len(numbers) - 1 if numbers and numbers[-1] == number else bisect_left(numbers, number)
        if at < len(numbers) and numbers[at] == number:
            self.counts[at] += 1
            self.sums[at] += amount
        else:
            numbers.insert(at, number)
            self.counts.insert(at, 1)
            self.sums.insert(at, amount)

    def between(self, first: int, last: int) -> slice:
        """The rows with `first <= number <= last`."""
        numbers = self.numbers
        if numbers and first <= numbers[0] and numbers[-1] <= last:
            return ALL_ROWS
        return slice(bisect_left(numbers, first), bisect_left(numbers, last + 1))

    def packed(self) -> bytes:
        """The section of a state: numbers, then counts, then sums."""
        if not self.numbers:
            return b""
        return self.numbers.tobytes() + self.counts.tobytes() + self.sums.tobytes()


NO_TALLIES = Tallies(b"", 0, 0)
"""To be read only."""


def moment_features(
    amount: float, place: Location | None, event_ms: int
) -> tuple[float, float, float, int, int]:
    """Features 0–4: amount, place, hour of the day and day of the week (UTC)."""
    return (
        amount,
        MISSING if place is None else place.lat,
        MISSING if place is None else place.lon,
        event_ms // HOUR_MS % 24,
        (event_ms // DAY_MS + _THURSDAY) % 7,
    )


def event_features(
    amounts: tuple[float, ...], count_1h: int, buckets: Tallies, event_ms: int
) -> tuple[int, float, int, float]:
    """Features 5–8: count and sum of the last hour and of the last 24 hours.

    `amounts` are those of the exact events of the last 24 hours up to `event_ms`, the last `count_1h` of
    them of the last hour. Buckets that lie partly in a window count whole.
    """
    count_24h = len(amounts)
    if not buckets.numbers:
        sum_24h = fsum(amounts)
        if count_1h == count_24h:
            return count_24h, sum_24h, count_24h, sum_24h
        return count_1h, fsum(amounts[count_24h - count_1h :]), count_24h, sum_24h
    bucket = event_ms // BUCKET_MS
    hour = buckets.between((event_ms - HOUR_MS) // BUCKET_MS, bucket)
    day = buckets.between((event_ms - DAY_MS) // BUCKET_MS, bucket)
    return (
        count_1h + sum(buckets.counts[hour]),
        fsum((*amounts[count_24h - count_1h :], *buckets.sums[hour])),
        count_24h + sum(buckets.counts[day]),
        fsum((*amounts, *buckets.sums[day])),
    )


def day_tallies(days: Tallies, day: int) -> DayTallies:
    """The kept days up to `day`."""
    month = days.between(day - DAYS_KEPT + 1, day)
    week = days.between(day - WEEK_DAYS + 1, day)
    return sum(days.counts[week]), days.sums[week], sum(days.counts[month]), days.sums[month]


def day_features(
    count_7d: int, sums_7d: Iterable[float], count_30d: int, sums_30d: Iterable[float], amount: float
) -> tuple[int, float, int, float, float]:
    """Features 9–13: count and sum of 7 and of 30 days; `amount` over the mean of the other 30 days'."""
    sum_30d = fsum(sums_30d)
    sum_7d = sum_30d if sums_7d is sums_30d else fsum(sums_7d)
    mean_of_others = (sum_30d - amount) / (count_30d - 1) if count_30d > 1 else 0.0
    ratio = amount / mean_of_others if mean_of_others > 0 else MISSING
    return count_7d, sum_7d, count_30d, sum_30d, ratio
