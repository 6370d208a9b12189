"""What is known of the input's partitions from outside of their owners: a real pipeline, a log in memory."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from threading import Event
from typing import Any

import pytest

from actors.engine.owner import PartitionOwner
from actors.engine.pipeline import Pace, Pipeline
from actors.engine.timeline_keeper import Desired
from actors.log_watch import LogWatch, Sight
from actors.partition_watch import BLIND_SECONDS, PartitionWatch
from ray_fraud.domain import progress_metrics
from ray_fraud.domain.metric import Metric
from ray_fraud.domain.record import Record
from ray_fraud.stores.faults import Fault, FaultPlan
from ray_fraud.stores.log.memory import MemoryBroker, MemoryLogAdmin, MemoryLogReader
from ray_fraud.stores.log.port import LogAdmin
from ray_fraud.telemetry.meter import Meter, read_snapshot
from tests.simulation.test_crash_poison import log_with
from tests.simulation.world import FIRST, SETTINGS, World

LIMIT = 30.0
PATIENCE_SECONDS = 20.0
WELL = {"kafka": True, "redis": True, "postgres": True}
TOPIC = "transactions"


@dataclass
class Slot:
    """A partition's place whose owner says what a test lets it say."""

    partition: int = 0
    last_end: str | None = None
    say: Callable[[], dict[str, Any] | None] = lambda: None
    ended: list[str] = field(default_factory=list)

    def newest_status(self) -> Mapping[str, Any] | None:
        return self.say()

    def end_stalled(self, reason: str) -> None:
        self.last_end = reason
        self.ended.append(reason)


class Watching:
    """A watch over slots whose clock the test moves."""

    def __init__(self, broker: MemoryBroker, *slots: Slot) -> None:
        self.now = 0.0
        self.meter = Meter("supervisor", "a")
        self.admin: LogAdmin = broker.admin()
        self.error = ""
        self.silent_since: float | None = None
        self.slots = slots
        self.watch = PartitionWatch(TOPIC, slots, self._sight, self.meter, LIMIT, lambda: self.now)

    def _sight(self) -> Sight | None:
        if self.error:
            return Sight(self.now, None, self.error)
        at = self.now if self.silent_since is None else self.silent_since
        return Sight(at, self.admin.ends(TOPIC))

    def pass_seconds(self, seconds: float, health: Mapping[str, bool] = WELL) -> dict[int | None, str]:
        until = self.now + seconds
        while self.now < until:
            self.now += 1.0
            self.watch.look(health)
        return self.watch.problems

    def gauge(self, metric: Metric, partition: int) -> float | None:
        return read_snapshot(self.meter.snapshot()).gauges.get((metric.name, (str(partition),)))

    def count(self, metric: Metric) -> float:
        counters = read_snapshot(self.meter.snapshot()).counters
        return sum(value for (name, _), value in counters.items() if name == metric.name)


def answer(broker: MemoryBroker, settled: int, **more: Any) -> dict[str, Any]:
    own = {"epoch": 1, "settled_offset": settled, "topic_id": broker.topic(TOPIC).topic_id, "waits": {}}
    return own | more


def broker_with(records: int, partitions: int = 2) -> MemoryBroker:
    broker = MemoryBroker()
    broker.create(TOPIC, partitions)
    writer = broker.writer()
    for number in range(partitions):
        for _ in range(records):
            writer.send(TOPIC, key=b"1", value=b"{}", partition=number)
    return broker


def test_partitions_whose_owners_get_on_are_healthy() -> None:
    broker = broker_with(10)
    seen = Watching(broker, *(Slot(number, say=lambda: answer(broker, 10)) for number in range(2)))
    assert not seen.watch.healthy
    assert seen.pass_seconds(100) == {}
    assert seen.watch.healthy
    for number in range(2):
        assert seen.gauge(progress_metrics.LAG, number) == 0
        assert seen.gauge(progress_metrics.PARTITION_OWNED, number) == 1
        assert seen.gauge(progress_metrics.STALLED, number) == 0


