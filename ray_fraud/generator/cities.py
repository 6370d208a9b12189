"""The cities people live in and travel to: a committed table of real places.

Never: a look-up in a package whose next version may hold other places.
"""

import csv
from functools import cache
from importlib import resources
from typing import NamedTuple

import numpy as np

from ray_fraud.generator.chance import Floats
from ray_fraud.generator.geography import distance_matrix_km


class City(NamedTuple):
    name: str
    country: str
    """ISO 3166-1 alpha-2."""
    lat: float
    lon: float
    utc_offset_hours: float
    """Standard time; summer time does not matter for habits."""
    weight: float
    """Roughly the millions of people around it: how likely a user lives there."""


class Cities:
    """All cities as columns, index by index the same city.

    `lat`, `lon` in degrees, `utc_offset_seconds`, `cumulative_weight` in (0, 1], each of shape (cities,);
    `distance_km` of shape (cities, cities).
    """

    def __init__(self, rows: tuple[City, ...]) -> None:
        self.rows = rows
        self.lat: Floats = np.array([row.lat for row in rows])
        self.lon: Floats = np.array([row.lon for row in rows])
        self.utc_offset_seconds: Floats = np.array([row.utc_offset_hours * 3600.0 for row in rows])
        weights = np.array([row.weight for row in rows])
        self.cumulative_weight: Floats = np.cumsum(weights) / weights.sum()
        self.distance_km = distance_matrix_km(self.lat, self.lon)

    def __len__(self) -> int:
        return len(self.rows)


@cache
def all_cities() -> Cities:
    """The committed table, read once."""
    text = resources.files("ray_fraud.generator").joinpath("cities.csv").read_text(encoding="utf-8")
    return Cities(
        tuple(
            City(
                row["city"],
                row["country"],
                float(row["lat"]),
                float(row["lon"]),
                float(row["utc_offset_hours"]),
                float(row["weight"]),
            )
            for row in csv.DictReader(text.splitlines())
        )
    )
