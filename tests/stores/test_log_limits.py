"""What a topic takes: the memory log and a real Kafka draw the line at the same byte."""

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta

import pytest

from ray_fraud.domain.dead_letter import SMALLEST_LIMIT_BYTES, letter_of
from ray_fraud.domain.record import Headers, Record
from ray_fraud.domain.record_size import batch_bytes
from ray_fraud.domain.rejection import DeadLetter, Rejection, RejectionCode
from ray_fraud.stores.connections import KafkaConnection, Topics
from ray_fraud.stores.errors import RecordTooLarge, StoreRefused
from ray_fraud.stores.log.limits import LARGEST_ALERT_BYTES, LARGEST_BATCH_BYTES
from ray_fraud.stores.log.memory import MemoryBroker
from ray_fraud.stores.log.port import LogWriter
from tests.stores.kafka_accidents import KafkaLogs

PATIENCE = timedelta(seconds=10)
SETTLE_SECONDS = 10.0

Limited = MemoryBroker | KafkaLogs


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.servers)])
def logs(request: pytest.FixtureRequest) -> Iterator[Limited]:
    if request.param == "memory":
        yield MemoryBroker()
        return
    with ExitStack() as stack:
        yield KafkaLogs(request.getfixturevalue("kafka_server"), stack)


@pytest.fixture
def topics(logs: Limited) -> Topics:
    own = uuid.uuid4().hex[:8]
    names = Topics(f"{own}-transactions", f"{own}-dlq", f"{own}-alerts", f"{own}-labels", partitions=1)
    logs.admin().ensure_topics(names)
    return names


def wait_for_limit(writer: LogWriter, topic: str, expected: int) -> None:
    deadline = time.monotonic() + SETTLE_SECONDS
    while writer.largest_batch_bytes(topic, fresh=True) != expected:
        assert time.monotonic() < deadline, f"{topic} does not take {expected} bytes"
        time.sleep(0.05)


def of_size(size: int) -> tuple[bytes, Headers]:
    """Value and headers of a record whose batch has this size."""
    headers: Headers = (("a", b"b"), ("ü", b""), ("none", b"x" * 200))
    value = os.urandom(size - batch_bytes(b"k", b"", headers))
    while batch_bytes(b"k", value, headers) > size:
        value = value[:-1]
    assert batch_bytes(b"k", value, headers) == size
    return value, headers


@pytest.mark.parametrize("limit", [SMALLEST_LIMIT_BYTES, 5_000, 300_000])
def test_the_limit_is_exact(logs: Limited, topics: Topics, limit: int) -> None:
    writer = logs.writer()
    topic = topics.dead_letters
    assert writer.largest_batch_bytes(topic) > 1_000_000
    logs.set_limit(topic, limit)
    wait_for_limit(writer, topic, limit)
    assert writer.largest_batch_bytes(topic) == limit
    value, headers = of_size(limit)
    writer.send(topic, key=b"k", value=value, headers=headers).wait(PATIENCE)
    with pytest.raises(RecordTooLarge):
        writer.send(topic, key=b"k", value=value + b"x", headers=headers).wait(PATIENCE)
    writer.send(topic, key=b"k", value=value, headers=headers).wait(PATIENCE)


def test_many_letters_at_once_are_no_larger_than_one(logs: Limited, topics: Topics) -> None:
    writer = logs.writer()
    logs.set_limit(topics.dead_letters, 4_000)
    wait_for_limit(writer, topics.dead_letters, 4_000)
    value, headers = of_size(4_000)
    sent = [
        writer.send(topics.dead_letters, key=b"k", value=value, headers=headers, partition=0)
        for _ in range(20)
    ]
    assert len({pending.wait(PATIENCE).offset for pending in sent}) == 20


def test_a_set_up_that_could_take_no_letter_or_alert_is_refused_by_name(
    logs: Limited, topics: Topics
) -> None:
    for topic, needed in (
        (topics.dead_letters, SMALLEST_LIMIT_BYTES),
        (topics.alerts, LARGEST_ALERT_BYTES),
    ):
        logs.set_limit(topic, needed - 1)
        wait_for_limit(logs.writer(), topic, needed - 1)
        with pytest.raises(StoreRefused, match=rf"{topic}.*max.message.bytes to {needed} or more"):
            logs.admin().ensure_topics(topics)
        logs.set_limit(topic, needed)
        wait_for_limit(logs.writer(), topic, needed)
        logs.admin().ensure_topics(topics)


@pytest.mark.servers
@pytest.mark.parametrize("compression", ["gzip", "snappy", "lz4", "zstd", "uncompressed"])
def test_letters_fit_whatever_the_topic_compresses_with(
    kafka_server: KafkaConnection, compression: str
) -> None:
    rejection = Rejection(RejectionCode.NOT_JSON, "", "value is not JSON")
    with ExitStack() as stack:
        logs = KafkaLogs(kafka_server, stack)
        writer = logs.writer()
        own = uuid.uuid4().hex[:8]
        topics = Topics(f"{own}-t", f"{own}-d", f"{own}-a", f"{own}-l", partitions=1)
        logs.admin().ensure_topics(topics)
        for limit in (1_100, 20_000, 1_000_000):
            logs.configure(
                topics.dead_letters, {"max.message.bytes": str(limit), "compression.type": compression}
            )
            growth = 0 if compression == "uncompressed" else limit // 128 + 128
            wait_for_limit(writer, topics.dead_letters, limit - growth)
            record = Record(1, 0, b"k", os.urandom(1_100_000), (("h", os.urandom(40_000)),))
            usable = writer.largest_batch_bytes(topics.dead_letters)
            if usable < SMALLEST_LIMIT_BYTES:
                continue
            letter = letter_of(DeadLetter(record, rejection), topics.transactions, 0, usable)
            writer.send(topics.dead_letters, key=letter.key, value=letter.value, headers=letter.headers).wait(
                PATIENCE
            )


@pytest.mark.servers
def test_a_limit_above_the_clients_own_is_the_clients(kafka_server: KafkaConnection) -> None:
    with ExitStack() as stack:
        logs = KafkaLogs(kafka_server, stack)
        writer = logs.writer()
        own = uuid.uuid4().hex[:8]
        topics = Topics(f"{own}-t", f"{own}-d", f"{own}-a", f"{own}-l", partitions=1)
        logs.admin().ensure_topics(topics)
        logs.set_limit(topics.dead_letters, 40_000_000)
        wait_for_limit(writer, topics.dead_letters, LARGEST_BATCH_BYTES)
        value, headers = of_size(LARGEST_BATCH_BYTES)
        writer.send(topics.dead_letters, key=b"k", value=value, headers=headers).wait(PATIENCE)
