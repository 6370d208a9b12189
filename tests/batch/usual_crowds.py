"""Crowds that are no rings: subscriptions, the shops on salary days, lunch hours; and rings among them.

Days are made one by one from a seed, so that a year needs no more memory than a day does.

Never: a rule; a merchant without earlier days (the first month of a merchant is not judged).
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from batch.patterns.earlier import BusiestInLake, vouched
from batch.patterns.rules import find_patterns
from ray_fraud.domain.alert import RuleName
from ray_fraud.domain.patterns.columns import NONE, Codes, PatternColumns
from ray_fraud.domain.patterns.finding import Bools, Floats, Ints
from ray_fraud.domain.patterns.settings import PatternSettings
from ray_fraud.domain.windows import DAY_MS

HOUR_MS, MINUTE_MS = 3_600_000, 60_000
FIRST_DAY = datetime(2025, 1, 1, tzinfo=UTC).toordinal() - datetime(1970, 1, 1, tzinfo=UTC).toordinal()
LOOKS = ((0, 6), (6, 12), (10, 16), (12, 18), (18, 24))
"""Hours that a search looks at."""
SHOPS, USERS = 60, 20_000
RING = -1_000_000
"""Users up to it are in rings."""


class Rows(NamedTuple):
    user_id: Ints
    event_ms: Ints
    amount: Floats
    merchant: Ints

    def where(self, chosen: Bools | Ints) -> "Rows":
        return Rows(self.user_id[chosen], self.event_ms[chosen], self.amount[chosen], self.merchant[chosen])


class Kind(NamedTuple):
    """What gathers at one merchant."""

    guests: int
    hour: float
    minutes: float
    price: float
    spread: float
    """Of the price, standard deviation over price."""
    crowded: str
    """`monthly`, `weekdays` or `salaries`."""


def kinds(seed: int, merchants: int) -> tuple[Kind, ...]:
    rng = np.random.default_rng(seed)
    found = []
    for number in range(merchants):
        crowded = ("monthly", "weekdays", "salaries")[number % 3]
        if crowded == "monthly":
            found.append(Kind(400, 3 + rng.random() * 18, 5, 9.99, 0.0, crowded))
        elif crowded == "weekdays":
            found.append(Kind(60, 11.6 + rng.random(), 20, 8.0, 0.08, crowded))
        else:
            found.append(Kind(12, 17 + rng.random(), 20, 40.0, 0.25, crowded))
    return tuple(found)


def guests_of(kind: Kind, number: int, day: int, rng: np.random.Generator) -> int:
    date = datetime.fromordinal(day + datetime(1970, 1, 1, tzinfo=UTC).toordinal())
    if kind.crowded == "monthly":
        return kind.guests if date.day == 1 + number % 28 else 0
    if kind.crowded == "weekdays":
        return int(rng.poisson(kind.guests)) if date.weekday() < 5 else 0
    return int(rng.poisson(kind.guests * (3.5 if date.day in (27, 28) else 1.0)))


@lru_cache(maxsize=64)
def rows_of_day(seed: int, day: int, crowds: tuple[Kind, ...], rings: int = 0) -> Rows:
    """Merchants numbered from 0: those with crowds, then shops with single customers."""
    rng = np.random.default_rng((seed, day))
    parts = []
    for number, kind in enumerate(crowds):
        count = guests_of(kind, number, day, rng)
        begin = day * DAY_MS + kind.hour * HOUR_MS + rng.normal(0, 4 if kind.spread else 0) * MINUTE_MS
        at = (begin + rng.random(count) * kind.minutes * MINUTE_MS).astype(np.int64)
        amount = kind.price * np.exp(rng.normal(0, kind.spread, count)) if kind.spread else kind.price
        users = number * USERS + rng.permutation(USERS)[:count]
        parts.append(Rows(users, at, np.full(count, 1.0) * amount, np.full(count, number)))
    count = SHOPS * 40
    at = day * DAY_MS + rng.integers(7 * HOUR_MS, 22 * HOUR_MS, count)
    shops = len(crowds) + rng.integers(0, SHOPS, count)
    users = 10_000_000 + rng.integers(0, 100_000, count)
    parts.append(Rows(users, at, np.exp(rng.normal(3.2, 0.8, count)), shops))
    for ring in range(rings):
        size = int(rng.integers(10, 20))
        at = day * DAY_MS + int(rng.integers(7, 22)) * HOUR_MS + rng.integers(0, 15 * MINUTE_MS, size)
        users = RING - (day * 100 + ring) * 100 - np.arange(size)
        amount = float(np.exp(rng.normal(5, 0.5))) * (1 + 0.03 * rng.random(size))
        parts.append(Rows(users, at, amount, np.full(size, len(crowds) + int(rng.integers(0, SHOPS)))))
    joined = Rows(
        np.concatenate([part.user_id for part in parts]),
        np.concatenate([part.event_ms for part in parts]),
        np.concatenate([part.amount for part in parts]),
        np.concatenate([part.merchant for part in parts]),
    )
    return joined.where(np.argsort(joined.event_ms, kind="stable"))


class Judged(NamedTuple):
    """What was found on the days that were looked at."""

    merchant_days: int
    false_findings: int
    before: int
    """False ones that would have been found without earlier days."""
    rings: int
    rings_found: int


def judge(seed: int, days: range, merchants: int, rings: int, settings: PatternSettings) -> Judged:
    """Searches some hours of each day with all earlier days behind it."""
    crowds = kinds(seed, merchants)
    busiest = BusiestInLake(lambda since, until: _tables(seed, crowds, since, until), settings.coordinated)
    false, before, found = 0, 0, set[int]()
    for day in days:
        whole = rows_of_day(seed, day, crowds, rings)
        told: set[tuple[str, int]] = set()
        for begin, end in LOOKS:
            hour = (whole.event_ms - day * DAY_MS) / HOUR_MS
            rows = whole.where((hour >= begin) & (hour < end))
            findings = [
                one for one in find_patterns(_columns(rows), settings) if one.rule is RuleName.COORDINATED
            ]
            before += sum(max(one.users) > RING for one in findings)
            for one in vouched(findings, _table(rows), busiest, settings.coordinated).findings:
                ring_of = {(RING - user) // 100 for user in one.users if user <= RING}
                found |= ring_of
                if not ring_of and (one.subject, day) not in told:
                    told.add((one.subject, day))
                    false += 1
    return Judged(len(days) * (merchants + SHOPS), false, before, rings * len(days), len(found))


def _tables(seed: int, crowds: tuple[Kind, ...], since_ms: int, until_ms: int) -> Iterator[pa.Table]:
    for day in range(since_ms // DAY_MS, -(-until_ms // DAY_MS)):
        rows = rows_of_day(seed, day, crowds)
        yield _table(rows.where((rows.event_ms >= since_ms) & (rows.event_ms < until_ms)))


def _columns(rows: Rows) -> PatternColumns:
    names = [f"m{number}" for number in range(int(rows.merchant.max(initial=0)) + 1)]
    none = Codes(np.full(len(rows.user_id), NONE), [])
    return PatternColumns(rows.user_id, rows.event_ms, rows.amount, Codes(rows.merchant, names), none, none)


def _table(rows: Rows) -> pa.Table:
    columns: Mapping[str, pa.Array] = {
        "user_id": pa.array(rows.user_id),
        "event_time": pa.array(rows.event_ms * 1_000, pa.timestamp("us", "UTC")),
        "amount": pa.array(rows.amount),
        "merchant_id": pa.array([f"m{number}" for number in rows.merchant.tolist()], pa.string()),
        "device_id": pa.nulls(len(rows.user_id), pa.string()),
    }
    return pa.table(columns)
