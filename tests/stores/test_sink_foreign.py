"""The sink, a foreign writer and a topic that is made again: on memory, and on Kafka with PostgreSQL.

Never: an owner; alerts are written to the topic as an owner writes them.
"""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

import msgspec
import pytest

from actors.engine.alert_topic import AlertTopic
from actors.engine.sink import Sink
from actors.engine.sink_letters import SinkLetters
from ray_fraud.domain import metrics, progress_metrics
from ray_fraud.domain.alert import Alert
from ray_fraud.domain.metric import Metric
from ray_fraud.domain.record import Headers, PartitionId, Record
from ray_fraud.stores.connections import Topics
from ray_fraud.stores.errors import StoreUnavailable
from ray_fraud.stores.faults import Fault, FaultPlan
from ray_fraud.stores.ledger.memory import MemoryDatabase
from ray_fraud.stores.ledger.port import END_OF_LOG, Ledger, SinkProgress
from ray_fraud.stores.log.memory import MemoryBroker
from ray_fraud.stores.log.port import LogAdmin, LogReader, LogWriter, TopicReplaced
from ray_fraud.telemetry.meter import Meter, read_snapshot
from tests.stores.kafka_accidents import KafkaLogs
from tests.stores.ledger_world import LedgerWorld, example_alert, reached

PATIENCE = timedelta(seconds=10)
NO_HEADERS: Mapping[str, bytes] = {}
OWNER = PartitionId("cluster", "owners-topic", 1)


class Logs(Protocol):
    def reader(self, topic: str, partition: PartitionId) -> LogReader: ...

    def writer(self) -> LogWriter: ...

    def admin(self) -> LogAdmin: ...

    def delete_before(self, topic: str, partition: int, offset: int) -> None: ...

    def recreate(self, topic: str) -> None: ...

    def add_partitions(self, topic: str, count: int) -> None: ...


def own_topics() -> Topics:
    own = uuid.uuid4().hex[:8]
    return Topics(f"{own}-t", f"{own}-dlq", f"{own}-alerts", f"{own}-labels", partitions=2)


@dataclass
class Place:
    """Topics of one test's own, a database, and the sink between them."""

    logs: Logs
    database: LedgerWorld
    poll: timedelta
    topics: Topics = field(default_factory=own_topics)
    meter: Meter = field(default_factory=lambda: Meter("sink", "a"))

    def __post_init__(self) -> None:
        self.logs.admin().ensure_topics(self.topics)
        self.ledger: Ledger = self.database.ledger()
        self.topic = self.start()

    def start(self) -> AlertTopic:
        """The sink as a new process makes it."""
        letters = SinkLetters(self.logs.writer(), self.topics, self.meter)

        def open_sink(partition: PartitionId) -> Sink:
            return Sink(self.ledger, self.logs.reader(self.topics.alerts, partition), letters, self.meter)

        self.topic = AlertTopic(self.topics.alerts, self.logs.admin(), self.ledger, open_sink, self.meter)
        self.topic.look()
        return self.topic

    def write(
        self,
        alert: Alert | bytes | None,
        number: int = 0,
        *,
        key: bytes | None = b"7",
        headers: Mapping[str, bytes] = NO_HEADERS,
    ) -> None:
        value = msgspec.json.encode(alert) if isinstance(alert, Alert) else alert
        own = {"epoch": b"1", "partition": b"1", "offset": b"0", "topic_id": OWNER.topic_id.encode()}
        own |= headers
        self.logs.writer().send(
            self.topics.alerts, key=key, value=value, partition=number, headers=tuple(own.items())
        ).wait(PATIENCE)

    def drain(self) -> None:
        """Steps until every partition of the topic is at its end."""
        for _ in range(200):
            try:
                for sink in self.topic.sinks:
                    sink.step(self.poll)
            except (TopicReplaced, StoreUnavailable):
                self.topic.look()
            ends = self.logs.admin().ends(self.topics.alerts)
            at = {sink.partition: sink.next_offset for sink in self.topic.sinks}
            if {partition.partition: offset for partition, offset in at.items()} == dict(ends.ends) and {
                partition.topic_id for partition in at
            } == {ends.topic_id}:
                return
        raise AssertionError(f"the sink stands at {at}, the topic ends at {ends}")

    def stored(self) -> set[str]:
        return {row.alert.transaction_id for row in self.database.queries().list()}

    def dead(self) -> list[Record]:
        records: list[Record] = []
        admin = self.logs.admin()
        name = self.topics.dead_letters
        for number, end in admin.ends(name).ends.items():
            partition = PartitionId(admin.cluster_id(), admin.topic_id(name), number)
            reader = self.logs.reader(name, partition)
            while reader.position() < (end or 0):
                records += reader.poll(100, self.poll)
        return records

    def count(self, metric: Metric) -> float:
        counters = read_snapshot(self.meter.snapshot()).counters
        return sum(value for (name, _), value in counters.items() if name == metric.name)


