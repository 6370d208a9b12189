"""Re-keying under faults at every step: each record of the producers' topic once, where its user belongs.

Never: a server; broker, crashes and lost replies are those of the simulation.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.engine.rekey import Rekeyer, rekeyer_name
from ray_fraud.domain.placement import partition_of_user
from ray_fraud.domain.record import Record
from ray_fraud.domain.rejection import Rejection
from ray_fraud.stores.connections import Topics
from ray_fraud.stores.errors import Fenced, SlowDown, StoreRefused, StoreUnavailable
from ray_fraud.stores.faults import Crashed, Fault, FaultPlan, RefusedByPlan
from ray_fraud.stores.log.memory import MemoryBroker
from ray_fraud.stores.log.memory_atomic import MemoryAtomicWriter
from ray_fraud.stores.log.port import Append
from tests.domain.samples import decoder, record, transaction

SOURCE = "from producers"
TOPICS = Topics(transactions="keyed", rekey_from=SOURCE, partitions=3)
SOURCES = 2
RECORDS = 60
NO_WAIT = timedelta(0)
ANY_FAULT = st.sampled_from([Fault.OK] * 6 + [each for each in Fault if each is not Fault.OK])


class World:
    """A topic of producers that place records anyhow, and the keyed one."""

    def __init__(self, seed: int = 1, count: int = RECORDS) -> None:
        self.broker = MemoryBroker()
        self.broker.create(SOURCE, SOURCES)
        self.broker.admin().ensure_rekeying(TOPICS)
        self.broker.admin().ensure_topics(TOPICS)
        self.chance = random.Random(seed)
        self.send(count)

    def send(self, count: int) -> None:
        for number in range(count):
            partition = self.chance.randrange(SOURCES)
            log = self.broker.topic(SOURCE).logs[partition]
            sent = record(0, transaction(f"{log.end}@{partition}", user_id=self.chance.randrange(12)))
            if number % 7 == 6:
                log.append(sent.timestamp_ms, self.chance.choice([None, b"k"]), b"no json", (("h", None),))
            else:
                key = self.chance.choice([sent.key, None, b"another"])
                log.append(sent.timestamp_ms, key, sent.value, (("h", b"1"),))
            if self.chance.random() < 0.1:
                self.broker.add_hole(SOURCE, partition)

    def life(
        self,
        partition: int,
        faults: FaultPlan | None = None,
        writer: type[MemoryAtomicWriter] = MemoryAtomicWriter,
    ) -> Rekeyer:
        source = self.broker.partition_id(SOURCE, partition)
        progress = self.broker.partition_id(TOPICS.rekey_progress, partition)
        return Rekeyer(
            TOPICS,
            self.broker.reader(SOURCE, source, faults),
            self.broker.reader(TOPICS.rekey_progress, progress, faults),
            writer(self.broker, rekeyer_name(source.topic_id, partition), faults),
            decoder(),
        )

    def finish(self) -> None:
        for partition in range(SOURCES):
            life = self.life(partition)
            while life.step(NO_WAIT):
                pass

    def keyed(self) -> Iterator[tuple[int, Record]]:
        for number, log in enumerate(self.broker.topic(TOPICS.transactions).logs):
            for each in log.records:
                yield number, each

    def check(self) -> None:
        """Each record once, in its user's partition, as it was; in the order of its own partition."""
        origins: Counter[tuple[int, int]] = Counter()
        order: dict[tuple[int, int], list[int]] = defaultdict(list)
        for number, each in self.keyed():
            headers = dict(each.headers)
            partition, offset = (int(headers[f"rekey.{name}"] or b"") for name in ("partition", "offset"))
            origins[partition, offset] += 1
            order[number, partition].append(offset)
            log = self.broker.topic(SOURCE).logs[partition]
            (sent,) = (one for one in log.records if one.offset == offset)
            assert (each.value, each.timestamp_ms) == (sent.value, sent.timestamp_ms)
            found = decoder().decode(each.value)
            if isinstance(found, Rejection):
                assert (number, each.key) == (partition % TOPICS.partitions, sent.key)
            else:
                assert number == partition_of_user(found.user_id, TOPICS.partitions)
                assert each.key == str(found.user_id).encode()
        expected = {
            (partition, one.offset): 1
            for partition, log in enumerate(self.broker.topic(SOURCE).logs)
            for one in log.records
        }
        assert origins == expected
        assert all(offsets == sorted(offsets) for offsets in order.values())


