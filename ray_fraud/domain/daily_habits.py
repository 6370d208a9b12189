"""Users' habits day by day, and the profiles that any run of days gives.

    rows of a day → counts, means, hours, places → (days) → the users' profile table

Days are gathered once and added up as often as wanted, always in the same order: profiles of the same days
are the same to the last bit, whoever asks.

Never: a row; a clock.
"""

from dataclasses import dataclass, field

import numpy as np

from ray_fraud.domain.feature_tables import (
    MIN_PROFILE,
    WEEKDAYS,
    Bools,
    Counts,
    Floats,
    Ints,
    ProfileTable,
)

_THURSDAY = 3
"""Weekday of 1 January 1970, Monday = 0."""


def _no_ints() -> Ints:
    return np.empty(0, np.int64)


@dataclass(frozen=True, eq=False)
class PlaceDays:
    """Where users were, arrays of shape (p,), in any order; places are tenths of a degree."""

    user_ids: Ints = field(default_factory=_no_ints)
    days: Ints = field(default_factory=_no_ints)
    lat: Floats = field(default_factory=lambda: np.empty(0))
    lon: Floats = field(default_factory=lambda: np.empty(0))
    counts: Ints = field(default_factory=_no_ints)


@dataclass(frozen=True, eq=False)
class DailyHabits:
    """What users did each day, arrays of shape (d,), by (user, day), each pair once."""

    user_ids: Ints
    days: Ints
    """UTC days since 1970-01-01."""
    counts: Ints
    means: Floats
    """Of the amounts, base currency, like the largest."""
    squares: Floats
    """Sum of squared distances from the day's mean."""
    largest: Floats
    hours: Counts
    """Transactions by UTC hour, shape (d, 24)."""
    places: PlaceDays = field(default_factory=PlaceDays)

    def profiles(self, from_day: int, until_day: int) -> ProfileTable:
        """The profiles of `[from_day, until_day)`, of users with `MIN_PROFILE` transactions or more.

        Means and deviations are those of all transactions together: the days' sums of squares are moved to
        the common mean (Chan, Golub & LeVeque 1983). The home is the place with most transactions, of equal
        ones the southernmost, then westernmost.
        """
        rows = np.flatnonzero((self.days >= from_day) & (self.days < until_day))
        if not len(rows):
            return ProfileTable()
        users = self.user_ids[rows]
        starts = np.flatnonzero(_changes(users))
        day_counts, day_means = self.counts[rows], self.means[rows]
        counts = np.add.reduceat(day_counts, starts)
        means = np.add.reduceat(day_counts * day_means, starts) / counts
        away = day_means - np.repeat(means, np.diff(np.append(starts, len(rows))))
        squares = np.add.reduceat(self.squares[rows] + day_counts * away * away, starts)
        known = counts >= MIN_PROFILE
        ids = users[starts][known]
        home_lat, home_lon = self._homes(ids, from_day, until_day)
        return ProfileTable(
            ids,
            counts[known],
            means[known],
            np.sqrt(squares[known] / counts[known]),
            np.maximum.reduceat(self.largest[rows], starts)[known],
            np.add.reduceat(self.hours[rows], starts, axis=0)[known],
            home_lat,
            home_lon,
            np.add.reduceat(_by_weekday(self.days[rows], day_counts), starts, axis=0)[known],
        )

    def _homes(self, ids: Ints, from_day: int, until_day: int) -> tuple[Floats, Floats]:
        """Latitude and longitude of each user's home, shape (len(ids),); NaN without a place."""
        lat, lon = np.full(len(ids), np.nan), np.full(len(ids), np.nan)
        there = self.places
        rows = np.flatnonzero((there.days >= from_day) & (there.days < until_day))
        if not len(rows):
            return lat, lon
        rows = rows[np.lexsort((there.lon[rows], there.lat[rows], there.user_ids[rows]))]
        users, lats, lons = there.user_ids[rows], there.lat[rows], there.lon[rows]
        starts = np.flatnonzero(_changes(users) | _changes(lats) | _changes(lons))
        counts = np.add.reduceat(there.counts[rows], starts)
        users, lats, lons = users[starts], lats[starts], lons[starts]
        best = np.lexsort((lons, lats, -counts, users))
        best = best[_changes(users[best])]
        found = np.searchsorted(ids, users[best])
        listed = found < len(ids)
        listed[listed] = ids[found[listed]] == users[best][listed]
        lat[found[listed]], lon[found[listed]] = lats[best][listed], lons[best][listed]
        return lat, lon


def _by_weekday(days: Ints, counts: Ints) -> Counts:
    """Each day's count in the column of its weekday, shape (d, 7)."""
    table = np.zeros((len(days), WEEKDAYS), np.int32)
    table[np.arange(len(days)), (days + _THURSDAY) % WEEKDAYS] = counts
    return table


def _changes(values: Ints | Floats) -> Bools:
    """Where a value differs from the one before; true for the first."""
    changed = np.ones(len(values), np.bool_)
    changed[1:] = values[1:] != values[:-1]
    return changed
