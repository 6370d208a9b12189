"""A day of feature refreshes, one every ten seconds: what cuts carry, and what a take-over reads."""

from dataclasses import replace

from msgspec import structs

from actors.engine.owner import PartitionOwner
from actors.engine.timeline_keeper import Desired
from ray_fraud.domain.timeline import ControlEvent, features_event
from ray_fraud.stores.feature_tables.encoding import TableFacts
from ray_fraud.stores.feature_tables.memory import MemoryFeatureTables
from ray_fraud.stores.feature_tables.parts import put_tables
from ray_fraud.stores.ledger.memory import MemoryLedger
from tests.oracle.tables import plain_tables, product_tables
from tests.simulation.driver import Driver, check
from tests.simulation.test_crash_points import transaction
from tests.simulation.world import FIRST, NO_WAIT, SETTINGS, TABLES, TOPICS, World

A_DAY = 8_640


class CountedTables(MemoryFeatureTables):
    loads = 0

    def load(self, digest: str) -> bytes:
        type(self).loads += 1
        return super().load(digest)


def test_a_take_over_reads_the_tables_that_hold_and_no_others() -> None:
    world = World()
    driver = Driver(world, 1, FIRST)
    driver.tables = TABLES[0]
    records = [transaction(offset, 20.0) for offset in range(40)]
    world.send(records)
    driver.do(lambda owner: driver.read(owner, 10))
    driver.do(driver.settle)
    driver.do(driver.keep)
    driver.crash()
    ledger = MemoryLedger(world.database)
    begin = len(ledger.events(world.partition)) + 1
    tables = world.database.tables(world.partition)
    # As if 30 more records had come during that day: every offset has hundreds of refreshes.
    tables.events += [
        features_event(seq, 10 + (seq - begin) * 30 // A_DAY, f"{seq:064x}")
        for seq in range(begin, begin + A_DAY)
    ]
    files = CountedTables(dict(world.tables))
    last_of_each = {event.from_offset: event for event in tables.events[begin - 1 :]}
    assert len(last_of_each) == 30
    made = put_tables(files, product_tables(plain_tables("late")), TableFacts()).digest
    for event in last_of_each.values():
        tables.events[event.seq - 1] = features_event(event.seq, event.from_offset, made)
    ports = world.ports()
    ports = replace(ports, feature_tables=files)
    CountedTables.loads = 0
    owner = PartitionOwner(ports, world.partition, "next", Desired(SETTINGS, FIRST), lambda: 0.0)
    assert CountedTables.loads <= 2
    while owner.state.next_offset < 40:
        for observed in owner.observe(owner.read(100, NO_WAIT)):
            scores, _ = owner.score([observed])
            owner.publish([owner.decide(observed, scores[0])])
            owner.settle(observed)
    assert CountedTables.loads <= 4
    assert owner.write_cut()


def test_a_database_that_was_lost_gets_back_what_snapshot_and_cut_have() -> None:
    world = World()
    driver = Driver(world, 1, FIRST)
    records = [transaction(offset, 5_000.0) for offset in range(30)]
    world.send(records[:20])
    for digest in TABLES:
        driver.do(lambda owner: driver.read(owner, 5))
        driver.do(driver.settle)
        driver.do(driver.snapshot)
        driver.live().steps.desire(tables=digest)
        driver.tables = digest
    driver.do(lambda owner: driver.read(owner, 5))
    driver.do(driver.settle)
    driver.do(driver.keep)
    ledger = MemoryLedger(world.database)
    before = ledger.events(world.partition)
    header = world.contents.of(world.partition).header
    assert header is not None
    assert 0 < len(header.events) < len(before)
    driver.crash()
    world.database.partitions.clear()
    driver.live()
    assert ledger.events(world.partition)[: len(before)] == before
    world.send(records[20:])
    check(world, driver.finish())


def grown_old(world: World) -> tuple[Driver, list[ControlEvent]]:
    """40 records are settled, kept and gone from the log; a day of refreshes came and went among them."""
    driver = Driver(world, 1, FIRST)
    driver.tables = TABLES[0]
    world.send([transaction(offset, 5_000.0) for offset in range(40)])
    while driver.live().steps.state.next_offset < 40:
        driver.do(lambda owner: driver.read(owner, 10))
        driver.do(driver.settle)
    driver.do(driver.keep)
    driver.do(driver.snapshot)
    driver.crash()
    events = world.database.tables(world.partition).events
    begin = len(events) + 1
    events += [
        features_event(seq, 10 + (seq - begin) * 30 // A_DAY, TABLES[seq % 2])
        for seq in range(begin, begin + A_DAY)
    ]
    driver.tables = TABLES[events[-1].seq % 2]
    world.broker.delete_before(TOPICS.transactions, 0, 40)
    return driver, list(events)


def test_what_no_replay_can_reach_is_not_carried_along() -> None:
    world = World()
    driver, events = grown_old(world)
    owner = driver.live().steps
    assert owner.timeline_length < 10
    assert owner.state.split == FIRST
    assert owner.needs_reconciling
    owner.reconcile()
    assert len(MemoryLedger(world.database).events(world.partition)) == len(events)
    driver.do(driver.snapshot)
    header = world.ports().snapshots.newest_valid(world.partition, lambda _: True)
    assert header is not None
    assert header.events[-1] == events[-1]
    assert len(header.events) < 10
    # The next event goes on with the numbers, and cuts carry it.
    owner.desire(settings=structs.replace(SETTINGS, max_future_skew_seconds=299.0))
    owner.reconcile()
    world.send([transaction(offset, 5_000.0) for offset in range(40, 50)])
    driver.settings = owner.desired.settings
    finished = driver.finish()
    assert finished.steps.state.next_offset == 50
    added = MemoryLedger(world.database).events(world.partition)[len(events) :]
    assert [event.seq for event in added] == [len(events) + 1]
    cut = world.contents.of(world.partition).header
    assert cut is not None
    assert list(cut.events) == added


def test_a_database_from_an_old_backup_gets_back_what_a_replay_can_reach() -> None:
    world = World()
    driver, events = grown_old(world)
    driver.do(driver.snapshot)
    driver.crash()
    world.database.tables(world.partition).events = events[:3]
    owner = driver.live().steps
    restored = MemoryLedger(world.database).events(world.partition)
    assert restored[:3] == events[:3]
    assert restored[-1] == events[-1]
    owner.reconcile()
    owner.desire(tables=TABLES[(events[-1].seq + 1) % 2])
    owner.reconcile()
    assert MemoryLedger(world.database).events(world.partition)[-1].seq == len(events) + 1


def test_an_owner_that_lives_long_forgets_what_its_snapshots_have_and_the_log_has_not() -> None:
    world = World()
    driver, _ = grown_old(world)
    owner = driver.live().steps
    longest = 0
    for number in range(700):
        owner.desire(tables=TABLES[number % 2])
        world.send([transaction(40 + number, 20.0)])
        driver.do(lambda owner: driver.read(owner, 10))
        driver.do(driver.settle)
        if number % 50 == 49:
            driver.do(driver.keep)
            driver.do(driver.snapshot)
            world.broker.delete_before(TOPICS.transactions, 0, 40 + number - 50)
        longest = max(longest, owner.timeline_length)
    assert owner is driver.live().steps
    assert longest < 450
    assert len(MemoryLedger(world.database).events(world.partition)) > A_DAY + 690
    driver.tables = owner.desired.tables
    assert driver.finish().steps.state.next_offset == 40 + 700