def test_every_record_once_where_its_user_belongs() -> None:
    world = World()
    world.finish()
    world.check()
    world.send(20)
    world.finish()
    world.check()


def live_through(world: World, faults: FaultPlan) -> None:
    """Four steps; a life that crashes is followed by another one."""
    life = world.life(0, faults)
    for _ in range(4):
        try:
            life.step(NO_WAIT)
        except Crashed:
            life = world.life(0)
        except StoreUnavailable:
            continue


@pytest.mark.parametrize("kind", [Fault.CRASH_BEFORE, Fault.CRASH_AFTER, Fault.FAIL_BEFORE, Fault.FAIL_AFTER])
def test_an_end_at_any_step(kind: Fault) -> None:
    steps = FaultPlan()
    counted = World().life(0, steps)
    while counted.step(NO_WAIT):
        pass
    for at in range(steps.steps):
        world = World()
        live_through(world, FaultPlan([*repeat(Fault.OK, at), kind]))
        world.finish()
        world.check()


@given(st.lists(ANY_FAULT, max_size=60), st.integers(0, 10**6))
def test_any_faults_in_any_order_with_zombies(faults: list[Fault], seed: int) -> None:
    world = World(seed, 20)
    plan = FaultPlan(faults)
    chance = random.Random(seed)
    lives = [world.life(partition, plan) for partition in range(SOURCES)]
    owner = list(range(SOURCES))
    for _ in range(50):
        chosen = chance.randrange(len(lives))
        if chance.random() < 0.2:
            world.send(2)
        if chance.random() < 0.1:
            # Somebody believes that this one is dead: it goes on as a zombie.
            lives.append(world.life(owner[chosen], plan))
            owner.append(owner[chosen])
        try:
            lives[chosen].step(NO_WAIT)
        except Crashed:
            lives[chosen] = world.life(owner[chosen], plan)
        except (StoreUnavailable, SlowDown, RefusedByPlan, Fenced):
            continue
    world.finish()
    world.check()


class Unfenced(MemoryAtomicWriter):
    """A defect: the broker lets a replaced writer append."""

    def _check(self) -> None:
        return


class Parted(MemoryAtomicWriter):
    """A defect: the progress is appended by itself, after the records."""

    def append(self, records: Sequence[Append]) -> None:
        super().append(records[:-1])
        super().append(records[-1:])


@pytest.mark.parametrize("defect", [Unfenced, Parted])
def test_defects_of_the_writer_are_found(defect: type[MemoryAtomicWriter]) -> None:
    found = 0
    for at in range(12):
        world = World()
        old = world.life(0, FaultPlan([*repeat(Fault.OK, at), Fault.CRASH_BEFORE]), defect)
        with suppress(Crashed):
            old.step(NO_WAIT)
        world.finish()
        world.send(10)
        zombie_began = world.life(0, None, defect)
        zombie_began.step(NO_WAIT)
        world.finish()
        world.send(10)
        world.finish()
        with suppress(Crashed, Fenced):
            zombie_began.step(NO_WAIT)
        try:
            world.check()
        except AssertionError:
            found += 1
    assert found


def test_a_zombie_is_told_that_it_is_one() -> None:
    world = World()
    old = world.life(0)
    assert old.step(NO_WAIT)
    world.send(30)
    new = world.life(0)
    assert new.step(NO_WAIT)
    world.send(30)
    with pytest.raises(Fenced):
        old.step(NO_WAIT)
    world.finish()
    world.check()


def test_what_the_topic_lost_is_on_record_as_a_dead_letter() -> None:
    world = World()
    world.finish()
    log = world.broker.topic(SOURCE).logs[0]
    begin = log.end
    world.send(40)
    lost_to = begin + 5
    world.broker.delete_before(SOURCE, 0, lost_to)
    life = world.life(0)
    assert life.step(NO_WAIT) == 0
    assert life.lost == 5
    world.finish()
    (marker,) = [each for _, each in world.keyed() if b"rekey_lost_from" in (each.value or b"")]
    assert isinstance(decoder().decode(marker.value), Rejection)
    assert f'"rekey_lost_from":{begin},"rekey_lost_to":{lost_to}'.encode() in (marker.value or b"")
    came = [dict(each.headers) for _, each in world.keyed()]
    offsets = {int(each["rekey.offset"] or b"") for each in came if each["rekey.partition"] == b"0"}
    assert {each.offset for each in log.records} <= offsets


