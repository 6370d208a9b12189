"""Exact coordinates at which unusually many different users, cities or merchants meet.

A geocoder that knows nothing better writes the middle of a country, and some feeds write -1/-1: places that
are as far from the card as they are precise. They cannot be told from true ones in one record, only by who
shares them; so they are counted and shown, and nothing is decided by them.

Never: a verdict about a record; the placeholder lat = lon = 0, which is no place anyway.
"""

from collections.abc import Iterable

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

LEAST_USERS = 20
LEAST_CITIES = 3
LEAST_MERCHANTS = 10
"""One point has one city and, but for a mall, few merchants; a shop with many users is usual."""
MOST_SHOWN = 10
_KEY = ["lat", "lon"]


class SharedPlace(msgspec.Struct, frozen=True):
    """One pair of coordinates, and at least so many rows, users, cities and merchants."""

    lat: float
    lon: float
    rows: int
    users: int
    cities: int
    merchants: int


def placeholder_rows(rows: pa.Table) -> int:
    """How many rows have the location lat = lon = 0, which means "unknown"."""
    zero = pc.and_(pc.equal(rows["lat"], 0.0), pc.equal(rows["lon"], 0.0))
    return int(pc.sum(zero, min_count=0).as_py())


def shared_places(rows: pa.Table) -> list[SharedPlace]:
    """The most shared coordinates of accepted rows, most users first."""
    placed = rows.select([*_KEY, "user_id", "city", "merchant_id"])
    placed = placed.filter(pc.or_(pc.not_equal(placed["lat"], 0.0), pc.not_equal(placed["lon"], 0.0)))
    # Nearly all places go here, before anything that costs more is counted.
    crowded = placed.group_by(_KEY, use_threads=False).aggregate([("user_id", "count")])
    crowded = crowded.filter(pc.greater_equal(crowded["user_id_count"], LEAST_USERS))
    if not crowded.num_rows:
        return []
    candidates = placed.join(crowded.select(_KEY), _KEY, join_type="inner", use_threads=False)
    distinct = [(name, "count_distinct") for name in ("user_id", "city", "merchant_id")]
    counted = candidates.group_by(_KEY, use_threads=False).aggregate([("user_id", "count"), *distinct])
    names = ("user_id_count", *(f"{name}_count_distinct" for name, _ in distinct))
    found = map(SharedPlace, *(counted[name].to_pylist() for name in (*_KEY, *names)))
    return most_shared(found)


def most_shared(places: Iterable[SharedPlace]) -> list[SharedPlace]:
    """Those that are more than a busy shop, most users first, `MOST_SHOWN` at most."""
    found = [
        place
        for place in places
        if place.users >= LEAST_USERS and (place.cities >= LEAST_CITIES or place.merchants >= LEAST_MERCHANTS)
    ]
    return sorted(found, key=lambda place: (-place.users, place.lat, place.lon))[:MOST_SHOWN]


class SharedPlaces:
    """The shared places of all blocks of one ingest."""

    def __init__(self) -> None:
        self._by_place: dict[tuple[float, float], dict[int, SharedPlace]] = {}

    def add(self, partition: int, places: Iterable[SharedPlace]) -> None:
        """Adds those of one block: a partition's blocks share users, different partitions do not."""
        for place in places:
            known = self._by_place.setdefault((place.lat, place.lon), {})
            before = known.get(partition)
            known[partition] = place if before is None else _together(before, place)

    def most_shared(self) -> list[SharedPlace]:
        return most_shared(_over_partitions(list(each.values())) for each in self._by_place.values())


def _together(one: SharedPlace, other: SharedPlace) -> SharedPlace:
    return SharedPlace(
        one.lat,
        one.lon,
        one.rows + other.rows,
        max(one.users, other.users),
        max(one.cities, other.cities),
        max(one.merchants, other.merchants),
    )


def _over_partitions(parts: list[SharedPlace]) -> SharedPlace:
    return SharedPlace(
        parts[0].lat,
        parts[0].lon,
        sum(part.rows for part in parts),
        sum(part.users for part in parts),
        max(part.cities for part in parts),
        max(part.merchants for part in parts),
    )
