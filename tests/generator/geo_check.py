"""A plain check of journeys, independent of the generator's and the product's geography."""

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ray_fraud.domain.transaction import Location
from ray_fraud.generator.transaction import GeneratedTransaction


class Pair(NamedTuple):
    before: GeneratedTransaction
    after: GeneratedTransaction
    km: float
    kmh: float


def kilometres(one: Location, two: Location) -> float:
    """Spherical law of cosines, which is exact enough above a few metres."""
    p, q = math.radians(one.lat), math.radians(two.lat)
    cosine = math.sin(p) * math.sin(q) + math.cos(p) * math.cos(q) * math.cos(math.radians(two.lon - one.lon))
    return 6371.0 * math.acos(max(-1.0, min(1.0, cosine)))


def place(made: GeneratedTransaction) -> Location:
    assert made.transaction.location is not None
    return made.transaction.location


def impossible_pairs(stream: Iterable[GeneratedTransaction]) -> Iterator[Pair]:
    """Neighbours of one user, at least 50 km apart, faster than 800 km/h."""
    last: dict[int, GeneratedTransaction] = {}
    for made in stream:
        user = made.transaction.user_id
        before = last.get(user)
        last[user] = made
        if before is None:
            continue
        km = kilometres(place(before), place(made))
        kmh = km / (max(made.event_time - before.event_time, 1.0) / 3600.0)
        if km >= 50.0 and kmh > 800.0:
            yield Pair(before, made, km, kmh)