def test_a_stall_is_told_with_its_figures_and_ends_the_owner_with_that_reason() -> None:
    broker = broker_with(10)
    stuck, well = Slot(0, say=lambda: answer(broker, 4)), Slot(1, say=lambda: answer(broker, 10))
    seen = Watching(broker, stuck, well)
    assert seen.pass_seconds(30) == {}
    problems = seen.pass_seconds(1)
    assert problems == {0: "stalled: nothing above offset 4 has settled for 30 s, 6 records wait"}
    assert not seen.watch.healthy
    assert stuck.ended == [problems[0]]
    assert well.ended == []
    assert seen.gauge(progress_metrics.LAG, 0) == 6
    assert seen.gauge(progress_metrics.STALLED, 0) == 30
    assert seen.count(progress_metrics.STALLED_OWNERS) == 1
    seen.pass_seconds(60)
    assert len(stuck.ended) == 1
    seen.pass_seconds(1)
    assert len(stuck.ended) == 2


@pytest.mark.parametrize(("away", "waits"), [("kafka", {}), ("postgres", {"postgres": "no route"})])
def test_no_owner_is_ended_while_a_store_that_it_needs_is_known_to_be_away(
    away: str, waits: dict[str, str]
) -> None:
    broker = broker_with(10, 1)
    slot = Slot(0, say=lambda: answer(broker, 4, waits=waits))
    seen = Watching(broker, slot)
    problems = seen.pass_seconds(600, WELL | {away: False})
    assert problems[0].startswith("stalled: nothing above offset 4 has settled for")
    assert slot.ended == []
    assert all(text in problems[0] for text in waits.values())
    seen.pass_seconds(31)
    assert len(slot.ended) == 1


def test_an_owner_that_waits_for_a_store_whose_health_nobody_checks_is_left_waiting() -> None:
    """A fresh one would need the lake to take over, and the partition would have none meanwhile."""
    broker = broker_with(10, 1)
    slot = Slot(0, say=lambda: answer(broker, 4, waits={"lake": "no route"}))
    problems = Watching(broker, slot).pass_seconds(600)
    assert problems[0].endswith("it waits for lake: no route")
    assert slot.ended == []


def test_an_owner_that_waits_for_a_store_which_is_well_is_ended() -> None:
    broker = broker_with(10, 1)
    slot = Slot(0, say=lambda: answer(broker, 4, waits={"postgres": "read-only"}))
    seen = Watching(broker, slot)
    seen.pass_seconds(31, WELL | {"redis": False})
    assert slot.ended == [
        "stalled: nothing above offset 4 has settled for 30 s, 6 records wait; "
        "it waits for postgres: read-only"
    ]


def test_a_partition_without_an_owner_is_told_with_its_last_end() -> None:
    broker = broker_with(3, 1)
    slot = Slot(0, last_end="Fenced: a newer owner")
    seen = Watching(broker, slot)
    assert seen.pass_seconds(2) == {0: "no owner: Fenced: a newer owner"}
    assert seen.gauge(progress_metrics.PARTITION_OWNED, 0) == 0
    assert seen.gauge(progress_metrics.LAG, 0) == 3
    assert "nothing has settled for 40 s" in seen.pass_seconds(39)[0]
    assert slot.ended == []


def test_a_partition_that_was_added_is_told_everywhere() -> None:
    broker = broker_with(10, 2)
    seen = Watching(broker, *(Slot(number, say=lambda: answer(broker, 10)) for number in range(2)))
    seen.pass_seconds(1)
    broker.add_partitions(TOPIC, 5)
    broker.writer().send(TOPIC, key=b"1", value=b"{}", partition=4)
    problems = seen.pass_seconds(1)
    assert problems.keys() == {2, 3, 4}
    assert "has 5 partitions, the settings say 2" in problems[4]
    assert not seen.watch.healthy
    assert [seen.gauge(progress_metrics.PARTITION_OWNED, number) for number in range(5)] == [1, 1, 0, 0, 0]
    assert [seen.gauge(progress_metrics.LAG, number) for number in range(5)] == [0, 0, 0, 0, 1]
    assert seen.watch.ends[4] == 1


