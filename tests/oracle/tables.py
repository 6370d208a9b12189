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

from ray_fraud.domain.feature_tables import FeatureTables, MerchantTable, ProfileTable
from tests.oracle.contract import Txn
from tests.oracle.values import haversine_km

HOUR_MS = 3_600_000


@dataclass(frozen=True)
class PlainProfile:
    count: int
    mean: float
    deviation: float
    largest: float
    hours: tuple[int, ...]
    home: tuple[float, float] | None


@dataclass(frozen=True)
class PlainTables:
    merchants: dict[str, tuple[int, int]]
    """(verdicts, of them fraud)."""
    profiles: dict[int, PlainProfile]


@functools.lru_cache(maxsize=64)
def plain_tables(digest: str) -> PlainTables:
    """Some of the merchants and users of a synthetic stream, drawn by the digest."""
    rng = random.Random(digest)
    merchants = {
        f"m{number}": (verdicts, rng.randrange(verdicts + 1))
        for number in range(50)
        if rng.random() < 0.6
        for verdicts in (rng.randrange(1, 30),)
    }
    return PlainTables(
        merchants, {user: profile(rng) for user in range(0, 200 * 7919, 7919) if rng.random() < 0.8}
    )


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
    """The six looked-up features in catalogue order, as `docs/semantics.md` says."""
    row = [math.nan] * 6
    if tables is None:
        return row
    if txn.merchant_id is not None:
        verdicts, frauds = tables.merchants.get(txn.merchant_id, (0, 0))
        row[1] = float(verdicts)
        if verdicts:
            every = sum(number for number, _ in tables.merchants.values())
            prior = sum(number for _, number in tables.merchants.values()) / every
            row[0] = (frauds + 5 * prior) / (verdicts + 5)
    known = tables.profiles.get(txn.user_id)
    if known is None or known.count < 5:
        return row
    hour = txn.event_ms // HOUR_MS % 24
    near = known.hours[hour] + known.hours[(hour + 1) % 24] + known.hours[hour - 1]
    row[2] = (near + 0.5) / (known.count + 4)
    spread = max(known.deviation, 0.01 * known.mean)
    if spread > 0:
        row[3] = (txn.amount - known.mean) / spread
    if known.largest > 0:
        row[4] = txn.amount / known.largest
    if known.home is not None and txn.lat is not None and txn.lon is not None:
        row[5] = haversine_km(*known.home, txn.lat, txn.lon)
    return row


def product_tables(plain: PlainTables) -> FeatureTables:
    """The same tables in the product's columns."""
    users = sorted(plain.profiles)
    rows = [plain.profiles[user] for user in users]
    homes = np.array([row.home or (math.nan, math.nan) for row in rows]).reshape(-1, 2)
    verdicts = np.array(list(plain.merchants.values()), np.int64).reshape(-1, 2)
    return FeatureTables(
        MerchantTable(list(plain.merchants), verdicts[:, 0], verdicts[:, 1]),
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


class DrawnTables(Mapping[str, FeatureTables]):
    """The product's tables of every digest there could be."""

    def __getitem__(self, digest: str) -> FeatureTables:
        return product_tables(plain_tables(digest))

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


DRAWN = DrawnTables()
