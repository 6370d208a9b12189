"""From where a new event may hold: not below what an earlier owner has decided, nor below another event."""

import pytest
from msgspec.structs import replace

from ray_fraud.domain.record import Record
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.domain.timeline import settings_event
from ray_fraud.stores.ledger.memory import MemoryLedger
from tests.simulation.driver import Driver, check
from tests.simulation.test_crash_points import transaction
from tests.simulation.world import FIRST, NO_WAIT, SETTINGS, World

LENIENT = replace(SETTINGS, high_amount=replace(SETTINGS.high_amount, limit=100_000.0))
RECORDS = 100


def high_amounts(count: int) -> list[Record]:
    return [transaction(offset, 5_000.0) for offset in range(count)]


def decide(driver: Driver, count: int) -> None:
    """Lets the live owner read and settle `count` records, without a cut."""
    driver.do(lambda owner: driver.read(owner, count))
    while driver.live().queue:
        driver.do(driver.settle)


def drained_in_replay(settings: DetectionSettings) -> tuple[World, Driver]:
    """Epoch 1 decides 100 records and dies, Redis is lost, epoch 2 drains at 30; new `settings` follow."""
    world = World()
    driver = Driver(world, 1, FIRST)
    world.send(high_amounts(RECORDS))
    decide(driver, RECORDS)
    driver.crash()
    world.contents.clear()
    while driver.live().steps.state.next_offset < 30:
        driver.do(lambda owner: driver.read(owner, 30))
        driver.do(driver.settle)
    driver.do(driver.drain)
    driver.settings = settings
    return world, driver


def test_a_drain_in_a_replay_does_not_take_the_barrier_back() -> None:
    world, driver = drained_in_replay(LENIENT)
    owner = driver.finish()
    assert owner.steps.own.barrier == RECORDS
    expected = check(world, owner, high_amounts(RECORDS))
    assert len(expected.alerts) == RECORDS
    events = MemoryLedger(world.database).events(world.partition)
    assert events[-1].digest == LENIENT.digest
    assert events[-1].from_offset == RECORDS


def test_the_sink_takes_what_an_older_owner_sent_above_a_drained_replay() -> None:
    world, driver = drained_in_replay(SETTINGS)
    world.database.alerts.clear()
    driver.live()
    sink = world.sink()
    result = sink.step(NO_WAIT)
    assert result is not None
    assert result.refused == 0
    assert result.inserted == RECORDS


def test_a_log_that_was_cut_off_takes_the_barrier_back_on_record(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world, driver = drained_in_replay(SETTINGS)
    world.broker.truncate("transactions", 0, 80)
    assert driver.live().steps.own.barrier == 80
    assert "80" in caplog.text


def test_events_that_an_older_release_left_out_of_order_are_reconciled() -> None:
    world = World()
    driver = Driver(world, 1, FIRST)
    world.send(high_amounts(RECORDS))
    decide(driver, 20)
    ledger = MemoryLedger(world.database)
    own = driver.live().steps.own
    seq = len(ledger.events(world.partition))
    ledger.append_event(own, settings_event(seq + 1, 100, LENIENT))
    ledger.append_event(own, settings_event(seq + 2, 30, SETTINGS))
    driver.do(driver.drain)
    owner = driver.live()
    driver.do(lambda owner: owner.steps.reconcile())
    last = ledger.events(world.partition)[-1]
    assert (last.digest, last.from_offset) == (SETTINGS.digest, 100)
    assert not owner.steps.needs_reconciling
