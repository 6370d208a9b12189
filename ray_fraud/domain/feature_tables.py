"""What batches know about merchants and users, and the features that one transaction takes from it.

Tables are immutable and named by the digest of their content. A partition uses the ones that its control
timeline names, from a recorded offset on, so a replay sees each value as it was known at that moment.

Never: a value that depends on other rows of a batch; a library function that may round differently per
SIMD lane (distances are computed row by row).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ray_fraud.domain.features import LOOKED_UP
from ray_fraud.domain.geo import haversine_km
from ray_fraud.domain.transaction import Transaction
from ray_fraud.domain.windows import DAY_MS, HOUR_MS

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Counts = NDArray[np.int32]

HOURS = 24
WEEKDAYS = 7
PRIOR_WEIGHT = 5.0
"""A merchant's share of fraud is pulled towards that of all merchants as by so many transactions (m-estimate,
Cestnik 1990): one label says little."""
MIN_PROFILE = 5
"""Transactions of a profile, at least: less says nothing about habits."""
SMALLEST_DEVIATION = 0.01
"""Of amounts, as a share of their mean: a user who always pays the same is surprised by one per cent."""
_AT = {feature.name: column for column, feature in enumerate(LOOKED_UP)}
"""The column of each looked-up feature."""
_MERCHANT_COUNTS = [
    _AT[name]
    for name in (
        "merchant_transactions_30d", "merchant_frauds_7d", "merchant_frauds_30d", "merchant_fraud_run"
    )
]  # fmt: skip
"""0 for a merchant that nothing is known about."""


def _no_ints() -> Ints:
    return np.empty(0, np.int64)


@dataclass(frozen=True, eq=False)
class MerchantTable:
    """What is known about merchants; arrays of shape (m,). See `ray_fraud.domain.merchant_history`."""

    merchant_ids: Sequence[str] = ()
    transactions: Ints = field(default_factory=_no_ints)
    """Of the 30 days before labels are mature."""
    frauds_7d: Ints = field(default_factory=_no_ints)
    frauds_30d: Ints = field(default_factory=_no_ints)
    run: Ints = field(default_factory=_no_ints)
    run_began_ms: Ints = field(default_factory=_no_ints)
    """Unix milliseconds, like the next; -1 without one."""
    last_fraud_ms: Ints = field(default_factory=_no_ints)

    @cached_property
    def position(self) -> dict[str, int]:
        return {merchant: index for index, merchant in enumerate(self.merchant_ids)}

    @cached_property
    def risk(self) -> Floats:
        """(frauds + w·p) / (transactions + w) with p the share of fraud of all merchants; 30 days."""
        known = np.maximum(self.transactions, self.frauds_30d)
        total = int(known.sum())
        prior = int(self.frauds_30d.sum()) / total if total else 0.0
        risk: Floats = (self.frauds_30d + PRIOR_WEIGHT * prior) / (known + PRIOR_WEIGHT)
        return risk


@dataclass(frozen=True, eq=False)
class UserRiskTable:
    """Users with a known fraud; arrays of shape (u,), by ascending user id."""

    user_ids: Ints = field(default_factory=_no_ints)
    frauds_30d: Ints = field(default_factory=_no_ints)
    last_fraud_ms: Ints = field(default_factory=_no_ints)
    """Unix milliseconds."""


@dataclass(frozen=True, eq=False)
class ProfileTable:
    """Users' habits over completed days; arrays of shape (u,), by ascending user id."""

    user_ids: Ints = field(default_factory=_no_ints)
    counts: Ints = field(default_factory=_no_ints)
    means: Floats = field(default_factory=lambda: np.empty(0))
    """Base currency, like the deviations and the largest amounts."""
    deviations: Floats = field(default_factory=lambda: np.empty(0))
    largest: Floats = field(default_factory=lambda: np.empty(0))
    hours: Counts = field(default_factory=lambda: np.empty((0, HOURS), np.int32))
    """Transactions by UTC hour, shape (u, 24)."""
    home_lat: Floats = field(default_factory=lambda: np.empty(0))
    """Degrees; NaN for a user whose transactions have no places."""
    home_lon: Floats = field(default_factory=lambda: np.empty(0))
    weekdays: Counts = field(default_factory=lambda: np.empty((0, WEEKDAYS), np.int32))
    """Transactions by UTC weekday, Monday first, shape (u, 7); (0, 7) in tables that do not tell."""

    def rows_of(self, user_ids: Ints) -> Ints:
        """The row of each user, shape (n,) to shape (n,); -1 for one without a usable profile."""
        rows = _rows_of(self.user_ids, user_ids)
        if not len(self.user_ids):
            return rows
        found: Ints = np.where(self.counts[rows] >= MIN_PROFILE, rows, -1)
        return found


