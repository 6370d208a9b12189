"""Feature tables of the synthetic streams, and the looked-up features written a second time.

Tables are a function of their digest, so both sides of a comparison make the same ones.

Never: importing the product's lookup.
"""

import functools
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ray_fraud.domain.feature_tables import FeatureTables, MerchantTable, ProfileTable, UserRiskTable
from tests.oracle.contract import Txn
from tests.oracle.values import haversine_km

HOUR_MS, DAY_MS = 3_600_000, 86_400_000


@dataclass(frozen=True)
class PlainProfile:
    count: int
    mean: float
    deviation: float
    largest: float
    hours: tuple[int, ...]
    home: tuple[float, float] | None


@dataclass(frozen=True)
class PlainMerchant:
    transactions: int
    frauds_7d: int
    frauds_30d: int
    run: int
    run_began_ms: int | None
    last_fraud_ms: int


@dataclass(frozen=True)
class PlainTables:
    merchants: dict[str, PlainMerchant]
    users: dict[int, tuple[int, int]]
    """(known frauds of 30 days, time of the last one)."""
    profiles: dict[int, PlainProfile]


@functools.lru_cache(maxsize=64)
def plain_tables(digest: str) -> PlainTables:
    """Some of the merchants and users of a synthetic stream, drawn by the digest."""
    rng = random.Random(digest)
    users = range(0, 200 * 7919, 7919)
    return PlainTables(
        {f"m{number}": merchant(rng) for number in range(50) if rng.random() < 0.6},
        {user: (rng.randrange(4), moment(rng)) for user in users if rng.random() < 0.3},
        {user: profile(rng) for user in users if rng.random() < 0.8},
    )


def moment(rng: random.Random) -> int:
    return rng.randrange(1_700_000_000_000, 1_800_000_000_000)


def merchant(rng: random.Random) -> PlainMerchant:
    frauds, run = rng.randrange(1, 30), rng.choice((0, 0, 1, 7))
    transactions = rng.choice((0, frauds, 40, 5_000))
    began = moment(rng) if run else None
    return PlainMerchant(transactions, rng.randrange(frauds + 1), frauds, run, began, moment(rng))


def profile(rng: random.Random) -> PlainProfile:
    count = rng.choice((1, 4, 5, 6, 50, 3_000))
    hours = [0] * 24
    for _ in range(count):
        hours[rng.choice((rng.randrange(24), 9, 23, 0))] += 1
    mean = rng.choice((0.0, rng.lognormvariate(3.7, 1.0)))
    home = (rng.uniform(-90, 90), rng.uniform(-180, 180)) if rng.random() < 0.8 else None
    return PlainProfile(
        count, mean, rng.choice((0.0, mean * rng.random())), mean * rng.choice((1, 4)), tuple(hours), home
    )


def look_up(tables: PlainTables | None, txn: Txn) -> list[float]:
    """The looked-up features in catalogue order, as `docs/semantics.md` says."""
    if tables is None:
        return [math.nan] * 13
    return [*of_merchant(tables, txn), *of_user(tables, txn), *of_profile(tables, txn)]


def of_merchant(tables: PlainTables, txn: Txn) -> list[float]:
    if txn.merchant_id is None:
        return [math.nan] * 7
    found = tables.merchants.get(txn.merchant_id)
    if found is None:
        return [0.0, 0.0, 0.0, math.nan, 0.0, math.nan, math.nan]
    every = sum(max(each.transactions, each.frauds_30d) for each in tables.merchants.values())
    prior = sum(each.frauds_30d for each in tables.merchants.values()) / every
    risk = (found.frauds_30d + 5 * prior) / (max(found.transactions, found.frauds_30d) + 5)
    return [
        float(found.transactions),
        float(found.frauds_7d),
        float(found.frauds_30d),
        risk,
        float(found.run),
        math.nan if found.run_began_ms is None else (txn.event_ms - found.run_began_ms) / DAY_MS,
        (txn.event_ms - found.last_fraud_ms) / DAY_MS,
    ]


def of_user(tables: PlainTables, txn: Txn) -> list[float]:
    if txn.user_id not in tables.users:
        return [0.0, math.nan]
    frauds, last_ms = tables.users[txn.user_id]
    return [float(frauds), (txn.event_ms - last_ms) / DAY_MS]


def of_profile(tables: PlainTables, txn: Txn) -> list[float]:
    row = [math.nan] * 4
    known = tables.profiles.get(txn.user_id)
    if known is None or known.count < 5:
        return row
    hour = txn.event_ms // HOUR_MS % 24
    near = known.hours[hour] + known.hours[(hour + 1) % 24] + known.hours[hour - 1]
    row[0] = (near + 0.5) / (known.count + 4)
    spread = max(known.deviation, 0.01 * known.mean)
    if spread > 0:
        row[1] = (txn.amount - known.mean) / spread
    if known.largest > 0:
        row[2] = txn.amount / known.largest
    if known.home is not None and txn.place is not None:
        row[3] = haversine_km(*known.home, *txn.place)
    return row


def product_tables(plain: PlainTables) -> FeatureTables:
    """The same tables in the product's columns."""
    users = sorted(plain.profiles)
    rows = [plain.profiles[user] for user in users]
    homes = np.array([row.home or (math.nan, math.nan) for row in rows]).reshape(-1, 2)
    risky = sorted(plain.users)
    return FeatureTables(
        product_merchants(plain),
        UserRiskTable(
            np.array(risky, np.int64),
            np.array([plain.users[user][0] for user in risky], np.int64),
            np.array([plain.users[user][1] for user in risky], np.int64),
        ),
        ProfileTable(
            np.array(users, np.int64),
            np.array([row.count for row in rows], np.int64),
            np.array([row.mean for row in rows]),
            np.array([row.deviation for row in rows]),
            np.array([row.largest for row in rows]),
            np.array([row.hours for row in rows], np.int32).reshape(-1, 24),
            homes[:, 0],
            homes[:, 1],
        ),
    )


def product_merchants(plain: PlainTables) -> MerchantTable:
    rows = list(plain.merchants.values())
    began = [-1 if row.run_began_ms is None else row.run_began_ms for row in rows]
    columns = [
        [row.transactions for row in rows],
        [row.frauds_7d for row in rows],
        [row.frauds_30d for row in rows],
        [row.run for row in rows],
        began,
        [row.last_fraud_ms for row in rows],
    ]
    return MerchantTable(list(plain.merchants), *(np.array(column, np.int64) for column in columns))


class DrawnTables(Mapping[str, FeatureTables]):
    """The product's tables of every digest there could be."""

    def __getitem__(self, digest: str) -> FeatureTables:
        return product_tables(plain_tables(digest))

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


DRAWN = DrawnTables()
