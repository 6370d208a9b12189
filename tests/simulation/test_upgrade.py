"""A release with another fold version: from a drained partition, crashing at any step, and when refused."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import pytest

from actors.engine.audit import ReplayBase, replay_partition
from actors.engine.owner import PartitionOwner
from actors.engine.ports import Ports
from actors.engine.timeline_keeper import Desired
from actors.engine.upgrade import NotDrainedError, StateLostError
from ray_fraud.domain.controls import FoldVersionError
from ray_fraud.domain.conversion import Fold, FoldState, NoConverterError, version_events
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.fold_version import FOLD_VERSION
from ray_fraud.domain.partition import PartitionState
from ray_fraud.domain.record import Record
from ray_fraud.domain.replay import replay
from ray_fraud.domain.timeline import ControlEvent
from ray_fraud.stores.errors import StoreUnavailable
from ray_fraud.stores.faults import Crashed, Fault, FaultPlan
from ray_fraud.stores.feature_tables.lookup import TablesFromFiles
from ray_fraud.stores.feature_tables.memory import MemoryFeatureTables
from ray_fraud.stores.ledger.memory import MemoryLedger
from ray_fraud.stores.snapshots.foldable import Foldable
from ray_fraud.stores.snapshots.memory import MemorySnapshotStore
from tests.simulation.driver import Driver, topic_alerts
from tests.simulation.test_crash_points import crash_at, transaction
from tests.simulation.world import FIRST, SECOND, TOPICS, World, explain_row, score_rows

T = TypeVar("T")

OLD = Fold(FOLD_VERSION - 1, {})
DRAINED_AT, RECORDS = 6, 12


def forget_amounts(state: FoldState) -> FoldState:
    """A stand-in converter that shows: users are forgotten, and the log's time is a minute later."""
    return FoldState({}, state.watermark_ms + 60_000)


NEW = Fold(FOLD_VERSION, {OLD.version: forget_amounts})
NEWER = Fold(FOLD_VERSION + 1, {OLD.version: forget_amounts, NEW.version: forget_amounts})


