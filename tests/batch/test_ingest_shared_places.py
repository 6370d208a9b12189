"""Coordinates that many users share are told; a shop's own, and the placeholder, are not among them."""

import random

import pyarrow as pa

from batch.ingest.columns import rows_of
from batch.ingest.manifest import write_rows
from batch.ingest.shared_places import SharedPlaces, placeholder_rows, shared_places
from ray_fraud.cli.batch import shared_places_view
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.domain.transaction import Location
from ray_fraud.stores.tables.memory import MemoryTransactions, TableContents
from tests.domain.samples import decoder, record, transaction

CENTROID = (51.1657, 10.4515)
"""The middle of Germany, as geocoders have it."""


def table(rng: random.Random, centroids: int, first_user: int = 0) -> pa.Table:
    """Homes, a busy shop, placeholders and `centroids` rows at the middle of a country."""
    sent = []
    for index in range(400):
        home = Location(rng.uniform(40, 60), rng.uniform(0, 20), "Berlin", "DE")
        sent.append(transaction(f"h{index}", user_id=first_user + index, location=home, merchant_id="m"))
    for index in range(300):
        shop = Location(52.5, 13.4, "Berlin", "DE")
        sent.append(transaction(f"s{index}", user_id=first_user + index, location=shop, merchant_id="shop"))
    for index in range(30):
        nowhere = Location(0.0, -0.0, f"city {index}", None)
        sent.append(transaction(f"p{index}", user_id=first_user + index, location=nowhere))
    for index in range(centroids):
        middle = Location(*CENTROID, f"city {index % 7}", "DE")
        sent.append(transaction(f"c{index}", user_id=first_user + index, location=middle))
    records = [record(offset, each) for offset, each in enumerate(sent)]
    return rows_of(records, PartitionId("c", "t", 0), 0, len(records), decoder(), DetectionSettings())


def test_a_planted_centroid_is_found_and_a_busy_shop_is_not() -> None:
    rows = table(random.Random(1), 50)
    (found,) = shared_places(rows)
    assert (found.lat, found.lon) == CENTROID
    assert (found.rows, found.users, found.cities, found.merchants) == (50, 50, 7, 0)
    assert placeholder_rows(rows) == 30


def test_a_few_users_at_one_point_are_nothing() -> None:
    rows = table(random.Random(2), 19)
    assert shared_places(rows) == []
    assert placeholder_rows(rows.slice(0, 0)) == 0


def test_partitions_add_up_and_blocks_of_one_do_not() -> None:
    places = SharedPlaces()
    for partition, first in ((0, 0), (0, 0), (1, 1_000)):
        (written,) = write_rows(
            MemoryTransactions(TableContents()), table(random.Random(partition), 25, first)
        )
        assert written.placeholders == 30
        places.add(partition, written.shared)
    (found,) = places.most_shared()
    assert (found.rows, found.users, found.cities) == (75, 50, 7)


def test_people_are_told_what_they_may_mean() -> None:
    (place,) = shared_places(table(random.Random(3), 40))
    told = {name: getattr(place, name) for name in place.__struct_fields__}
    lines = [str(line) for line in shared_places_view({"placeholder_locations": 5, "shared_places": [told]})]
    assert "5 rows with lat = lon = 0" in lines[0]
    assert "51.1657, 10.4515 is shared by 40 users or more" in lines[1]
    assert shared_places_view({}) == []
