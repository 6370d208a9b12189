"""Offsets without a record, and records that cannot be read: positions decide, and nothing stands still."""

import logging
import random

import pytest

from actors.engine.owner import PartitionOwner
from actors.engine.timeline_keeper import Desired
from ray_fraud.domain.progress_metrics import UNREADABLE
from ray_fraud.domain.record import Record
from ray_fraud.domain.timeline import Quarantine
from ray_fraud.stores.errors import StoreUnavailable
from ray_fraud.stores.faults import FaultPlan
from ray_fraud.stores.ledger.memory import MemoryLedger
from ray_fraud.stores.log.damage import TRIES
from ray_fraud.stores.log.memory_topics import PartitionLog
from ray_fraud.telemetry.meter import read_snapshot
from tests.simulation.driver import Driver, Owner, check
from tests.simulation.test_crash_poison import log_with
from tests.simulation.test_simulation import random_faults
from tests.simulation.world import FIRST, NO_WAIT, SETTINGS, TOPICS, World
from tests.stores.ledger_world import reached


def log_of(world: World) -> PartitionLog:
    return world.broker.topic(TOPICS.transactions).logs[0]


def work(driver: Driver, rounds: int = 10) -> Owner:
    """Reads and settles; the live owner."""
    for _ in range(rounds):
        driver.do(lambda owner: driver.read(owner, 50))
        driver.do(driver.settle)
    return driver.live()


def decided(world: World) -> int | None:
    return MemoryLedger(world.database).decided_offset(world.partition)


def test_a_log_that_ends_in_a_marker_is_read_to_its_end() -> None:
    world = World()
    world.send(log_with([], 10))
    world.broker.add_hole(TOPICS.transactions, 0)
    driver = Driver(world, 0, FIRST)
    owner = work(driver)
    assert owner.steps.cuts.next_offset == log_of(world).end == 11
    driver.keep(owner)
    driver.progress(owner)
    assert decided(world) == 11
    driver.crash()
    owner = driver.live()
    assert owner.steps.own.barrier == 11
    assert not owner.steps.replaying


@pytest.mark.parametrize("holes", [1, 7])
def test_a_replay_that_ends_in_markers_is_over_and_leaves_no_marks(holes: int) -> None:
    """The next owner is careful up to the barrier, which no record reaches."""
    world = World()
    world.send(log_with([], 10))
    world.broker.add_hole(TOPICS.transactions, 0, holes)
    driver = Driver(world, 0, FIRST)
    driver.do(lambda owner: driver.read(owner, 4))
    driver.crash()
    driver.do(lambda owner: driver.read(owner, 4))
    assert MemoryLedger(world.database).attempts(world.partition)
    driver.crash()
    owner = work(driver)
    assert not owner.steps.replaying
    driver.progress(owner)
    assert (owner.steps.cuts.next_offset, decided(world)) == (10 + holes, 10 + holes)
    assert MemoryLedger(world.database).attempts(world.partition) == {}
    assert not owner.steps.awaits_settling


def test_an_open_transaction_is_no_lag_and_no_replay_without_end() -> None:
    world = World()
    records = log_with([], 20)
    world.send(records[:10])
    world.broker.begin_transaction(TOPICS.transactions, 0)
    world.send(records[10:])
    driver = Driver(world, 0, FIRST)
    owner = work(driver)
    assert owner.steps.cuts.next_offset == owner.steps.log_end() == 10
    driver.crash()
    assert not work(driver).steps.replaying
    world.broker.end_transaction(TOPICS.transactions, 0)
    assert work(driver).steps.cuts.next_offset == 21
    check(world, driver.finish(), records)


def test_a_gap_at_the_end_of_the_log_is_settled_without_a_record() -> None:
    world = World()
    world.send(log_with([], 10))
    driver = Driver(world, 0, FIRST)
    work(driver)
    world.send(log_with([], 10))
    world.broker.delete_before(TOPICS.transactions, 0, 20)
    owner = work(driver)
    assert owner.steps.cuts.next_offset == 20