class CrashAt(FaultPlan):
    """The process ends before the step of this name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def step(self, store: str, name: str, action: Callable[[], T]) -> T:
        if name == self._name:
            raise Crashed(f"{store}: {name}")
        return super().step(store, name, action)


class WithoutRedis(FaultPlan):
    def step(self, store: str, name: str, action: Callable[[], T]) -> T:
        if store == "redis":
            raise StoreUnavailable(store, name)
        return super().step(store, name, action)


class Releases(World):
    """A world whose owners are of one release after another."""

    fold = OLD

    def ports(self, faults: FaultPlan | None = None) -> Ports:
        return replace(super().ports(faults), fold=self.fold)

    def events(self) -> list[ControlEvent]:
        return MemoryLedger(self.database).events(self.partition)


def log() -> list[Record]:
    """One high amount in three, so that every part of the log has an alert."""
    return [transaction(offset, 5_000.0 if offset % 3 == 0 else 20.0) for offset in range(RECORDS)]


def decide(driver: Driver, until: int) -> None:
    """Lets owners, however often they die, settle the records below `until`."""
    while driver.live().steps.cuts.next_offset < until:
        left = until - driver.live().steps.state.next_offset
        if left:
            driver.do(partial(driver.read, limit=min(2, left)))
        driver.do(driver.settle)
        driver.do(driver.progress)


def drained_world(faults: FaultPlan | None = None) -> tuple[Releases, Driver]:
    """The old release has decided half of the log and closed its cut; the rest of the log is there."""
    world = Releases()
    driver = Driver(world, 1, FIRST)
    world.send(log()[:DRAINED_AT])
    decide(driver, DRAINED_AT)
    driver.do(driver.drain)
    world.send(log()[DRAINED_AT:])
    return world, driver


def part(world: World, state: PartitionState, records: Sequence[Record]) -> set[str]:
    decided = replay(records, state, score_rows, explain=explain_row)
    return {str(alert.alert_uid) for each in decided for alert in each.effects.alerts}


def state_of(world: World, fold: Fold, base: FoldState, next_offset: int) -> PartitionState:
    return PartitionState(
        0,
        Decoder(None),
        next_offset=next_offset,
        watermark_ms=base.watermark_ms,
        users=dict(base.users),
        timeline=MemoryLedger(world.database).events(world.partition),
        tables=TablesFromFiles(MemoryFeatureTables(world.tables)),
        fold_version=fold.version,
    )


def check_upgraded(world: Releases, driver: Driver, at: int = DRAINED_AT, fold: Fold = NEW) -> None:
    """Alerts, and the state in Redis, are those of the old fold up to `at`, and of the new one above."""
    owner = driver.finish()
    began = version_events(world.events())[-1]
    assert began == (at, fold.version)
    old = state_of(world, OLD, FoldState({}, 0), 0)
    expected = part(world, old, log()[:at])
    new = state_of(world, fold, fold.convert(FoldState(old.users, old.watermark_ms), OLD.version), at)
    expected |= part(world, new, log()[at:])
    assert {str(uid) for uid in topic_alerts(world)} == expected
    assert {str(uid) for uid in world.database.alerts} == expected
    assert owner.steps.state.users == new.users
    stored = world.contents.of(world.partition)
    assert stored.header is not None
    assert (stored.users, stored.header.watermark_ms) == (new.users, new.watermark_ms)
    assert stored.header.fold_version == fold.version


def test_a_drained_partition_is_converted_and_goes_on() -> None:
    world, driver = drained_world()
    world.fold = NEW
    owner = driver.live().steps
    assert (owner.base.next_offset, owner.state.users) == (DRAINED_AT, {})
    assert version_events(world.events()) == [(0, OLD.version), (DRAINED_AT, NEW.version)]
    check_upgraded(world, driver)


def test_what_is_converted_is_in_redis_and_in_the_lake_before_the_event_is_on_record() -> None:
    world, driver = drained_world()
    world.fold = NEW
    seen: list[tuple[int, int]] = []
    append = MemoryLedger.append_event

    def watch(ledger: MemoryLedger, own: object, event: ControlEvent) -> None:
        header = world.contents.of(world.partition).header
        assert header is not None
        (snapshot,) = [each for each, _ in world.snapshots.values() if each.fold_version == NEW.version]
        assert snapshot.events == header.events == (*world.events(), event)
        seen.append((header.fold_version, snapshot.next_offset))
        append(ledger, own, event)  # type: ignore[arg-type]  # what the engine passes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryLedger, "append_event", watch)
        driver.live()
    assert seen == [(NEW.version, DRAINED_AT)]


@pytest.mark.parametrize("fault", [Fault.CRASH_BEFORE, Fault.CRASH_AFTER])
def test_a_crash_at_any_step_of_an_upgrade_is_harmless(fault: Fault) -> None:
    def run(faults: FaultPlan) -> int:
        world, driver = drained_world()
        world.fold, world.faults = NEW, faults
        driver.do(lambda _: None)
        met = driver.happened.crashes
        world.faults = FaultPlan()
        check_upgraded(world, driver)
        return met

    counting = FaultPlan()
    run(counting)
    assert counting.steps >= 12
    assert [run(FaultPlan(crash_at(step, fault))) for step in range(counting.steps)] == [1] * counting.steps


@pytest.mark.parametrize("fault", [Fault.FAIL_BEFORE, Fault.FAIL_AFTER])
def test_a_failure_at_any_step_of_an_upgrade_is_repeated(fault: Fault) -> None:
    counting = FaultPlan()
    world, driver = drained_world()
    world.fold, world.faults = NEW, counting
    driver.live()
    for step in range(counting.steps):
        world, driver = drained_world()
        world.fold, world.faults = NEW, FaultPlan(crash_at(step, fault))
        driver.live()
        check_upgraded(world, driver)


def lose_redis(world: Releases, driver: Driver) -> None:
    world.contents.clear()


def lose_redis_and_the_record(world: Releases, driver: Driver) -> None:
    """PostgreSQL is restored from before the upgrade: the snapshot brings the event back."""
    tables = world.database.partitions[world.partition]
    tables.events.pop()
    world.contents.clear()


@pytest.mark.parametrize("accident", [lose_redis, lose_redis_and_the_record])
@pytest.mark.parametrize("decided", [DRAINED_AT, DRAINED_AT + 3])
def test_after_an_upgrade_no_recovery_starts_below_it(
    accident: Callable[[Releases, Driver], None], decided: int
) -> None:
    world, driver = drained_world()
    world.fold = NEW
    driver.live()
    decide(driver, decided)
    driver.crash()
    accident(world, driver)
    owner = driver.live().steps
    assert (owner.base.next_offset, owner.base.fold_version) == (DRAINED_AT, NEW.version)
    check_upgraded(world, driver)


def test_hourly_snapshots_do_not_push_out_the_one_of_the_upgrade() -> None:
    world, driver = drained_world()
    world.fold = NEW
    for until in range(DRAINED_AT + 1, RECORDS + 1):
        decide(driver, until)
        driver.do(driver.snapshot)
    kept = sorted(header.next_offset for header, _ in world.snapshots.values())
    assert kept == [DRAINED_AT, RECORDS - 2, RECORDS - 1, RECORDS]


@pytest.mark.parametrize("cut", [True, False])
def test_a_partition_that_was_not_drained_is_refused_with_what_to_do(cut: bool) -> None:
    world = Releases()
    driver = Driver(world, 1, FIRST)
    world.send(log())
    decide(driver, 4)
    if cut:
        driver.do(driver.keep)
    driver.crash()
    events = world.events()
    world.fold = NEW
    for _ in range(2):
        with pytest.raises(NotDrainedError) as raised:
            driver.live()
    assert str(raised.value) == str(NotDrainedError(world.partition, OLD.version, NEW.version))
    assert world.events() == events
    world.fold = OLD
    decide(driver, DRAINED_AT)
    # The previous release replays up to what it had decided, and then is drained.
    decide(driver, RECORDS)
    driver.do(driver.drain)
    world.fold = NEW
    check_upgraded(world, driver, at=RECORDS)


def test_a_drain_in_the_middle_of_a_replay_is_not_enough() -> None:
    world, driver = drained_world()
    decide(driver, 10)
    driver.crash()
    world.contents.clear()
    decide(driver, 3)
    driver.do(driver.drain)
    world.fold = NEW
    with pytest.raises(NotDrainedError):
        driver.live()


def test_an_upgrade_waits_for_redis() -> None:
    world, driver = drained_world()
    world.fold, world.faults = NEW, WithoutRedis()
    with pytest.raises(StoreUnavailable, match="the upgrade waits"):
        PartitionOwner(world.ports(), world.partition, "t", Desired(driver.settings, FIRST), lambda: 0.0)
    world.faults = FaultPlan()
    check_upgraded(world, driver)


def test_an_older_release_refuses_what_a_newer_one_has_decided() -> None:
    world, driver = drained_world()
    world.fold = NEW
    decide(driver, RECORDS)
    driver.do(driver.drain)
    events, world.fold = world.events(), OLD
    with pytest.raises(FoldVersionError) as raised:
        driver.live()
    assert f"asks for fold version {NEW.version}, this release has {OLD.version}" in str(raised.value)
    assert world.events() == events
    world.fold = NEW
    check_upgraded(world, driver)


def test_a_release_without_a_converter_says_so_and_changes_nothing() -> None:
    world, driver = drained_world()
    events = world.events()
    world.fold = Fold(NEWER.version, {NEW.version: forget_amounts})
    with pytest.raises(NoConverterError, match="start a release in between"):
        driver.live()
    assert world.events() == events
    world.fold = NEW
    check_upgraded(world, driver)


def test_without_a_state_above_the_upgrade_nothing_is_folded_on() -> None:
    world, driver = drained_world()
    driver.do(driver.snapshot)
    driver.do(driver.drain)
    world.fold = NEW
    decide(driver, RECORDS)
    driver.crash()
    world.contents.clear()
    forget_snapshots(world, NEW)
    # That of the older release is of the very offset from which on the new one folds.
    assert driver.live().steps.base.next_offset == DRAINED_AT
    driver.crash()
    world.contents.clear()
    forget_snapshots(world, OLD)
    with pytest.raises(StateLostError, match=f"below offset {DRAINED_AT} were decided by fold version"):
        driver.live()


def forget_snapshots(world: Releases, fold: Fold) -> None:
    for key in [key for key, (header, _) in world.snapshots.items() if header.fold_version == fold.version]:
        del world.snapshots[key]


def test_the_state_that_a_failed_upgrade_left_is_not_believed_once_the_older_release_went_on() -> None:
    world, driver = drained_world()
    world.fold, world.faults = NEW, CrashAt("begin_generation")
    driver.do(lambda _: None)
    assert driver.happened.crashes == 1
    assert any(header.fold_version == NEW.version for header, _ in world.snapshots.values())
    world.faults, world.fold = FaultPlan(), OLD
    decide(driver, 9)
    driver.split = SECOND
    driver.live().steps.desire(split=SECOND)
    decide(driver, RECORDS)
    driver.do(driver.drain)
    world.fold = NEW
    check_upgraded(world, driver, at=RECORDS)


def test_an_audit_begins_with_the_converted_state() -> None:
    world, driver = drained_world()
    world.fold = NEW
    check_upgraded(world, driver)
    ledger = MemoryLedger(world.database)
    foldable = Foldable(world.partition, world.events(), ledger.epochs(world.partition))
    snapshots = MemorySnapshotStore(world.snapshots)
    header = foldable.lowest(snapshots)
    assert header is not None
    base = ReplayBase(header.next_offset, FoldState(dict(snapshots.read_users(header)), header.watermark_ms))
    replayed, state = replay_partition(
        world.broker.reader(TOPICS.transactions, world.partition),
        world.events(),
        Decoder(None),
        score_rows,
        RECORDS,
        TablesFromFiles(MemoryFeatureTables(world.tables)),
        explain=explain_row,
        base=base,
    )
    assert (replayed.from_offset, replayed.records) == (DRAINED_AT, RECORDS - DRAINED_AT)
    stored = {row.alert.alert_uid for row in world.database.alerts.values() if row.alert.offset >= DRAINED_AT}
    assert set(replayed.alerts) == stored
    assert state.users == world.contents.of(world.partition).users


def test_what_cannot_be_folded_is_refused_with_the_offset_from_which_it_can() -> None:
    world, driver = drained_world()
    world.fold = NEW
    check_upgraded(world, driver)
    events, epochs = world.events(), MemoryLedger(world.database).epochs(world.partition)
    foldable = Foldable(world.partition, events, epochs)
    assert foldable.began == DRAINED_AT
    assert f"offsets below {DRAINED_AT} were decided by another fold version" in str(foldable.refusal())
    older = Foldable(world.partition, events, epochs, OLD.version)
    assert older.began is None
    assert f"is decided by fold version {NEW.version}" in str(older.refusal())
    assert Foldable(world.partition, events[:1], epochs, OLD.version).began == 0
    snapshots = MemorySnapshotStore(world.snapshots)
    assert older.lowest(snapshots) is None


def test_several_versions_are_taken_in_one_step() -> None:
    world, driver = drained_world()
    world.fold = NEWER
    check_upgraded(world, driver, fold=NEWER)
