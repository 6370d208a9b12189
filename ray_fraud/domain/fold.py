"""One record moves the packed state of its user: the step that the hot path runs most.

Nearly every record is its user's newest, and nearly no user has buckets. For those `fold` goes a short way:
each section of the state is read with one call and written with one call. Every other record takes
`fold_anywhere`, which says what the short way means: both give equal bytes, features and neighbours, and the
tests compare them record by record.

Never: a clock, a log line, an exception for any transaction that the decoder accepts.
"""

from struct import Struct
from typing import Any

from ray_fraud.domain.event_columns import PLACELESS, EventColumns, Place, holds, neighbour
from ray_fraud.domain.features import MISSING
from ray_fraud.domain.fold_anywhere import fold_anywhere
from ray_fraud.domain.geo import E7
from ray_fraud.domain.in_order import HEADS, days_with, events_with, read_events, rows_until
from ray_fraud.domain.lifetime import lifetime_with
from ray_fraud.domain.rules import Neighbour
from ray_fraud.domain.step import Step
from ray_fraud.domain.transaction import Transaction
from ray_fraud.domain.user_state import DIGEST_BYTES, EVENT_BYTES, HEADER_BYTES, ID_BYTES
from ray_fraud.domain.windows import (
    DAY_MS,
    HOUR_MS,
    NO_TALLIES,
    day_features,
    event_features,
    moment_features,
)

__all__ = ["Step", "fold"]

_read_header = Struct("<8xHHB3xddqI").unpack_from
"""Of `HEADER`: counts of events, buckets, days; sum, high ones, newest of them, count of the lifetime."""


def fold(
    state: bytes,
    transaction: Transaction,
    event_ms: int,
    digest: bytes,
    id_hash: bytes,
    seen_ms: int,
    max_events: int,
) -> Step | None:
    """Folds one transaction into its user's state, `EMPTY_STATE` for a new one; None if it is a duplicate."""
    n, m, k, amount_sum, high, last_high_ms, count = _read_header(state)
    buckets_at = HEADER_BYTES + EVENT_BYTES * n
    ids_at = buckets_at - ID_BYTES * n
    if holds(state, ids_at, buckets_at, digest, 0):
        return None
    columns = read_events[n](state)
    read = n if n < HEADS else HEADS
    if m or n >= max_events or (n and event_ms < columns[read - 1]):
        return fold_anywhere(state, transaction, event_ms, digest, id_hash, seen_ms, max_events)

    amount, location = transaction.amount, transaction.location
    # `Transaction.place` written out: calls are what every record pays for.
    if location is not None and not (location.lat or location.lon):
        location = None
    first = hour_from = 0
    if n and columns[0] <= event_ms - HOUR_MS:
        hour_from = rows_until(state, HEADER_BYTES, "q", n, columns, event_ms - HOUR_MS)
        first = rows_until(state, HEADER_BYTES, "q", n, columns, event_ms - DAY_MS)
    amounts = (*columns[read + first : read + n], amount)
    day = event_ms // DAY_MS
    days, day_rows, (count_7d, sums_7d, count_30d, sums_30d) = days_with(state, buckets_at, k, day, amount)
    lifetime, totals = lifetime_with(amount_sum, high, last_high_ms, count, event_ms, day, amount)
    place, previous, km, kmh = PLACELESS, None, MISSING, MISSING
    if location is not None:
        place = round(location.lat * E7), round(location.lon * E7)
        if first < n:
            previous = _previous(state, n, first, event_ms, place, columns)
            if previous is not None:
                km, kmh = previous.km, previous.kmh
    # Tuples are added: unpacked into one they would first become a list.
    features = (
        moment_features(amount, location, event_ms)
        + event_features(amounts, n + 1 - hour_from, NO_TALLIES, event_ms)
        + day_features(count_7d, sums_7d, count_30d, sums_30d, amount)
        + ((event_ms - columns[read - 1]) / 1000 if first < n else MISSING, km, kmh)
        + lifetime
    )
    events = events_with(state, n, first, event_ms, amount, place, digest, id_hash, seen_ms, day_rows, totals)
    id_reused = holds(state, ids_at, buckets_at, id_hash, DIGEST_BYTES)
    return Step(events + days, features, previous, None, False, id_reused)


def _previous(
    state: bytes, n: int, first: int, event_ms: int, place: Place, columns: tuple[Any, ...]
) -> Neighbour | None:
    """The nearest event before a record that is the newest; nearly always the last one has a place."""
    read = n if n < HEADS else HEADS
    there: Place = columns[-2:]
    if there != PLACELESS:
        return neighbour("previous", event_ms, place, columns[read - 1], columns[read + n - 1], there)
    events = EventColumns(state, n)
    events.first = first
    return events.previous(event_ms, place)
