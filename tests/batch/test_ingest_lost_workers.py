"""A batch that ends each process that unpacks it: passed over as by the hot path; other partitions commit."""

from collections.abc import Iterable

import pytest

from batch.ingest.manifest import Written
from ray_fraud.domain.timeline import quarantine_event
from ray_fraud.stores.errors import StoreUnavailable
from ray_fraud.stores.faults import Crashed
from tests.batch.test_ingest_faults import RECORDS, TOPICS, World

KILLER = (20, 26)
"""Offsets of such a batch, in partition 1."""


class DyingWorkers(World):
    """Workers that end with a batch are begun anew, and lost for good in the end, as Ray does it."""

    def written(self, read: Iterable[Written]) -> Iterable[Written]:
        try:
            yield from read
        except Crashed as error:
            raise StoreUnavailable("ray", "a task was lost: it died four times") from error


@pytest.fixture
def world() -> DyingWorkers:
    made = DyingWorkers()
    made.send(RECORDS)
    made.broker.kill_when_unpacked(TOPICS.transactions, 1, *KILLER)
    return made


def test_a_partition_whose_workers_die_fails_by_name_and_the_others_commit(world: DyingWorkers) -> None:
    for _ in range(6):
        with pytest.raises(StoreUnavailable, match=r":1: a task was lost.*passes it over"):
            world.ingest().run()
    assert world.rows() == [row for row in world.values() if row[0] == 0 or row[1] < KILLER[0]]


def test_what_the_hot_path_passed_over_is_passed_over(world: DyingWorkers) -> None:
    event = quarantine_event(1, *KILLER, "it ended three owners")
    world.timelines = {1: (event,)}
    report = world.ingest().run()
    assert report.rejected["unreadable"] == KILLER[1] - KILLER[0]
    expected = [row for row in world.values() if row[0] == 0 or not KILLER[0] <= row[1] < KILLER[1]]
    assert world.rows() == expected
