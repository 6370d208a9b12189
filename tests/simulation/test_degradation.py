"""Rungs of the degradation ladder, one at a time: a store refuses, and in the end nothing is missing."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from actors.engine.owner import PartitionOwner
from actors.engine.ports import Ports
from actors.engine.sink import MAX_RECORDS
from actors.engine.timeline_keeper import Desired
from ray_fraud.domain import metrics
from ray_fraud.domain.alert import Alert
from ray_fraud.domain.record import PartitionId, Record
from ray_fraud.stores.cuts.memory import MemoryCutStore
from ray_fraud.stores.cuts.port import CutDamaged, CutHeader
from ray_fraud.stores.errors import SlowDown, StoreError, StoreRefused, StoreUnavailable
from ray_fraud.stores.ledger.memory import MemoryLedger
from ray_fraud.stores.ledger.port import InsertResult, Ownership
from ray_fraud.stores.snapshots.memory import MemorySnapshotStore
from ray_fraud.stores.snapshots.port import SnapshotHeader
from ray_fraud.telemetry.meter import read_snapshot
from tests.simulation.driver import Driver, Owner, check
from tests.simulation.test_crash_points import log_with
from tests.simulation.world import FIRST, NO_WAIT, SETTINGS, TABLE_FILES, TABLES, TOPICS, World


class CutsClosed(MemoryCutStore):
    """Raising the epoch fails, after it was raised where the header is damaged."""

    failure: StoreError | None = None

    def raise_epoch(self, partition: PartitionId, epoch: int, token: str) -> CutHeader | None:
        if isinstance(self.failure, CutDamaged):
            super().raise_epoch(partition, epoch, token)
        if self.failure is not None:
            raise self.failure
        return super().raise_epoch(partition, epoch, token)


class UsersClosedInRedis(MemoryCutStore):
    """The fence may be raised, the users may not be read."""

    def read_users(self, partition: PartitionId, header: CutHeader) -> Iterator[tuple[int, bytes]]:
        raise StoreRefused("redis", f"no permission to read the users of {partition} at {header.next_offset}")


class UsersClosedInLake(MemorySnapshotStore):
    """Snapshots are listed, and none may be read."""

    def read_users(self, header: SnapshotHeader) -> Iterator[tuple[int, bytes]]:
        raise StoreRefused("lake", f"access denied to {header.name}")


class AlertLedgerAway(MemoryLedger):
    """Every insert of alerts fails."""

    failure: StoreError = StoreUnavailable("postgres", "made to fail")

    def insert_hot_alerts(self, own: Ownership, alerts: Sequence[Alert]) -> InsertResult:
        del own, alerts
        raise self.failure


def driver_with(world: World, ports: Ports) -> Driver:
    """A driver whose first owner has these ports."""
    driver = Driver(world, 1, FIRST)
    desired = Desired(SETTINGS, FIRST)
    driver.owner = Owner(PartitionOwner(ports, world.partition, "first", desired, lambda: 0.0))
    return driver


@pytest.mark.parametrize(
    "failure",
    [StoreUnavailable("postgres", "gone"), StoreRefused("postgres", "a value")],
    ids=lambda failure: failure.code,
)
def test_alerts_that_the_owner_could_not_insert_come_from_the_sink(failure: StoreError) -> None:
    world = World()
    away = AlertLedgerAway(world.database)
    away.failure = failure
    ports = replace(world.ports(), alert_ledger=away)
    driver = driver_with(world, ports)
    world.send(log_with(4))
    driver.do(lambda owner: driver.read(owner, 10))
    driver.do(driver.settle)
    assert not world.database.alerts
    assert read_snapshot(ports.meter.snapshot()).counters[metrics.ERRORS.name, ("postgres",)] == 1
    sink = world.sink()
    result = sink.step(NO_WAIT)
    assert result is not None
    assert result.inserted == len(world.database.alerts) >= 4
    check(world, driver.finish(), log_with(4))


@pytest.mark.parametrize(
    "failure",
    [
        StoreUnavailable("redis", "MISCONF"),
        SlowDown("redis", "OOM", timedelta(seconds=1)),
        StoreRefused("redis", "wrong password"),
        CutDamaged("redis", "header of the cut is unreadable"),
    ],
    ids=lambda failure: failure.code,
)
def test_redis_that_cannot_be_written_or_read_stops_no_take_over(failure: StoreError) -> None:
    world = World()
    records = log_with(4)
    world.send(records[:-2])
    first = Driver(world, 1, FIRST)
    first.finish()
    cuts = CutsClosed(world.contents)
    cuts.failure = failure
    driver = driver_with(world, replace(world.ports(), cuts=cuts))
    world.send(records[-2:])
    driver.do(lambda owner: driver.read(owner, 10))
    driver.do(driver.settle)
    cuts.failure = None if not isinstance(failure, CutDamaged) else failure
    check(world, driver.finish(), records)


@pytest.mark.parametrize(
    "closed",
    [
        lambda world: {"cuts": UsersClosedInRedis(world.contents)},
        lambda world: {"snapshots": UsersClosedInLake(world.snapshots), "cuts": MemoryCutStore()},
        lambda world: {
            "snapshots": UsersClosedInLake(world.snapshots),
            "cuts": UsersClosedInRedis(world.contents),
        },
    ],
    ids=["redis", "lake", "both"],
)
def test_state_that_may_not_be_read_stops_no_take_over(closed: Callable[[World], dict[str, Any]]) -> None:
    """A permission taken back: the next rung serves, and the state is the same."""
    world = World()
    records = log_with(4)
    world.send(records)
    Driver(world, 1, FIRST).finish().steps.write_snapshot()
    driver = driver_with(world, replace(world.ports(), **closed(world)))
    assert driver.owner is not None
    assert driver.owner.steps.base.cut is None
    check(world, driver.finish(), records)


def test_an_alert_of_somebody_else_stops_no_sink() -> None:
    world = World()
    world.send(log_with(4))
    driver = Driver(world, 1, FIRST)
    driver.finish()
    alerts = world.broker.topic(TOPICS.alerts).logs[0]
    ours = world.broker.records(TOPICS.alerts)[0]
    unknown = msgspec.json.encode({**msgspec.json.decode(ours.value or b""), "alert_uid": uuid4()})
    for header, value in (("partition", b"-1"), ("partition", b"x"), ("epoch", b"-1"), ("epoch", b"9" * 30)):
        alerts.append(ours.timestamp_ms, ours.key, unknown, (*ours.headers, (header, value)))
    alerts.append(ours.timestamp_ms, ours.key, b"{}", ours.headers)
    sink, before = world.sink(), len(world.database.alerts)
    while sink.step(NO_WAIT) is not None:
        pass
    assert len(world.database.alerts) == before
    dead = [dict(record.headers) for record in world.broker.records(TOPICS.dead_letters)]
    codes = [headers["dlq.error.code"] for headers in dead if headers["dlq.topic"] == TOPICS.alerts.encode()]
    assert codes == [b"not_an_alert"] * 5


def test_a_record_without_key_and_value_is_dead_lettered_and_stops_nothing() -> None:
    """A topic can hold one, although our own client would not send it."""
    world = World()
    records = [*log_with(1), Record(6, log_with(1)[0].timestamp_ms, None, None)]
    world.send(records)
    driver = Driver(world, 1, FIRST)
    check(world, driver.finish(), records)
    dead = world.broker.records(TOPICS.dead_letters)[-1]
    assert dict(dead.headers)["dlq.offset"] == b"6"
    assert dict(dead.headers)["dlq.value.null"] == b"true"
    assert dead.value == b""


def test_tables_that_cannot_be_read_change_nothing_until_they_can() -> None:
    world = World()
    world.tables = {}
    digest = TABLES[0]
    log = log_with(3)
    world.send(log[:3])
    driver = Driver(world, 5, FIRST)
    owner = driver.live()
    owner.steps.desire(tables=digest)
    driver.read(owner, 10)
    assert owner.steps.needs_reconciling
    assert owner.steps.state.tables_digest is None
    world.tables.update(TABLE_FILES)
    world.send(log[3:])
    driver.read(owner, 50)
    assert not owner.steps.needs_reconciling
    assert owner.steps.state.tables_digest == digest
    check(world, driver.finish(), log)


def test_a_take_over_waits_for_the_tables_of_its_replay() -> None:
    world = World()
    digest = TABLES[0]
    log = log_with(3)
    world.send(log)
    driver = Driver(world, 6, FIRST)
    driver.live().steps.desire(tables=digest)
    driver.read(driver.live(), 5)
    driver.crash()
    known, world.tables = world.tables, {}
    with pytest.raises(StoreRefused, match=digest):
        driver.live()
    world.tables = known
    check(world, driver.finish(), log)


def test_a_take_over_needs_no_tables_of_what_the_log_has_lost() -> None:
    world = World()
    old, new = TABLES[:2]
    world.tables = dict(TABLE_FILES)
    log = log_with(3)
    driver = Driver(world, 7, FIRST)
    for tables, records in ((old, log[:3]), (new, log[3:])):
        driver.tables = tables
        world.send(records)
        driver.finish()
    world.contents.clear()
    world.snapshots.clear()
    world.broker.delete_before(TOPICS.transactions, 0, 4)
    del world.tables[old]
    owner = driver.finish()
    assert owner.steps.base.next_offset == 0
    assert owner.steps.state.tables_digest == new
    assert owner.steps.state.next_offset == len(log)


def test_a_sink_knows_whether_more_waits_than_a_step_takes() -> None:
    world = World()
    writer = world.broker.writer(world.faults)
    for number in range(MAX_RECORDS + 1):
        writer.send(TOPICS.alerts, key=b"7", value=b"not an alert", headers=(("number", b"%d" % number),))
    sink = world.sink()
    assert sink.step(NO_WAIT) is not None
    assert sink.behind
    assert sink.step(NO_WAIT) is not None
    assert not sink.behind