def test_a_topic_that_was_made_again_is_told_until_its_owner_is_the_new_ones() -> None:
    broker = broker_with(10, 1)
    old = answer(broker, 10)
    says = [old]
    slot = Slot(0, say=lambda: says[-1])
    seen = Watching(broker, slot)
    seen.pass_seconds(5)
    broker.recreate(TOPIC)
    assert "an earlier life of topic" in seen.pass_seconds(1)[0]
    assert seen.count(progress_metrics.TOPICS_REPLACED) == 1
    says.append(answer(broker, 0))
    broker.writer().send(TOPIC, key=b"1", value=b"{}", partition=0)
    assert seen.pass_seconds(20) == {}
    assert "1 records wait" in seen.pass_seconds(20)[0]
    assert slot.ended
    assert seen.count(progress_metrics.TOPICS_REPLACED) == 1


def test_a_broker_that_does_not_answer_makes_nothing_look_well() -> None:
    broker = broker_with(10, 1)
    seen = Watching(broker, Slot(0, say=lambda: answer(broker, 10)))
    seen.pass_seconds(5)
    seen.silent_since = seen.now
    assert seen.pass_seconds(BLIND_SECONDS) == {}
    assert "no broker answered for 31 s" in seen.pass_seconds(1)[None]
    assert not seen.watch.healthy
    seen.silent_since = None
    seen.error = "kafka: topic 'transactions' does not exist"
    assert "does not exist" in seen.pass_seconds(1)[None]
    seen.error = ""
    assert seen.pass_seconds(1) == {}


def test_a_reader_whose_poll_never_returns_is_a_stall() -> None:
    world = World()
    world.send(log_with([])[:20])
    reader = DeafReader(world.broker, TOPIC, world.partition)
    with running(world, replace(world.ports(), reader=reader)) as pipeline:
        eventually("five records have settled", lambda: pipeline.settled_offset == 5)
        slot = Slot(0, say=lambda: answer(world.broker, pipeline.settled_offset, waits=pipeline.waits))
        seen = Watching(world.broker, slot)
        seen.pass_seconds(31)
    # Its own reader has not seen more than the first five.
    assert slot.ended == ["stalled: nothing above offset 5 has settled for 30 s, 15 records wait"]


def test_a_step_that_waits_for_a_store_says_so_until_it_works() -> None:
    world = World()
    world.send(log_with([])[:20])
    plan = FaultPlan([Fault.FAIL_BEFORE] * 4)
    with running(world, replace(world.ports(), writer=world.broker.writer(plan))) as pipeline:
        eventually("it waits for Kafka", lambda: "kafka" in pipeline.waits)
        eventually("it goes on", lambda: pipeline.settled_offset == 20)
        assert pipeline.waits == {}


def test_the_log_is_looked_at_through_a_connection_of_its_own() -> None:
    broker = broker_with(10, 2)
    away = FaultPlan([Fault.FAIL_BEFORE])
    connected: list[MemoryLogAdmin] = []

    def connect() -> LogAdmin:
        connected.append(broker.admin(away))
        return connected[-1]

    watch = LogWatch(connect, TOPIC, pause_seconds=0.01)
    try:
        eventually("the broker answers", lambda: (sight := watch.newest()) is not None and sight.topic)
        sight = watch.newest()
        assert sight is not None
        assert sight.topic == (broker.topic(TOPIC).topic_id, {0: 10, 1: 10})
        # After a failure the next look is made by a new client.
        assert len(connected) == 2
    finally:
        watch.close()


def eventually(what: str, probe: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not probe():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


class DeafReader(MemoryLogReader):
    """Its polls do not return: a client that burns in its own loop after an error."""

    let_go = Event()

    def poll(self, max_records: int, timeout: timedelta) -> Sequence[Record]:
        if self.position() >= 5:
            self.let_go.wait(60)
        return super().poll(min(max_records, 5), timeout)


@contextmanager
def running(world: World, ports: Any) -> Iterator[Pipeline]:
    desired = Desired(SETTINGS, FIRST)
    owner = PartitionOwner(ports, world.partition, "token", desired, time.monotonic)
    pipeline = Pipeline(owner, ports.meter, Pace(poll_timeout=timedelta()), time.monotonic())
    pipeline.start()
    try:
        yield pipeline
    finally:
        DeafReader.let_go.set()
        pipeline.abandon()
