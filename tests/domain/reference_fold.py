"""The fold of one record on the readable view of a state, written plainly: what the packed step must equal.

Never: speed; anything of the product but its view types and the payload's digests.
"""

from math import asin, cos, fsum, nan, radians, sin, sqrt
from typing import NamedTuple

from ray_fraud.domain.transaction import Transaction
from ray_fraud.domain.user_state import ExactEvent, Lifetime, Place, Tally, UserState

HOUR, DAY, BUCKET = 3_600_000, 86_400_000, 300_000


class Outcome(NamedTuple):
    state: UserState
    features: tuple[float, ...]
    previous_kmh: float | None
    next_kmh: float | None
    late_beyond_state: bool
    id_reused: bool


def reference_fold(
    old: UserState | None,
    transaction: Transaction,
    event_ms: int,
    digest: bytes,
    id_hash: bytes,
    seen_ms: int,
    max_events: int,
) -> Outcome | None:
    """One record, as `docs/semantics.md` says; None for a duplicate."""
    events = list(old.events) if old else []
    buckets = {t.number: (t.count, t.amount_sum) for t in old.buckets} if old else {}
    days = {t.number: (t.count, t.amount_sum) for t in old.days} if old else {}
    if any(event.digest == digest for event in events):
        return None
    id_reused = any(event.id_hash == id_hash for event in events)
    location = transaction.location
    place = Place(round(location.lat * 1e7), round(location.lon * 1e7)) if location else None
    record = ExactEvent(event_ms, transaction.amount, place, digest, id_hash)

    newest = max([event_ms, *(event.event_ms for event in events)])
    late = event_ms <= newest - DAY
    if not late:
        events.insert(sum(event.event_ms <= event_ms for event in events), record)
    events = [event for event in events if event.event_ms > newest - DAY]
    buckets = {b: tally for b, tally in buckets.items() if (b + 1) * BUCKET > newest - DAY}
    while len(events) > max_events:
        oldest = events.pop(0)
        add(buckets, oldest.event_ms // BUCKET, oldest.amount)
    if event_ms // DAY > newest // DAY - 30:
        add(days, event_ms // DAY, transaction.amount)
    days = {d: tally for d, tally in days.items() if d > newest // DAY - 30}

    lifetime, lifetime_features = live(old.lifetime if old else Lifetime(), event_ms, transaction.amount)

    where = next((i for i, event in enumerate(events) if event is record), None)
    before = [] if where is None else events[:where][::-1]
    after = [] if where is None else events[where + 1 :]
    previous, following = nearest(record, before), nearest(record, after)
    features = (
        transaction.amount,
        location.lat if location else nan,
        location.lon if location else nan,
        float(event_ms // HOUR % 24),
        float((event_ms // DAY + 3) % 7),
        *window(events, buckets, event_ms, HOUR),
        *window(events, buckets, event_ms, DAY),
        *day_windows(days, event_ms // DAY, transaction.amount),
        (event_ms - before[0].event_ms) / 1000 if before else nan,
        previous[0] if previous else nan,
        previous[1] if previous else nan,
        *lifetime_features,
    )
    state = UserState(seen_ms, lifetime, events, tallies(buckets), tallies(days))
    return Outcome(state, features, previous and previous[1], following and following[1], late, id_reused)


def add(tally: dict[int, tuple[int, float]], number: int, amount: float) -> None:
    count, amounts = tally.get(number, (0, 0.0))
    tally[number] = (count + 1, amounts + amount)


def tallies(tally: dict[int, tuple[int, float]]) -> list[Tally]:
    return [Tally(number, *tally[number]) for number in sorted(tally)]


def live(old: Lifetime, event_ms: int, amount: float) -> tuple[Lifetime, tuple[float, float]]:
    """All of a user's transactions after one more, and what the earlier ones say of it."""
    had_high = old.high > 0
    ahead = event_ms // DAY - old.last_high_ms // DAY if had_high else 0
    features = (halved(old.high, ahead), (event_ms - old.last_high_ms) / DAY if had_high else nan)
    is_high = old.count > 4 and amount > 3.0 * old.amount_sum / old.count
    high = features[0] + halved(1.0, -ahead) if is_high else old.high
    newest = old.last_high_ms if not is_high else max(event_ms, old.last_high_ms) if had_high else event_ms
    return Lifetime(old.amount_sum + amount, high, newest, old.count + 1), features


def halved(number: float, days: int) -> float:
    """`number` after so many days, of which at most 400 count; by half in ten days."""
    left = 1.0
    for _ in range(min(days, 400)):
        left *= 0.9330329915368074
    return number * left


def nearest(record: ExactEvent, others: list[ExactEvent]) -> tuple[float, float] | None:
    """Distance in km and speed in km/h to the first of `others` with a place."""
    for other in others:
        if record.place and other.place:
            km = distance_km(other.place, record.place)
            return km, km / (max(abs(record.event_ms - other.event_ms), 1000) / HOUR)
    return None


def distance_km(a: Place, b: Place) -> float:
    lat_a, lat_b = radians(a.lat_e7 / 1e7), radians(b.lat_e7 / 1e7)
    lon = radians(b.lon_e7 / 1e7 - a.lon_e7 / 1e7)
    square = sin((lat_b - lat_a) / 2) ** 2 + cos(lat_a) * cos(lat_b) * sin(lon / 2) ** 2
    return 2 * 6371.0088 * asin(sqrt(min(1.0, max(0.0, square))))


def window(
    events: list[ExactEvent], buckets: dict[int, tuple[int, float]], e: int, width: int
) -> tuple[float, float]:
    exact = [event.amount for event in events if e - width < event.event_ms <= e]
    coarse = [tally for b, tally in buckets.items() if (b + 1) * BUCKET > e - width and b * BUCKET <= e]
    return float(len(exact) + sum(count for count, _ in coarse)), fsum(exact + [total for _, total in coarse])


def day_windows(days: dict[int, tuple[int, float]], day: int, amount: float) -> tuple[float, ...]:
    week = [tally for d, tally in days.items() if day - 7 < d <= day]
    month = [tally for d, tally in days.items() if day - 30 < d <= day]
    count, total = sum(count for count, _ in month), fsum(amounts for _, amounts in month)
    others = (total - amount) / (count - 1) if count > 1 else 0.0
    return (
        float(sum(count for count, _ in week)),
        fsum(amounts for _, amounts in week),
        float(count),
        total,
        amount / others if others > 0 else nan,
    )