def _rows_of(known: Ints, user_ids: Ints) -> Ints:
    """The row of each user among ascending ids, shape (n,); -1 for one who is not there."""
    if not len(known):
        return np.full(len(user_ids), -1)
    rows = np.minimum(np.searchsorted(known, user_ids), len(known) - 1)
    found: Ints = np.where(known[rows] == user_ids, rows, -1)
    return found


@dataclass(frozen=True, eq=False)
class FeatureTables:
    merchants: MerchantTable = field(default_factory=MerchantTable)
    users: UserRiskTable = field(default_factory=UserRiskTable)
    profiles: ProfileTable = field(default_factory=ProfileTable)


NO_TABLES = FeatureTables()
"""What holds before the first refresh: every looked-up feature is missing."""


class StateOnly(Mapping[str, FeatureTables]):
    """Every digest's tables as none: for a replay that wants the users' states and no features."""

    def __getitem__(self, digest: str) -> FeatureTables:
        return NO_TABLES

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def looked_up(tables: FeatureTables, transactions: Sequence[Transaction], user_ids: Ints) -> Floats:
    """The looked-up features of n transactions, shape (n, len(LOOKED_UP)); NaN is missing."""
    features = np.full((len(transactions), len(LOOKED_UP)), np.nan)
    if tables is NO_TABLES or not transactions:
        return features
    event_ms = np.array([each.event_ms for each in transactions], np.int64)
    _of_merchants(tables.merchants, transactions, event_ms, features)
    _of_users(tables.users, user_ids, event_ms, features)
    _of_profiles(tables.profiles, transactions, user_ids, event_ms, features)
    return features


def _of_merchants(
    table: MerchantTable, transactions: Sequence[Transaction], event_ms: Ints, features: Floats
) -> None:
    position = table.position
    places = np.array([position.get(each.merchant_id or "", -1) for each in transactions])
    named = np.array([each.merchant_id is not None for each in transactions])
    features[np.ix_(named, np.array(_MERCHANT_COUNTS))] = 0.0
    known = np.flatnonzero(places >= 0)
    rows = places[known]
    counts = (table.transactions, table.frauds_7d, table.frauds_30d, table.run)
    for column, values in zip(_MERCHANT_COUNTS, counts, strict=True):
        features[known, column] = values[rows]
    features[known, _AT["merchant_risk"]] = table.risk[rows]
    features[known, _AT["merchant_run_days"]] = _days_since(table.run_began_ms[rows], event_ms[known])
    last = _days_since(table.last_fraud_ms[rows], event_ms[known])
    features[known, _AT["merchant_days_since_fraud"]] = last


def _of_users(table: UserRiskTable, user_ids: Ints, event_ms: Ints, features: Floats) -> None:
    features[:, _AT["user_frauds_30d"]] = 0.0
    found = _rows_of(table.user_ids, user_ids)
    known = np.flatnonzero(found >= 0)
    rows = found[known]
    features[known, _AT["user_frauds_30d"]] = table.frauds_30d[rows]
    features[known, _AT["user_days_since_fraud"]] = _days_since(table.last_fraud_ms[rows], event_ms[known])


def _days_since(then_ms: Ints, now_ms: Ints) -> Floats:
    """Days from each moment to the other; NaN where there is none."""
    days: Floats = np.where(then_ms < 0, np.nan, (now_ms - then_ms) / DAY_MS)
    return days


def _of_profiles(
    table: ProfileTable,
    transactions: Sequence[Transaction],
    user_ids: Ints,
    event_ms: Ints,
    features: Floats,
) -> None:
    found = table.rows_of(user_ids)
    known = np.flatnonzero(found >= 0)
    if not len(known):
        return
    rows = found[known]
    amounts = np.array([transactions[index].amount for index in known.tolist()], np.float64)
    hours = event_ms[known] // HOUR_MS % HOURS
    counts = table.hours[rows]
    near = sum(np.take_along_axis(counts, (hours[:, None] + shift) % HOURS, 1)[:, 0] for shift in (-1, 0, 1))
    features[known, _AT["profile_hour_share"]] = (near + 0.5) / (table.counts[rows] + HOURS / 6)
    spread = np.maximum(table.deviations[rows], SMALLEST_DEVIATION * table.means[rows])
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        z = np.where(spread > 0, (amounts - table.means[rows]) / spread, np.nan)
        over_max = np.where(table.largest[rows] > 0, amounts / table.largest[rows], np.nan)
    features[known, _AT["profile_amount_z"]] = z
    features[known, _AT["profile_amount_over_max"]] = over_max
    home_lats, home_lons = table.home_lat[rows].tolist(), table.home_lon[rows].tolist()
    for index, lat, lon in zip(known.tolist(), home_lats, home_lons, strict=True):
        place = transactions[index].place
        if place is not None and not math.isnan(lat):
            features[index, _AT["profile_km_from_home"]] = haversine_km(lat, lon, place.lat, place.lon)
