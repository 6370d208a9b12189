"""What every atomic writer promises: run on the memory log and on a real Kafka."""

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Protocol

import pytest

from ray_fraud.domain.record import Record
from ray_fraud.stores.connections import Topics
from ray_fraud.stores.errors import Fenced, StoreRefused
from ray_fraud.stores.log.kafka_atomic import KafkaAtomicWriter
from ray_fraud.stores.log.limits import KEYED_RECORD_BYTES
from ray_fraud.stores.log.memory import MemoryBroker
from ray_fraud.stores.log.memory_atomic import MemoryAtomicWriter
from ray_fraud.stores.log.port import Append, AtomicWriter, LogAdmin, LogReader
from ray_fraud.stores.partition_facts import partition_id
from tests.stores.kafka_accidents import KafkaLogs

NOW_MS = 1_790_000_000_000
DAYS_MS = 86_400_000 * 400


class Logs(Protocol):
    def admin(self) -> LogAdmin: ...

    def reader(self, topic: str, partition: object) -> LogReader: ...

    def writer(self, name: str) -> AtomicWriter: ...


class Memory:
    def __init__(self) -> None:
        self._broker = MemoryBroker()
        self.admin, self.reader = self._broker.admin, self._broker.reader

    def writer(self, name: str) -> AtomicWriter:
        return MemoryAtomicWriter(self._broker, name)


class Kafka:
    def __init__(self, logs: KafkaLogs, closing: ExitStack) -> None:
        self.admin, self.reader = logs.admin, logs.reader
        self._connection = logs.connection
        self._closing = closing

    def writer(self, name: str) -> AtomicWriter:
        writer = KafkaAtomicWriter(self._connection, name)
        self._closing.callback(writer.close)
        return writer


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.servers)])
def logs(request: pytest.FixtureRequest) -> Iterator[Memory | Kafka]:
    if request.param == "memory":
        yield Memory()
        return
    with ExitStack() as closing:
        yield Kafka(KafkaLogs(request.getfixturevalue("kafka_server"), closing), closing)


@pytest.fixture
def topics(logs: Memory | Kafka) -> Topics:
    own = uuid.uuid4().hex[:8]
    names = Topics(f"{own}-keyed", f"{own}-dlq", f"{own}-alerts", f"{own}-labels", rekey_from=f"{own}-any")
    assert logs.admin().ensure_rekeying(names) == names.partitions
    assert logs.admin().ensure_rekeying(names) == names.partitions
    logs.admin().ensure_topics(names)
    return names


def read(logs: Memory | Kafka, topic: str, partition: int) -> list[Record]:
    reader = logs.reader(topic, partition_id(logs.admin(), topic, partition))
    end = reader.bounds().end
    records: list[Record] = []
    for _ in range(100):
        if reader.position() >= end:
            return records
        records += reader.poll(1_000, timedelta(milliseconds=500))
    raise AssertionError(f"at {reader.position()} of {end}")


def test_all_records_of_an_append_are_there_as_they_were_given(logs: Memory | Kafka, topics: Topics) -> None:
    writer = logs.writer(topics.transactions)
    writer.take_over()
    headers = (("h", b"1"), ("h", b""), ("\udcff", b"\x00"))
    writer.append(
        [
            Append(topics.transactions, 1, b"7", b"\x00v", headers, NOW_MS),
            # What a broker's own default refuses: whether it is right is not the log's to say.
            Append(topics.transactions, 1, None, b"", (), NOW_MS + DAYS_MS),
            Append(topics.transactions, 1, None, b"", (), 0),
            Append(topics.rekey_progress, 0, None, b"3"),
        ]
    )
    writer.append([Append(topics.transactions, 2, b"8", None, (), NOW_MS)])
    found = [
        (each.key, each.value, each.headers, each.timestamp_ms) for each in read(logs, topics.transactions, 1)
    ]
    assert found == [
        (b"7", b"\x00v", headers, NOW_MS),
        (None, b"", (), NOW_MS + DAYS_MS),
        (None, b"", (), 0),
    ]
    assert [each.value for each in read(logs, topics.rekey_progress, 0)] == [b"3"]
    assert [each.key for each in read(logs, topics.transactions, 2)] == [b"8"]


def test_a_writer_that_was_replaced_appends_nothing(logs: Memory | Kafka, topics: Topics) -> None:
    old, new = logs.writer(topics.transactions), logs.writer(topics.transactions)
    old.take_over()
    old.append([Append(topics.transactions, 0, None, b"first", (), NOW_MS)])
    new.take_over()
    with pytest.raises(Fenced):
        old.append([Append(topics.transactions, 0, None, b"zombie", (), NOW_MS)])
    new.append([Append(topics.transactions, 0, None, b"second", (), NOW_MS)])
    assert [each.value for each in read(logs, topics.transactions, 0)] == [b"first", b"second"]


def test_a_writer_takes_over_before_it_appends(logs: Memory | Kafka, topics: Topics) -> None:
    with pytest.raises(StoreRefused, match="not taken over"):
        logs.writer("nobody").append([Append(topics.transactions, 0, None, b"", (), NOW_MS)])


def test_the_keyed_topic_takes_the_largest_record_a_reader_holds(
    logs: Memory | Kafka, topics: Topics
) -> None:
    writer = logs.writer(topics.transactions)
    writer.take_over()
    value = bytes(KEYED_RECORD_BYTES - 1_000)
    writer.append([Append(topics.transactions, 0, None, value, (), NOW_MS)])
    (found,) = read(logs, topics.transactions, 0)
    assert found.cut is not None or found.value == value