def test_damage_is_retried_then_quarantined_on_record(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    records = log_with([], 40)
    world.send(records)
    world.broker.damage(TOPICS.transactions, 0, 12, 17, cause="its checksum is wrong")
    driver = Driver(world, 0, FIRST)
    owner = driver.live().steps
    owner.reconcile()
    assert [record.offset for record in owner.read(100, NO_WAIT)] == list(range(12))
    owner.observe(log_of(world).records[:12])
    for _ in range(TRIES - 1):
        with pytest.raises(StoreUnavailable, match="offsets 12 to 16 cannot be read: its checksum"):
            owner.read(100, NO_WAIT)
    with caplog.at_level(logging.ERROR):
        assert owner.read(100, NO_WAIT) == []
    assert "offsets 12 to 16 cannot be read and are passed over" in caplog.text
    assert owner.unreadable == [Quarantine(12, 17, "its checksum is wrong")]
    (passed,) = owner.observe_holes()
    assert (passed.from_offset, passed.next_offset, passed.counts.quarantined) == (12, 17, 5)
    assert [record.offset for record in owner.read(100, NO_WAIT)] == list(range(17, 40))
    driver.crash()
    expected = check(world, driver.finish(), records)
    assert expected.counts.quarantined == 5
    assert driver.happened.retries == 0, "the next owner knows of it"


def test_damage_shows_in_the_metrics() -> None:
    world = World()
    world.send(log_with([], 40))
    world.broker.damage(TOPICS.transactions, 0, 12, 17)
    driver = Driver(world, 0, FIRST)
    ports = world.ports()
    work(driver)
    driver.crash()
    PartitionOwner(ports, world.partition, "token", Desired(SETTINGS, FIRST), lambda: 0.0)
    gauges = {key[0]: value for key, value in read_snapshot(ports.meter.snapshot()).gauges.items()}
    assert gauges[UNREADABLE.name] == 5


def test_damage_that_goes_away_costs_nothing_but_time() -> None:
    world = World()
    records = log_with([], 40)
    world.send(records)
    world.broker.damage(TOPICS.transactions, 0, 12, 17, reads=TRIES - 1)
    driver = Driver(world, 0, FIRST)
    assert work(driver).steps.unreadable == []
    assert driver.happened.retries == TRIES - 1
    assert check(world, driver.finish(), records).counts.quarantined == 0


def test_what_was_passed_over_stays_so_when_it_can_be_read_again() -> None:
    """A replica with a good copy becomes leader: the replay decides what the platform decided."""
    world = World()
    records = log_with([], 40)
    world.send(records)
    world.broker.damage(TOPICS.transactions, 0, 12, 17)
    driver = Driver(world, 0, FIRST)
    work(driver)
    log_of(world).damage.clear()
    driver.crash()
    assert check(world, driver.finish(), records).counts.quarantined == 5


def test_a_damaged_alert_topic_is_passed_over_and_told(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    records = log_with([], 40)
    world.send(records)
    driver = Driver(world, 0, FIRST)
    work(driver)
    alerts = world.broker.topic(TOPICS.alerts).logs[0]
    world.broker.damage(TOPICS.alerts, 0, 1, 3)
    sink = world.sink()
    with caplog.at_level(logging.ERROR):
        for _ in range(TRIES + 3):
            sink.step(NO_WAIT)
    assert "offsets 1 to 3: they cannot be read" in caplog.text
    partition = world.broker.partition_id(TOPICS.alerts, 0)
    assert reached(MemoryLedger(world.database), partition) == alerts.end


def accident(world: World, rng: random.Random) -> None:
    """One of those that leave offsets without a readable record."""
    log = log_of(world)
    match rng.randrange(4):
        case 0:
            world.broker.add_hole(TOPICS.transactions, 0, rng.randint(1, 4))
        case 1 if log.open_from is None:
            world.broker.begin_transaction(TOPICS.transactions, 0)
        case 2 if log.open_from is not None:
            world.broker.end_transaction(TOPICS.transactions, 0, commit=True)
        case 3 if log.records:
            reads = rng.choice((1, 2, None))
            world.broker.damage(TOPICS.transactions, 0, log.end, log.end + rng.randint(1, 3), reads=reads)


@pytest.mark.parametrize("seed", range(25))
def test_everything_equals_the_replay_with_markers_and_damage(seed: int) -> None:
    world = World(FaultPlan(random_faults(seed, share=0.05)))
    driver = Driver(world, seed, FIRST)
    rng = driver.rng
    waiting: list[Record] = log_with([], 150)
    while waiting:
        count = rng.randint(1, 12)
        if rng.random() < 0.4:
            accident(world, rng)
        world.send(waiting[:count])
        del waiting[:count]
        for _ in range(rng.randint(1, 5)):
            driver.do(lambda owner: driver.read(owner, rng.randint(1, 30)))
            driver.do(driver.settle)
        if rng.random() < 0.3:
            driver.do(rng.choice((driver.keep, driver.progress, driver.snapshot)))
        if rng.random() < 0.1:
            driver.crash()
    if log_of(world).open_from is not None:
        world.broker.end_transaction(TOPICS.transactions, 0)
    owner = driver.finish()
    expected = check(world, owner, log_of(world).records)
    assert owner.steps.cuts.next_offset == log_of(world).end
    assert not owner.steps.replaying
    assert expected.counts.in_gap == 0
