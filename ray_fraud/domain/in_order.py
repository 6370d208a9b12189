"""Sections of a packed state read and written whole, for the record that is its user's newest.

One `struct` call per section, prepared once per count, in place of columns, arrays and single numbers. Of a
long ascending column only the first number and the last few are read: they decide nearly every window.

Never: a record that belongs between others; `event_columns` and `windows` move those.
"""

from bisect import bisect_right
from collections.abc import Callable
from struct import Struct, calcsize
from typing import Any, Literal

from ray_fraud.domain.event_columns import Place
from ray_fraud.domain.lifetime import Totals
from ray_fraud.domain.user_state import HEADER, HEADER_BYTES, ID_BYTES, LAYOUT_VERSION
from ray_fraud.domain.windows import DAYS_KEPT, WEEK_DAYS, DayTallies

Unpack = Callable[..., tuple[Any, ...]]
Pack = Callable[..., bytes]

HEADS = 9
"""Numbers read of an ascending column: the first and the last eight. A week of days is within them."""


def _heads(code: str, count: int) -> str:
    """The `struct` format of the first and the last eight of `count` numbers; of all if there are fewer."""
    if count <= HEADS:
        return f"{count}{code}"
    return f"{code}{calcsize(f'<{code}') * (count - HEADS)}x{HEADS - 1}{code}"


class _EventReaders(dict[int, Unpack]):
    """By number of events, at most `max_events` of them: heads of the times, amounts, the last place."""

    def __missing__(self, count: int) -> Unpack:
        last_place = f"{8 * (count - 1)}xii" if count else ""
        reader = self[count] = Struct(f"<{HEADER_BYTES}x{_heads('q', count)}{count}d{last_place}").unpack_from
        return reader


class _EventWriters(dict[int, Pack]):
    """By number of events that stay: header, and in each column those events' bytes and the new entry."""

    def __missing__(self, count: int) -> Pack:
        column = f"{8 * count}s"
        events = f"{column}q{column}d{column}ii{20 * count}s16s4s"
        writer = self[count] = Struct(HEADER.format + events).pack
        return writer


class _DayReaders(dict[int, Unpack]):
    """By number of days: heads of the numbers, counts, sums."""

    def __missing__(self, count: int) -> Unpack:
        reader = self[count] = Struct(f"<{_heads('i', count)}{count}I{count}d").unpack_from
        return reader


class _DayWriters(dict[int, Pack]):
    """By number of days that stay: in each column those days' bytes and the last day's value."""

    def __missing__(self, count: int) -> Pack:
        writer = self[count] = Struct(f"<{4 * count}si{4 * count}sI{8 * count}sd").pack
        return writer


read_events, _write_events = _EventReaders(), _EventWriters()
_read_days, _write_days = _DayReaders(), _DayWriters()


def rows_until(
    state: bytes, start: int, code: Literal["i", "q"], count: int, column: tuple[Any, ...], limit: int
) -> int:
    """How many of the `count` ascending numbers at byte `start` are at most `limit`.

    `column` begins with their heads, which decide unless the answer lies between those.
    """
    if not count or column[0] > limit:
        return 0
    read = count if count < HEADS else HEADS
    until = bisect_right(column, limit, 1, read)
    if until > 1 or read == count:
        return until + count - read
    return bisect_right(memoryview(state)[start : start + calcsize(code) * count].cast(code), limit)


def events_with(
    state: bytes,
    count: int,
    first: int,
    event_ms: int,
    amount: float,
    place: Place,
    digest: bytes,
    id_hash: bytes,
    seen_ms: int,
    day_rows: int,
    totals: Totals,
) -> bytes:
    """Header and events: those from `first` on of `count` events, and a new one that is the newest."""
    kept = count - first
    times_at, column = HEADER_BYTES + 8 * first, 8 * kept
    amounts_at, places_at = times_at + 8 * count, times_at + 16 * count
    ids_at = HEADER_BYTES + 24 * count
    amount_sum, high, last_high_ms, transactions = totals
    lat, lon = place
    # Named one by one: unpacking tuples among the arguments would first make a list of them all.
    return _write_events[kept](
        seen_ms,
        kept + 1,
        0,
        day_rows,
        LAYOUT_VERSION,
        amount_sum,
        high,
        last_high_ms,
        transactions,
        state[times_at : times_at + column],
        event_ms,
        state[amounts_at : amounts_at + column],
        amount,
        state[places_at:ids_at],
        lat,
        lon,
        state[ids_at + ID_BYTES * first : ids_at + ID_BYTES * count],
        digest,
        id_hash,
    )


def days_with(state: bytes, start: int, count: int, day: int, amount: float) -> tuple[bytes, int, DayTallies]:
    """The section of `count` days at byte `start` with one more amount in `day`, no earlier than the last.

    Returns the section, its rows, and the tallies of the week and the month up to `day`.
    """
    numbers = _read_days[count](state, start)
    read = count if count < HEADS else HEADS
    gone = rows_until(state, start, "i", count, numbers, day - DAYS_KEPT)
    counts, sums = numbers[read + gone : read + count], numbers[read + count + gone :]
    tally, total, stay = 1, amount, count - gone
    if count and numbers[read - 1] == day:
        tally, total, stay = counts[-1] + 1, sums[-1] + amount, stay - 1
        counts, sums = counts[:-1], sums[:-1]
    numbers_at, counts_at, sums_at = start + 4 * gone, start + 4 * (count + gone), start + 8 * (count + gone)
    packed = _write_days[stay](
        state[numbers_at : numbers_at + 4 * stay],
        day,
        state[counts_at : counts_at + 4 * stay],
        tally,
        state[sums_at : sums_at + 8 * stay],
        total,
    )
    sums, count_30d = (*sums, total), sum(counts) + tally
    older = rows_until(state, start, "i", count, numbers, day - WEEK_DAYS) - gone
    if older <= 0:
        return packed, stay + 1, (count_30d, sums, count_30d, sums)
    return packed, stay + 1, (sum(counts[older:]) + tally, sums[older:], count_30d, sums)
