"""The merchants of every city, and the online ones: id, category, place, typical amount.

Never: a merchant without a city (an online merchant has none, and its customers pay from where they are).
"""

import re
from functools import cache
from typing import NamedTuple

import numpy as np
from faker import Faker

from ray_fraud.generator.chance import Floats, generator
from ray_fraud.generator.cities import all_cities
from ray_fraud.generator.geography import shifted

MERCHANT_RADIUS_KM = 10.0
"""Shops lie this near to the centre, so that shopping in one town never looks like a journey."""


class Category(NamedTuple):
    name: str
    amount_factor: float
    """Typical amount, as a multiple of the customer's own mean."""


CITY_SLOTS: tuple[Category, ...] = (
    *(Category("grocery", 0.9),) * 3,
    *(Category("restaurant", 0.7),) * 3,
    *(Category("fuel", 0.9),) * 2,
    Category("pharmacy", 0.6),
    Category("clothing", 1.6),
    Category("electronics", 5.0),
    Category("hotel", 7.0),
)
ONLINE_SLOTS: tuple[Category, ...] = (
    *(Category("marketplace", 1.0),) * 24,
    *(Category("digital", 0.4),) * 16,
    *(Category("fashion", 1.5),) * 12,
    *(Category("travel", 7.0),) * 4,
)


class Merchants:
    """All merchants as columns of shape (merchants,): `CITY_SLOTS` city by city, then the online ones."""

    def __init__(self, seed: int) -> None:
        cities = all_cities()
        rng = generator(seed, 1)
        in_cities = len(cities) * len(CITY_SLOTS)
        categories = CITY_SLOTS * len(cities) + ONLINE_SLOTS
        self.first_online = in_cities
        self.ids = _names(seed, categories)
        self.categories = tuple(category.name for category in categories)
        self.amount_factor: Floats = np.array([category.amount_factor for category in categories])
        distance = MERCHANT_RADIUS_KM * np.sqrt(rng.random(in_cities))
        direction = 2.0 * np.pi * rng.random(in_cities)
        per_city = len(CITY_SLOTS)
        self.lat, self.lon = shifted(
            np.repeat(cities.lat, per_city), np.repeat(cities.lon, per_city), distance, direction
        )

    def __len__(self) -> int:
        return len(self.ids)

    def city_of(self, merchant: int) -> int | None:
        """Index of the merchant's city, None for an online one."""
        return merchant // len(CITY_SLOTS) if merchant < self.first_online else None


@cache
def merchants_of(seed: int) -> Merchants:
    """Made once per seed: naming three thousand companies takes a noticeable part of a second."""
    return Merchants(seed)


def _names(seed: int, categories: tuple[Category, ...]) -> tuple[str, ...]:
    fake = Faker("en_US")
    fake.seed_instance(seed)
    names = [re.sub(r"[^a-z]+", "-", fake.company().lower()).strip("-")[:24] for _ in range(len(categories))]
    return tuple(
        f"{category.name}-{index:05d}-{name}"
        for index, (category, name) in enumerate(zip(categories, names, strict=True))
    )
