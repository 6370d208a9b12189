"""The users: where they live, when they are active, what they spend, where they are at a given moment.

Every answer is a pure function of (seed, user id, time), so a population of millions costs no memory.

Never: a table with a row per user; a place that depends on which users were asked for before.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ray_fraud.generator.chance import Floats, Ints, normal, uniform
from ray_fraud.generator.cities import all_cities
from ray_fraud.generator.geography import distance_km, shifted
from ray_fraud.generator.journeys import Journeys
from ray_fraud.generator.merchants import merchants_of

HOME_RADIUS_KM = 8.0
MEDIAN_AMOUNT = 38.0
"""Base currency: the middle user's middle transaction."""
SPREAD_BETWEEN_USERS = 0.5
SPREAD_WITHIN_USER = 0.85
"""Both are standard deviations of the logarithm: amounts are log-normal, skewed to the right."""
NATURAL_TRANSACTIONS_PER_DAY = 4.0
"""Mean over all users, used when simulated history fixes no rate."""

_HOME, _ACTIVITY, _CHRONOTYPE, _SPEND, _HOME_DISTANCE, _HOME_DIRECTION, _FAVOURITE, _DEVICE = (
    1,
    2,
    3,
    4,
    6,
    7,
    8,
    9,
)
_MAX_DRAWS = 64


class Whereabouts(NamedTuple):
    """Where users are, columns of shape (n,)."""

    lat: Floats
    lon: Floats
    city: Ints
    """Index of the city they are in; -1 on the way between two."""


class Population:
    """`users` people with ids 1 … users."""

    def __init__(self, seed: int, users: int, trip_share: float = 0.35) -> None:
        """`trip_share`: how likely a user travels within a fortnight."""
        if users < 1:
            raise ValueError(f"users: {users} must be at least 1")
        self.seed = seed
        self.users = users
        self.cities = all_cities()
        self.merchants = merchants_of(seed)
        self._journeys = Journeys(seed, trip_share)

    def home_city(self, user_ids: Ints) -> Ints:
        """Index into the cities, shape (n,)."""
        chance = uniform(self.seed, _HOME, user_ids)
        return np.searchsorted(self.cities.cumulative_weight, chance).astype(np.int64)

    def typical_amount(self, user_ids: Ints) -> Floats:
        """The user's own median transaction in base currency, shape (n,)."""
        result: Floats = MEDIAN_AMOUNT * np.exp(SPREAD_BETWEEN_USERS * normal(self.seed, _SPEND, user_ids))
        return result

    def favourite(self, user_ids: Ints) -> Floats:
        """A number in (0, 1) that picks the shops a user likes best, shape (n,)."""
        return uniform(self.seed, _FAVOURITE, user_ids)

    def device_ids(self, user_ids: Ints, second: NDArray[np.bool_]) -> list[str]:
        """The user's phone, or where `second` is true the other device."""
        salt = (uniform(self.seed, _DEVICE, user_ids, second.astype(np.int64)) * 2**32).astype(np.int64)
        return [f"dev-{number:08x}" for number in salt.tolist()]

    def local_hour(self, user_ids: Ints, times: Floats) -> Ints:
        """Hour of the day (0–23) at home, shape (n,)."""
        local = times + self.cities.utc_offset_seconds[self.home_city(user_ids)]
        return (local // 3600).astype(np.int64) % 24

    def whereabouts(self, user_ids: Ints, times: Floats) -> Whereabouts:
        """Where each user is at its time (unix seconds): at home, on a journey's way, or at its end.

        In a city it is the user's own address there, within `HOME_RADIUS_KM` of the centre.
        """
        city, lat, lon, visit = self._journeys.at(user_ids, self.home_city(user_ids), times)
        distance = HOME_RADIUS_KM * np.sqrt(uniform(self.seed, _HOME_DISTANCE, user_ids, visit))
        direction = 2.0 * np.pi * uniform(self.seed, _HOME_DIRECTION, user_ids, visit)
        shifted_lat, shifted_lon = shifted(lat, lon, distance, direction)
        settled = city >= 0
        return Whereabouts(np.where(settled, shifted_lat, lat), np.where(settled, shifted_lon, lon), city)

    def draw_active(self, rng: np.random.Generator, times: Floats) -> Ints:
        """Who makes a transaction at each time: by activity and by the hour at home, shape (n,).

        Rejection sampling, so that nothing has to be known about users who are not drawn. A slot that
        finds nobody in `_MAX_DRAWS` draws (a tiny population asleep) takes the last candidate.
        """
        chosen = np.zeros(len(times), dtype=np.int64)
        pending = np.arange(len(times))
        for _ in range(_MAX_DRAWS):
            candidates = rng.integers(1, self.users + 1, size=len(pending))
            chosen[pending] = candidates
            refused = rng.random(len(pending)) >= self._inclination(candidates, times[pending])
            pending = pending[refused]
            if not len(pending):
                break
        return chosen

    def near(
        self, rng: np.random.Generator, lat: float, lon: float, at: float, radius_km: float = 40.0
    ) -> Ints:
        """Some users (of a sample) who are within the radius at that time; may be empty."""
        ids = rng.integers(1, self.users + 1, size=min(4 * self.users, 1024))
        ids = np.unique(ids)
        where = self.whereabouts(ids, np.full(len(ids), at))

        here = distance_km(where.lat, where.lon, np.array(lat), np.array(lon)) <= radius_km
        return rng.permutation(ids[here])

    def _inclination(self, user_ids: Ints, times: Floats) -> Floats:
        activity = 0.2 + 0.8 * uniform(self.seed, _ACTIVITY, user_ids) ** 2
        chronotype = (uniform(self.seed, _CHRONOTYPE, user_ids) * len(_HOURS)).astype(np.int64)
        result: Floats = activity * _HOURS[chronotype, self.local_hour(user_ids, times)]
        return result


def _bump(peak_hour: float, width_hours: float) -> Floats:
    away = np.abs(np.arange(24) - peak_hour)
    shape: Floats = np.exp(-0.5 * (np.minimum(away, 24 - away) / width_hours) ** 2)
    return shape


def _profile(*bumps: tuple[float, float, float]) -> Floats:
    shape: Floats = sum((height * _bump(peak, width) for peak, width, height in bumps), np.full(24, 0.01))
    return np.asarray(shape / shape.max())


_HOURS: Floats = np.stack(
    [
        _profile((8, 1.5, 0.7), (12.5, 1.5, 1.0), (18, 2.0, 0.9)),
        _profile((11, 3.0, 1.0), (16, 2.5, 0.8)),
        _profile((13, 2.0, 0.6), (20, 2.5, 1.0)),
        _profile((15, 3.0, 0.6), (21.5, 2.0, 1.0)),
    ]
)
"""Share of a user's peak activity by hour at home, shape (kinds, 24): office, day, evening, late."""
