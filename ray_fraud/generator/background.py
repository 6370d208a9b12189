"""The legitimate traffic: what the population does by itself.

Never: a fraud; a transaction at a place where its user cannot be.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ray_fraud.domain.transaction import Location, Transaction
from ray_fraud.generator.chance import Floats, Ints, generator, transaction_ids
from ray_fraud.generator.merchants import CITY_SLOTS, ONLINE_SLOTS
from ray_fraud.generator.population import SPREAD_WITHIN_USER, Population, Whereabouts
from ray_fraud.generator.transaction import GeneratedTransaction

MIN_AMOUNT = 5.0
MAX_AMOUNT = 5000.0
CURRENCY = "USD"
_ONLINE_SHARE = 0.15
_SECOND_DEVICE_SHARE = 0.15
_CHUNK = 2048
"""Rows computed at once. A constant: it decides the order of random draws, hence the stream of a seed."""


@dataclass(frozen=True)
class Columns:
    """One chunk of background traffic, each column of shape (rows,)."""

    times: Floats
    user_ids: Ints
    amounts: Floats
    where: Whereabouts
    merchants: Ints
    online: np.ndarray[tuple[int], np.dtype[np.bool_]]
    devices: list[str]
    ids: list[str]


def background(
    population: Population, seed: int, start_time: float, rate_hz: float
) -> Iterator[GeneratedTransaction]:
    """An endless stream in order of event time: Poisson arrivals at `rate_hz` per second of event time."""
    rng = generator(seed, 2, round(start_time * 1000))
    elapsed = 0.0
    while True:
        offsets = elapsed + np.cumsum(rng.exponential(1.0 / rate_hz, size=_CHUNK))
        elapsed = float(offsets[-1])
        yield from _rows(_draw(population, rng, start_time + offsets), population)


def amounts_of(rng: np.random.Generator, typical: Floats) -> Floats:
    """Log-normal around the typical amounts, folded into MIN_AMOUNT … MAX_AMOUNT, in cents; shape kept."""
    amounts = typical * np.exp(SPREAD_WITHIN_USER * rng.standard_normal(len(typical)))
    low = MIN_AMOUNT * (1.0 + rng.random(len(typical)))
    high = MAX_AMOUNT * (1.0 - 0.5 * rng.random(len(typical)))
    amounts = np.where(amounts < MIN_AMOUNT, low, np.where(amounts > MAX_AMOUNT, high, amounts))
    return np.round(amounts, 2)


def _draw(population: Population, rng: np.random.Generator, times: Floats) -> Columns:
    times = np.round(times, 3)
    rows = len(times)
    user_ids = population.draw_active(rng, times)
    where = population.whereabouts(user_ids, times)
    online = (rng.random(rows) < _ONLINE_SHARE) | (where.city < 0)
    skewed = rng.random(rows) ** 2
    liked = population.favourite(user_ids)
    slot = ((liked + skewed) % 1.0 * len(CITY_SLOTS)).astype(np.int64)
    online_slot = ((liked + skewed) % 1.0 * len(ONLINE_SLOTS)).astype(np.int64)
    merchants = np.where(
        online, population.merchants.first_online + online_slot, where.city * len(CITY_SLOTS) + slot
    )
    typical = population.typical_amount(user_ids) * population.merchants.amount_factor[merchants]
    devices = population.device_ids(user_ids, rng.random(rows) < _SECOND_DEVICE_SHARE)
    amounts = amounts_of(rng, typical)
    return Columns(times, user_ids, amounts, where, merchants, online, devices, transaction_ids(rng, rows))


def _rows(columns: Columns, population: Population) -> Iterator[GeneratedTransaction]:
    merchants, cities = population.merchants, population.cities.rows
    at_shop = np.where(columns.online, 0, columns.merchants)
    lat = np.round(np.where(columns.online, columns.where.lat, merchants.lat[at_shop]), 5)
    lon = np.round(np.where(columns.online, columns.where.lon, merchants.lon[at_shop]), 5)
    for index, (time, user, amount, latitude, longitude, city, merchant, online) in enumerate(
        zip(
            columns.times.tolist(),
            columns.user_ids.tolist(),
            columns.amounts.tolist(),
            lat.tolist(),
            lon.tolist(),
            columns.where.city.tolist(),
            columns.merchants.tolist(),
            columns.online.tolist(),
            strict=True,
        )
    ):
        place = cities[city] if city >= 0 else None
        yield GeneratedTransaction(
            Transaction(
                columns.ids[index],
                user,
                amount,
                time,
                Location(
                    latitude, longitude, place.name if place else None, place.country if place else None
                ),
                merchants.ids[merchant],
                columns.devices[index],
                CURRENCY,
                "online" if online else "pos",
            )
        )
