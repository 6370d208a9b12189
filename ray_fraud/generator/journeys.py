"""Who travels where and when, at a speed that a traveller can have.

Time is cut into fortnights of each user's own phase. Within one there is at most one journey: out along the
great circle, some days there, and back home before the fortnight ends.

Never: two places of one user that no journey connects.
"""

from typing import NamedTuple

import numpy as np

from ray_fraud.generator.chance import Floats, Ints, uniform
from ray_fraud.generator.cities import all_cities
from ray_fraud.generator.geography import along_way

DAY = 86_400.0
FORTNIGHT_SECONDS = 14 * DAY
TRAVEL_KMH = 450.0
"""Door to door. With addresses up to 10 km off a centre, two places 50 km apart then differ by at most
50 / (50 − 10) × 450 = 563 km/h: far below what geography calls impossible."""
_DESTINATION_CHOICES = 3

_PHASE, _TRAVELS, _DESTINATION, _DEPARTURE, _STAY = 20, 21, 22, 25, 26


class Position(NamedTuple):
    """Columns of shape (n,): the city (-1: on the way), its centre or the point on the way, which visit."""

    city: Ints
    lat: Floats
    lon: Floats
    visit: Ints
    """0 at home; at a destination the number of the fortnight, so that each stay has its own address."""


class Journeys:
    def __init__(self, seed: int, trip_share: float) -> None:
        if not 0.0 <= trip_share <= 1.0:
            raise ValueError(f"trip_share: {trip_share} must lie between 0 and 1")
        self._seed = seed
        self._trip_share = trip_share

    def at(self, user_ids: Ints, home: Ints, times: Floats) -> Position:
        """The position of each user at its time (unix seconds)."""
        cities = all_cities()
        city, visit = home.copy(), np.zeros(len(home), dtype=np.int64)
        lat, lon = cities.lat[home], cities.lon[home]
        phased = times + uniform(self._seed, _PHASE, user_ids) * FORTNIGHT_SECONDS
        fortnight = np.floor(phased / FORTNIGHT_SECONDS).astype(np.int64)
        into = phased - fortnight * FORTNIGHT_SECONDS
        travels = uniform(self._seed, _TRAVELS, user_ids, fortnight) < self._trip_share
        rows = np.flatnonzero(travels)
        if not len(rows):
            return Position(city, lat, lon, visit)

        ids, number, start = user_ids[rows], fortnight[rows], home[rows]
        end = self._destination(ids, number, start)
        leg = cities.distance_km[start, end] / TRAVEL_KMH * 3600.0
        since = into[rows] - (0.5 + 3.5 * uniform(self._seed, _DEPARTURE, ids, number)) * DAY
        stay = (1.0 + 4.0 * uniform(self._seed, _STAY, ids, number)) * DAY
        moves = leg > 0.0
        way = np.where(since < leg, since, 2.0 * leg + stay - since) / np.where(moves, leg, 1.0)
        there = moves & (way >= 1.0)
        between = moves & (way > 0.0) & ~there
        city[rows] = np.where(there, end, np.where(between, -1, start))
        visit[rows] = np.where(there, number, 0)
        point_lat, point_lon = along_way(
            cities.lat[start], cities.lon[start], cities.lat[end], cities.lon[end], np.clip(way, 0.0, 1.0)
        )
        lat[rows] = np.where(there, cities.lat[end], np.where(between, point_lat, lat[rows]))
        lon[rows] = np.where(there, cities.lon[end], np.where(between, point_lon, lon[rows]))
        return Position(city, lat, lon, visit)

    def _destination(self, ids: Ints, number: Ints, start: Ints) -> Ints:
        """The nearest of a few cities drawn by weight: people travel near more often than far."""
        cities = all_cities()
        drawn = np.stack(
            [
                np.searchsorted(
                    cities.cumulative_weight, uniform(self._seed, _DESTINATION + choice, ids, number)
                )
                for choice in range(_DESTINATION_CHOICES)
            ]
        )
        distance = cities.distance_km[start[None, :], drawn]
        nearest = np.argmin(distance, axis=0)
        chosen: Ints = drawn[nearest, np.arange(len(ids))].astype(np.int64)
        return chosen