@pytest.fixture(params=["memory", pytest.param("servers", marks=pytest.mark.servers)])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    if request.param == "memory":
        yield Place(MemoryBroker(), LedgerWorld(MemoryDatabase()), timedelta())
        return
    with ExitStack() as stack:
        logs = KafkaLogs(request.getfixturevalue("kafka_server"), stack)
        database = LedgerWorld(request.getfixturevalue("migrated_database"))
        stack.callback(database.close)
        yield Place(logs, database, timedelta(milliseconds=200))


def changed(**fields: Any) -> bytes:
    """An alert with other values than an owner could give."""
    return msgspec.json.encode(msgspec.to_builtins(example_alert(99)) | fields)


def with_details(text: bytes) -> bytes:
    return changed(details={}).replace(b'"details":{}', b'"details":' + text)


DEEP = 100_000
FOREIGN: dict[str, tuple[bytes | None, dict[str, bytes]]] = {
    "no value": (None, {}),
    "no JSON": (b"\xff\xfe", {}),
    "another document": (b"{}", {}),
    "a NUL in topic_id": (changed(), {"topic_id": b"a\0b"}),
    "a topic_id of 10 kB": (changed(), {"topic_id": uuid.uuid4().hex.encode() * 320}),
    "an empty topic_id": (changed(), {"topic_id": b""}),
    "a topic_id of other letters": (changed(), {"topic_id": "thème".encode()}),
    "an epoch beyond 31 bits": (changed(), {"epoch": b"2147483648"}),
    "an epoch beyond 64 bits": (changed(), {"epoch": b"9" * 30}),
    "an epoch of 5,000 digits": (changed(), {"epoch": b"9" * 5_000}),
    "a negative epoch": (changed(), {"epoch": b"-1"}),
    "digits of another script": (changed(), {"epoch": "٣".encode()}),
    "an underscore in a number": (changed(), {"partition": b"1_0"}),
    "a space in a number": (changed(), {"epoch": b" 1"}),
    "an empty number": (changed(), {"epoch": b""}),
    "another partition than the alert's": (changed(), {"partition": b"2"}),
    "a NUL in the reason": (changed(reason="a\0b"), {}),
    "a NUL in a key of the details": (changed(details={"a\0b": 1}), {}),
    "a number that no database holds": (changed(user_id=2**63), {}),
    "a negative offset": (changed(offset=-1), {}),
    "a far event time": (changed(event_time=1e300), {}),
    "a cold rule": (changed(rule_name="burst"), {}),
    "a cold alert": (changed(source="cold"), {}),
    "a rule that is none": (changed(rule_name="4111111111111111"), {}),
    "deep details": (with_details(b'{"a":' * DEEP + b"1" + b"}" * DEEP), {}),
    "deep enough for the decoder only": (
        with_details(b'{"a":' + b"[" * 900 + b'"\\u0000"' + b"]" * 900 + b"}"),
        {},
    ),
    "a lone surrogate": (changed(reason="x").replace(b'"x"', b'"\\ud800"'), {}),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_no_alert_is_a_dead_letter_and_its_neighbours_are_stored(place: Place, name: str) -> None:
    value, headers = FOREIGN[name]
    place.write(example_alert(1))
    place.write(value, headers=headers)
    place.write(example_alert(2))
    place.drain()
    (dead,) = place.dead()
    told = dict(dead.headers)
    assert told["dlq.topic"] == place.topics.alerts.encode()
    assert (told["dlq.partition"], told["dlq.offset"]) == (b"0", b"1")
    assert told["dlq.error.code"] == b"not_an_alert"
    assert b"4111111111111111" not in (told["dlq.error.message"] or b"") + (dead.value or b"")
    assert place.stored() == {"transaction-1", "transaction-2"}
    assert place.count(metrics.DEAD_LETTERS) == place.topic.dead_letters == 1
    # A new process reads on behind it.
    place.start()
    place.drain()
    assert len(place.dead()) == 1


@pytest.mark.parametrize("missing", ["epoch", "partition", "topic_id"])
def test_an_alert_without_a_header_is_a_dead_letter(place: Place, missing: str) -> None:
    headers: Headers = tuple((name, b"1") for name in ("epoch", "partition", "topic_id") if name != missing)
    place.logs.writer().send(
        place.topics.alerts, key=b"7", value=changed(), partition=1, headers=headers
    ).wait(PATIENCE)
    place.drain()
    (dead,) = place.dead()
    assert dict(dead.headers)["dlq.error.field"] == f"header {missing}".encode()
    assert place.stored() == set()


def test_a_letter_that_the_broker_finds_too_large_is_kept_smaller() -> None:
    broker = MemoryBroker()
    topics = Topics(partitions=2)
    broker.create(topics.dead_letters, 2, max_record_bytes=3_000)
    place = Place(broker, LedgerWorld(MemoryDatabase()), timedelta(), topics)
    place.write(b"x" * 5_000, key=None)
    place.write(b"{}", headers={"note": b"y" * 5_000})
    place.write(example_alert(1))
    place.drain()
    assert place.stored() == {"transaction-1"}
    first, second = place.dead()
    assert dict(first.headers)["dlq.value.size"] == b"5000"
    assert first.value is not None
    assert 1_000 < len(first.value) < 3_000
    assert dict(second.headers)["note"] == b"y" * len(dict(second.headers)["note"] or b"")
    assert dict(second.headers)["dlq.offset"] == b"1"


class LettersAway(SinkLetters):
    """Cannot be sent at the moment."""

    away = True

    def send(self, *args: Any) -> None:
        if self.away:
            raise StoreUnavailable("kafka", "away")
        super().send(*args)


@pytest.mark.parametrize("value", [b"{}", changed(reason="a\0b")], ids=["no alert", "not to be stored"])
def test_progress_does_not_pass_a_dead_letter_that_is_not_acknowledged(place: Place, value: bytes) -> None:
    place.write(example_alert(1))
    place.write(value)
    letters = LettersAway(place.logs.writer(), place.topics, place.meter)
    partition = place.topic.sinks[0].partition
    sink = Sink(place.ledger, place.logs.reader(place.topics.alerts, partition), letters, place.meter)
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            until_it_reads(sink, place.poll)
    assert place.ledger.sink_progress(partition) is None
    letters.away = False
    until_it_reads(sink, place.poll)
    assert reached(place.ledger, partition) == 2
    assert len(place.dead()) == 1
    assert place.stored() == {"transaction-1"}


def test_what_an_earlier_topic_had_acknowledged_says_nothing_of_the_next_one() -> None:
    broker = MemoryBroker()
    place = Place(broker, LedgerWorld(MemoryDatabase()), timedelta())
    writer = broker.writer(FaultPlan([Fault.OK, Fault.OK, Fault.FAIL_BEFORE]))
    letters = SinkLetters(writer, place.topics, place.meter)

    def sink() -> Sink:
        partition = broker.partition_id(place.topics.alerts, 0)
        return Sink(place.ledger, broker.reader(place.topics.alerts, partition), letters, place.meter)

    place.write(b"first of the old topic")
    place.write(b"second of the old topic")
    with pytest.raises(StoreUnavailable):
        sink().step(place.poll)
    broker.recreate(place.topics.alerts)
    place.write(b"first of the new topic")
    assert sink().step(place.poll) is not None
    assert [letter.value for letter in place.dead()] == [b"first of the old topic", b"first of the new topic"]


def until_it_reads(sink: Sink, poll: timedelta) -> None:
    for _ in range(100):
        if sink.step(poll) is not None:
            return
    raise AssertionError("nothing to read")


def test_a_topic_that_is_made_again_is_followed_on_record(place: Place) -> None:
    for offset in range(5):
        place.write(example_alert(offset))
    place.drain()
    before = place.topic.sinks[0].partition
    place.logs.recreate(place.topics.alerts)
    for offset in range(5, 10):
        written(place, offset)
    place.drain()
    assert place.stored() == {f"transaction-{offset}" for offset in range(10)}
    (gap,) = place.ledger.gaps(before)
    assert (gap.from_offset, gap.to_offset) == (5, END_OF_LOG)
    assert "was made again" in gap.reason
    assert place.count(progress_metrics.TOPICS_REPLACED) == 1


def written(place: Place, offset: int) -> None:
    """The writer learns of the new topic a moment later."""
    for _ in range(20):
        try:
            return place.write(example_alert(offset))
        except StoreUnavailable:
            continue
    raise AssertionError("not written")


def test_partitions_that_are_added_to_the_topic_are_read(place: Place) -> None:
    place.write(example_alert(0))
    place.drain()
    place.logs.add_partitions(place.topics.alerts, 4)
    place.topic.look()
    assert len(place.topic.sinks) >= 4
    for number in range(4):
        place.write(example_alert(number + 1), number)
    place.drain()
    assert place.stored() == {f"transaction-{number}" for number in range(5)}


def test_alerts_that_retention_took_are_on_record(place: Place) -> None:
    place.write(example_alert(0))
    place.drain()
    for offset in range(1, 5):
        place.write(example_alert(offset))
    place.logs.delete_before(place.topics.alerts, 0, 3)
    place.start()
    place.drain()
    (gap,) = place.ledger.gaps(place.topic.sinks[0].partition)
    assert (gap.from_offset, gap.to_offset) == (1, 3)
    assert place.stored() == {f"transaction-{offset}" for offset in (0, 3, 4)}


def cut_short(restart: bool) -> Place:
    """A sink that has read five alerts, of which the topic lost three, and got four others since."""
    broker = MemoryBroker()
    place = Place(broker, LedgerWorld(MemoryDatabase()), timedelta())
    for offset in range(5):
        place.write(example_alert(offset))
    place.drain()
    broker.truncate(place.topics.alerts, 0, 2)
    for offset in range(7, 11):
        place.write(example_alert(offset))
    if restart:
        place.start()
    place.drain()
    return place


@pytest.mark.parametrize("restart", [False, True], ids=["alive", "down"])
def test_a_topic_that_was_cut_off_and_has_grown_again_is_read_from_the_cut_on(restart: bool) -> None:
    place = cut_short(restart)
    assert place.stored() == {f"transaction-{offset}" for offset in (*range(5), *range(7, 11))}
    partition = place.topic.sinks[0].partition
    (gap,) = place.ledger.gaps(partition)
    assert (gap.from_offset, gap.to_offset) == (2, 5)
    assert "the topic was cut off at 2" in gap.reason
    assert place.ledger.sink_progress(partition) == SinkProgress(partition, 6, leader_epoch=1)
    assert place.count(progress_metrics.TOPIC_CUT_OFFS) == 1
    # A new process finds it as it is now.
    place.start()
    place.drain()
    assert place.ledger.gaps(partition) == [gap]
    assert place.count(progress_metrics.TOPIC_CUT_OFFS) == 1


@pytest.mark.parametrize("end", [0, 1, 3], ids="cut off once more at {}".format)
def test_a_topic_may_be_cut_off_again_and_again(end: int) -> None:
    place = cut_short(restart=True)
    assert isinstance(place.logs, MemoryBroker)
    place.logs.truncate(place.topics.alerts, 0, end)
    for offset in range(20, 26):
        place.write(example_alert(offset))
    place.start()
    place.drain()
    assert place.stored() >= {f"transaction-{offset}" for offset in range(20, 26)}


def test_a_topic_that_is_shorter_than_progress_of_an_unknown_leader_epoch_is_read_again() -> None:
    """An earlier release kept no leader epochs: where the topic was cut off is not known."""
    broker = MemoryBroker()
    place = Place(broker, LedgerWorld(MemoryDatabase()), timedelta())
    for offset in range(4):
        place.write(example_alert(offset))
    partition = place.topic.sinks[0].partition
    place.ledger.insert_from_topic([], SinkProgress(partition, 9))
    place.drain()
    assert place.stored() == {f"transaction-{offset}" for offset in range(4)}
    (gap,) = place.ledger.gaps(partition)
    assert (gap.from_offset, gap.to_offset) == (0, 9)
