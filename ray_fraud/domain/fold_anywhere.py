"""One record moves the packed state of its user, wherever in event time it belongs.

The numbers in the comments are those of `docs/semantics.md`, "The state of one user". Columns of the old
state are read in place; the new state is the old one's slices around one new entry, joined once. The tests
hold the same step written plainly, on the readable view, and compare the two.

Never: a clock, a log line, an exception for any transaction that the decoder accepts.
"""

from ray_fraud.domain.event_columns import NO_ENTRY, PLACELESS, EventColumns, entry
from ray_fraud.domain.features import MISSING
from ray_fraud.domain.geo import E7
from ray_fraud.domain.lifetime import lifetime_with
from ray_fraud.domain.step import Step
from ray_fraud.domain.transaction import Transaction
from ray_fraud.domain.user_state import DIGEST_BYTES, HEADER, LAYOUT_VERSION, TALLY_BYTES
from ray_fraud.domain.windows import (
    BUCKET_MS,
    DAY_MS,
    DAYS_KEPT,
    HOUR_MS,
    NO_TALLIES,
    Tallies,
    day_features,
    day_tallies,
    event_features,
    moment_features,
)


def fold_anywhere(
    state: bytes,
    transaction: Transaction,
    event_ms: int,
    digest: bytes,
    id_hash: bytes,
    seen_ms: int,
    max_events: int,
) -> Step | None:
    """Folds one transaction into its user's state, `EMPTY_STATE` for a new one; None if it is a duplicate."""
    _, n, m, k, _, amount_sum, high, last_high_ms, count = HEADER.unpack_from(state)
    events = EventColumns(state, n)
    if events.holds(digest, 0):
        return None
    amount, location = transaction.amount, transaction.place

    # 1. and 2. Where the record belongs among the exact events, in event time.
    newest_ms = events.locate(event_ms)
    horizon_ms = newest_ms - DAY_MS
    late_beyond_state = event_ms <= horizon_ms
    is_exact = not late_beyond_state

    # 3. and 4. What is too old goes, what is too many lives on in the buckets.
    events.drop_until(horizon_ms)
    buckets = NO_TALLIES
    excess = n - events.first + is_exact - max_events
    if m or excess > 0:
        buckets = Tallies(state, events.ids_end, m)
        buckets.drop_below(horizon_ms // BUCKET_MS)
        if excess > 0:
            is_exact = _overflow(events, buckets, excess, event_ms, amount, is_exact=is_exact)

    # 5. and 6. Its day, and all transactions of the user, however old.
    day, days = event_ms // DAY_MS, Tallies(state, events.ids_end + TALLY_BYTES * m, k)
    _count_day(days, day, newest_ms // DAY_MS, amount)
    lifetime, totals = lifetime_with(amount_sum, high, last_high_ms, count, event_ms, day, amount)

    # Exact events later than the horizon are within 24 h of the record, too: it is not newer than the newest.
    amounts, count_1h = events.amounts_before(), events.count_since(event_ms - HOUR_MS)
    new, place, since_previous, previous, following = NO_ENTRY, PLACELESS, MISSING, None, None
    if is_exact:
        amounts, count_1h = (*amounts, amount), count_1h + 1
        since_previous = events.seconds_since_previous(event_ms)
        if location is not None:
            place = round(location.lat * E7), round(location.lon * E7)
            previous, following = events.previous(event_ms, place), events.next(event_ms, place)
        new = entry(event_ms, amount, place, digest + id_hash)
    km, kmh = (previous.km, previous.kmh) if previous is not None else (MISSING, MISSING)
    features = (
        moment_features(amount, location, event_ms)
        + event_features(amounts, count_1h, buckets, event_ms)
        + day_features(*day_tallies(days, day), amount)
        + (since_previous, km, kmh)
        + lifetime
    )
    n, m, k = n - events.first + is_exact, len(buckets.numbers), len(days.numbers)
    header = HEADER.pack(seen_ms, n, m, k, LAYOUT_VERSION, *totals)
    after = b"".join((header, *events.packed_with(new), buckets.packed(), days.packed()))
    return Step(after, features, previous, following, late_beyond_state, events.holds(id_hash, DIGEST_BYTES))


def _overflow(
    events: EventColumns, buckets: Tallies, excess: int, event_ms: int, amount: float, *, is_exact: bool
) -> bool:
    """Moves the `excess` oldest events to the buckets; whether the record itself stays exact."""
    earlier = min(excess, events.at - events.first)
    events.move_oldest(earlier, buckets)
    if excess > earlier and is_exact:
        buckets.add(event_ms // BUCKET_MS, amount)
        events.move_oldest(excess - earlier - 1, buckets)
        return False
    events.move_oldest(excess - earlier, buckets)
    return is_exact


def _count_day(days: Tallies, day: int, newest_day: int, amount: float) -> None:
    """Forgets the days that are too old, and counts the amount in its own unless that is one of them."""
    first_day = newest_day - DAYS_KEPT + 1
    days.drop_below(first_day)
    if day >= first_day:
        days.add(day, amount)
