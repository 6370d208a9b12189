"""The stage on which one fraud is played: its own random stream, the population, when it begins.

Never: a draw from another scene's stream: each fraud is the same whatever else happens.
"""

from typing import NamedTuple

import numpy as np

from ray_fraud.domain.transaction import Location, Transaction
from ray_fraud.generator.background import CURRENCY, MAX_AMOUNT, MIN_AMOUNT, amounts_of
from ray_fraud.generator.chance import Ints, transaction_ids
from ray_fraud.generator.geography import distance_km, shifted
from ray_fraud.generator.merchants import CITY_SLOTS, ONLINE_SLOTS
from ray_fraud.generator.population import Population
from ray_fraud.generator.transaction import GeneratedTransaction, Scenario

_NIGHT_HOURS = (1, 2, 3, 4)
_SHOPPING_RADIUS_KM = 6.0
_SLEEPERS_SAMPLED = 4096
"""At some hours it is night over little but an ocean."""


class Place(NamedTuple):
    lat: float
    lon: float
    city: int
    """Index of the city, -1 between two."""

    def around(self, rng: np.random.Generator) -> "Place":
        """Another shop of the same town."""
        distance, direction = _SHOPPING_RADIUS_KM * rng.random(1), 2.0 * np.pi * rng.random(1)
        lat, lon = shifted(np.array([self.lat]), np.array([self.lon]), distance, direction)
        return Place(float(lat[0]), float(lon[0]), self.city)


class Scene:
    def __init__(
        self,
        rng: np.random.Generator,
        population: Population,
        start_time: float,
        span_limit_seconds: float | None = None,
    ) -> None:
        """`span_limit_seconds`: the fraud may last no longer, so that it fits into a short run."""
        self.rng = rng
        self.population = population
        self.start_time = start_time
        self._span_limit = span_limit_seconds

    def between(self, low: int, high: int) -> int:
        """A whole number of low … high, both included."""
        return int(self.rng.integers(low, high + 1))

    def times(self, count: int, span_seconds: float) -> list[float]:
        """Ascending event times: the first at the start, the rest within the span (or the scene's limit)."""
        span = span_seconds if self._span_limit is None else min(span_seconds, self._span_limit)
        later = np.sort(self.rng.random(count - 1)) * span
        return [round(self.start_time, 3), *np.round(self.start_time + later, 3).tolist()]

    def any_user(self) -> int:
        return self.between(1, self.population.users)

    def sleeping_user(self) -> int:
        """A user for whom it is deep night at home; in a tiny population the nearest to three o'clock."""
        ids = self.rng.integers(1, self.population.users + 1, size=_SLEEPERS_SAMPLED)
        hours = self.population.local_hour(ids, np.full(len(ids), self.start_time))
        asleep = ids[np.isin(hours, _NIGHT_HOURS)]
        if len(asleep):
            return int(asleep[0])
        return int(ids[np.argmin(np.minimum((hours - 3) % 24, (3 - hours) % 24))])

    def place_of(self, user_id: int) -> Place:
        """Where the user is when the scene begins."""
        where = self.population.whereabouts(np.array([user_id]), np.array([self.start_time]))
        return Place(float(where.lat[0]), float(where.lon[0]), int(where.city[0]))

    def city_away_from(self, here: Place, at_least_km: float) -> Place:
        """The centre of a city, by weight, that far away."""
        cities = self.population.cities
        away = distance_km(np.array(here.lat), np.array(here.lon), cities.lat, cities.lon) >= at_least_km
        weights = np.diff(cities.cumulative_weight, prepend=0.0) * away
        city = int(self.rng.choice(len(cities), p=weights / weights.sum()))
        return Place(float(cities.lat[city]), float(cities.lon[city]), city)

    def any_merchant(self) -> int:
        """Index of a merchant with a shop, in a city where people live (one drawn by its weight)."""
        city = int(self.population.home_city(np.array([self.any_user()]))[0])
        return city * len(CITY_SLOTS) + self.between(0, len(CITY_SLOTS) - 1)

    def users_near(self, merchant: int, count: int) -> list[int]:
        """`count` different users (or all there are): those near the merchant first, then anybody."""
        merchants, population = self.population.merchants, self.population
        lat, lon = float(merchants.lat[merchant]), float(merchants.lon[merchant])
        near = population.near(self.rng, lat, lon, self.start_time)
        anybody = self._distinct_users(count)
        return list(dict.fromkeys([*near.tolist(), *anybody]))[: min(count, population.users)]

    def usual_amounts(self, user_id: int, count: int) -> list[float]:
        typical = np.repeat(self.population.typical_amount(np.array([user_id])), count)
        amounts: list[float] = amounts_of(self.rng, typical).tolist()
        return amounts

    def new_device(self) -> str:
        return f"dev-x{self.rng.bytes(4).hex()}"

    def at_merchant(
        self, user_id: int, time: float, amount: float, merchant: int, scenario: Scenario
    ) -> GeneratedTransaction:
        """A transaction at the shop itself."""
        merchants = self.population.merchants
        city = merchants.city_of(merchant)
        place = Place(
            float(merchants.lat[merchant]), float(merchants.lon[merchant]), -1 if city is None else city
        )
        return self._made(
            user_id, time, amount, place, merchants.ids[merchant], scenario, self._device(user_id), "pos"
        )

    def transaction(
        self,
        user_id: int,
        time: float,
        amount: float,
        place: Place,
        category: str,
        scenario: Scenario | None,
        *,
        device_id: str | None = None,
        online: bool = False,
    ) -> GeneratedTransaction:
        """A transaction with some merchant of a category: one of the place's city unless online."""
        online = online or place.city < 0
        return self._made(
            user_id,
            time,
            amount,
            place,
            self._merchant_id(place.city, category, online=online),
            scenario,
            device_id or self._device(user_id),
            "online" if online else "pos",
        )

    def _made(
        self,
        user_id: int,
        time: float,
        amount: float,
        place: Place,
        merchant_id: str,
        scenario: Scenario | None,
        device_id: str,
        channel: str,
    ) -> GeneratedTransaction:
        city = self.population.cities.rows[place.city] if place.city >= 0 else None
        return GeneratedTransaction(
            Transaction(
                transaction_ids(self.rng, 1)[0],
                user_id,
                round(min(max(amount, MIN_AMOUNT), MAX_AMOUNT), 2),
                time,
                Location(
                    round(place.lat, 5),
                    round(place.lon, 5),
                    city.name if city else None,
                    city.country if city else None,
                ),
                merchant_id,
                device_id,
                CURRENCY,
                channel,
            ),
            scenario,
        )

    def _merchant_id(self, city: int, category: str, *, online: bool) -> str:
        merchants = self.population.merchants
        slots = ONLINE_SLOTS if online else CITY_SLOTS
        first = merchants.first_online if online else city * len(CITY_SLOTS)
        fitting = [index for index, slot in enumerate(slots) if slot.name == category] or range(len(slots))
        return merchants.ids[first + int(self.rng.choice(np.array(fitting)))]

    def _device(self, user_id: int) -> str:
        return self.population.device_ids(np.array([user_id]), np.array([False]))[0]

    def _distinct_users(self, count: int) -> list[int]:
        users = self.population.users
        if users <= 4 * count:
            ids: Ints = self.rng.permutation(np.arange(1, users + 1))
        else:
            ids = self.rng.integers(1, users + 1, size=4 * count)
        return [int(user) for user in ids]