def cut_off(world: World, end: int, grown: int) -> list[Record]:
    """The producers' topic loses its records from `end` on, and gets others; those."""
    log = world.broker.topic(SOURCE).logs[0]
    world.broker.truncate(SOURCE, 0, end)
    for number in range(grown):
        sent = record(0, transaction(f"{number} at {log.epochs[-1]}", user_id=number % 5))
        log.append(sent.timestamp_ms, sent.key, sent.value, ())
    return log.records[-grown:]


@pytest.mark.parametrize("grown", [3, 40], ids=["shorter", "grown beyond"])
@pytest.mark.parametrize("alive", [True, False], ids=["alive", "down"])
def test_what_came_after_a_topic_was_cut_off_is_brought_over(alive: bool, grown: int) -> None:
    world = World()
    life = world.life(0)
    while life.step(NO_WAIT):
        pass
    end = world.broker.topic(SOURCE).logs[0].end
    others = cut_off(world, end - 10, grown)
    life = life if alive else world.life(0)
    for _ in range(5):
        life.step(NO_WAIT)
    assert life.cut_offs == 1
    assert life.lost == 10
    values = Counter(each.value for _, each in world.keyed())
    assert all(values[each.value] == 1 for each in others)
    (marker,) = [each for _, each in world.keyed() if b"rekey_lost_from" in (each.value or b"")]
    assert f'"rekey_lost_from":{end - 10},"rekey_lost_to":{end}'.encode() in (marker.value or b"")
    # The next life finds the topic as it is: with 40, cut off once more.
    more = cut_off(world, end - 10 + min(grown, 20), 5)
    after = world.life(0)
    for _ in range(3):
        after.step(NO_WAIT)
    assert after.cut_offs == int(grown == 40)
    values = Counter(each.value for _, each in world.keyed())
    assert all(values[each.value] == 1 for each in (*others[:20], *more))


@pytest.mark.parametrize("kind", [Fault.CRASH_BEFORE, Fault.CRASH_AFTER, Fault.FAIL_BEFORE, Fault.FAIL_AFTER])
def test_a_cut_off_is_declared_once_whatever_ends_the_life(kind: Fault) -> None:
    for at in range(12):
        world = World()
        world.finish()
        end = world.broker.topic(SOURCE).logs[0].end
        others = cut_off(world, end - 10, 40)
        live_through(world, FaultPlan([*repeat(Fault.OK, at), kind]))
        world.finish()
        values = Counter(each.value for _, each in world.keyed())
        assert all(values[each.value] == 1 for each in others)
        assert sum(count for value, count in values.items() if b"rekey_lost_from" in (value or b"")) == 1


def test_progress_of_an_earlier_release_is_read_on_from() -> None:
    world = World()
    old = b'{"topic_id":"%s","next_offset":5}' % world.broker.partition_id(SOURCE, 0).topic_id.encode()
    world.broker.topic(TOPICS.rekey_progress).logs[0].append(0, None, old, ())
    world.finish()
    came = [dict(each.headers) for _, each in world.keyed()]
    offsets = [int(each["rekey.offset"] or b"") for each in came if each["rekey.partition"] == b"0"]
    assert min(offsets) >= 5


def test_damage_is_tried_again_and_then_on_record() -> None:
    world = World()
    log = world.broker.topic(SOURCE).logs[0]
    world.broker.damage(SOURCE, 0, 0, 4)
    life = world.life(0)
    for _ in range(2):
        with pytest.raises(Exception, match="cannot be read"):
            life.step(NO_WAIT)
    assert life.step(NO_WAIT) == 0
    assert life.lost == 4
    assert life.step(NO_WAIT) == sum(1 for each in log.records if each.offset >= 4)


def test_a_topic_made_again_begins_anew() -> None:
    world = World()
    world.finish()
    keyed = sum(1 for _ in world.keyed())
    old = world.life(0)
    world.broker.recreate(SOURCE)
    with pytest.raises(StoreRefused):
        old.step(NO_WAIT)
    world.send(RECORDS)
    world.finish()
    assert sum(1 for _ in world.keyed()) == keyed + RECORDS


def test_progress_is_found_behind_any_number_of_aborted_appends() -> None:
    world = World()
    world.finish()
    world.broker.add_hole(TOPICS.rekey_progress, 0, 5_000)
    world.send(10)
    world.finish()
    world.check()
