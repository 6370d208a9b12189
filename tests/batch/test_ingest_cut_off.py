"""An ingest of a log that was cut off and has grown again: the lake holds what the log holds."""

import pytest

from ray_fraud.stores.errors import StoreUnavailable
from ray_fraud.stores.faults import Crashed, Fault, FaultPlan, RefusedByPlan
from ray_fraud.stores.ledger.port import EpochRow
from ray_fraud.stores.tables.memory import MemoryTransactions
from tests.batch.test_ingest_faults import RECORDS, TOPICS, World

CUT = 40


@pytest.fixture
def world() -> World:
    made = World()
    made.send(RECORDS)
    return made


def cut_off(world: World, end: int = CUT, grown: int = RECORDS) -> None:
    """Partition 0 loses its records from `end` on; then both partitions get others."""
    world.broker.truncate(TOPICS.transactions, 0, end)
    world.send(grown)


@pytest.mark.parametrize("grown", [0, 5, RECORDS], ids=["not grown", "shorter", "grown beyond"])
def test_the_lake_follows_a_log_that_was_cut_off(world: World, grown: int) -> None:
    world.ingest().run()
    end = world.bounds()[world.partitions()[0]].end
    cut_off(world, grown=grown)
    report = world.ingest().run()
    assert world.rows() == world.values()
    (lost,) = report.taken_back
    assert (lost.from_offset, lost.to_offset) == (CUT, end)
    assert lost.rows > 0
    (gap,) = report.new_gaps
    assert (gap.from_offset, gap.to_offset) == (CUT, end)
    assert "cut off" in gap.reason
    assert world.forgotten == [(0, CUT)]
    # It is told once.
    again = world.ingest().run()
    assert (again.taken_back, again.new_gaps, again.accepted) == ([], [], 0)
    # A deeper one is another loss, and so is one within the offsets of the first.
    for deeper in (CUT - 10, CUT + 2):
        world.send(RECORDS)
        world.ingest().run()
        cut_off(world, deeper, RECORDS)
        assert [one.from_offset for one in world.ingest().run().taken_back] == [deeper]
        assert world.rows() == world.values()


def test_rows_that_an_earlier_release_read_are_followed_once_an_owner_noticed(world: World) -> None:
    world.knows_epochs = False
    world.ingest().run()
    cut_off(world)
    partition = world.partitions()[0]
    world.knows_epochs = True
    world.epochs[partition] = [EpochRow(1, "a", 0, 0), EpochRow(2, "b", CUT, 0, cut_off=CUT)]
    report = world.ingest().run()
    assert [one.from_offset for one in report.taken_back] == [CUT]
    assert world.rows() == world.values()
    assert world.ingest().run().taken_back == []


def test_a_log_that_is_cut_off_while_it_is_read_is_not_committed(world: World) -> None:
    world.ingest().run()
    world.send(10)
    before = world.rows()

    def accident() -> None:
        world.before_read = lambda: None
        cut_off(world)

    world.before_read = accident
    with pytest.raises(Exception, match=r"declare the gap|cut off"):
        world.ingest().run()
    assert world.rows() == before
    world.ingest().run()
    assert world.rows() == world.values()


@pytest.mark.parametrize("kind", [Fault.CRASH_BEFORE, Fault.CRASH_AFTER, Fault.FAIL_AFTER])
def test_whatever_ends_it_the_next_one_goes_on(kind: Fault) -> None:
    for at in range(8):
        world = World()
        world.send(50)
        world.ingest().run()
        cut_off(world, grown=20)
        try:
            world.ingest(FaultPlan([*[Fault.OK] * at, kind])).run()
        except (Crashed, StoreUnavailable, RefusedByPlan):
            world.ingest().run()
        assert world.rows() == world.values()
        (gap,) = MemoryTransactions(world.contents).gaps()
        assert gap.from_offset == CUT
