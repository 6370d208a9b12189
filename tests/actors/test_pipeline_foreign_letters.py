"""Bad records of a foreign client, compressed; a real topic of dead letters that has a small limit."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta

import pytest

from actors.engine.owner import PartitionOwner
from actors.engine.pipeline import Pace, Pipeline
from actors.engine.timeline_keeper import Desired
from ray_fraud.domain.record import PartitionId, Record
from ray_fraud.domain.record_size import batch_bytes
from ray_fraud.stores.connections import KafkaConnection, Topics
from tests.domain.samples import record, transaction
from tests.simulation.world import SETTINGS, SPLITS, World
from tests.stores.kafka_accidents import KafkaLogs
from tests.stores.librdkafka import Headers, Sent, new_topic, producer_of, send

PATIENCE_SECONDS = 60.0
CARD = b"4111111111111111"
BAD: tuple[tuple[bytes, Headers], ...] = (
    (b"{", [("blob", b"h" * 30_000_000)]),
    (b"x4" * 20_000_000, []),
    (b'{"card_number":"' + b"4111 1111 1111 1111 " * 200_000, [("pan", CARD)]),
    (os.urandom(900_000), [("noise", os.urandom(90_000))]),
)


@pytest.fixture
def logs(kafka_server: KafkaConnection) -> Iterator[KafkaLogs]:
    with ExitStack() as stack:
        yield KafkaLogs(kafka_server, stack)


def good(number: int) -> Sent:
    one = record(0, transaction(f"t{number}", user_id=number, amount=20.0, seconds=float(number)))
    return Sent(one.key, one.value, one.timestamp_ms)


def letters_of(logs: KafkaLogs, topics: Topics, partition: PartitionId, records: int) -> list[Record]:
    """Runs an owner over `records` records; the letters it wrote."""
    reader = logs.reader(topics.transactions, partition)
    ports = replace(World().ports(), reader=reader, writer=logs.writer(), topics=topics)
    owner = PartitionOwner(ports, partition, "token", Desired(SETTINGS, SPLITS[0]), time.monotonic)
    pipeline = Pipeline(owner, ports.meter, Pace(), time.monotonic())
    pipeline.start()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while owner.cuts.next_offset < records:
        assert not pipeline.wait(timedelta(milliseconds=20)), f"it ended: {pipeline.failure!r}"
        assert time.monotonic() < deadline, f"stands at {owner.cuts.next_offset}: {pipeline.waits}"
    pipeline.drain()
    admin = logs.admin()
    place = PartitionId(partition.cluster_id, admin.topic_id(topics.dead_letters), 0)
    dead = logs.reader(topics.dead_letters, place)
    found: list[Record] = []
    while len(found) < len(BAD):
        assert time.monotonic() < deadline, f"{len(found)} letters"
        found += dead.poll(100, timedelta(milliseconds=200))
    return found


@pytest.mark.parametrize("limit", [1_500, 100_000])
@pytest.mark.parametrize("compression", ["producer", "zstd"])
def test_letters_arrive_however_large_the_records_were(
    kafka_server: KafkaConnection, logs: KafkaLogs, compression: str, limit: int
) -> None:
    admin = logs.admin()
    transactions, partition = new_topic(admin)
    dead_letters, _ = new_topic(admin)
    logs.configure(dead_letters, {"max.message.bytes": str(limit), "compression.type": compression})
    deadline = time.monotonic() + PATIENCE_SECONDS
    while logs.writer().largest_batch_bytes(dead_letters, fresh=True) > limit:
        assert time.monotonic() < deadline
    producer = producer_of(kafka_server, compression_type="gzip", message_max_bytes=60_000_000)
    now_ms = round(time.time() * 1000)
    for number, (value, headers) in enumerate(BAD):
        send(producer, transactions, Sent(CARD, value, now_ms, headers), good(number))
    topics = Topics(transactions, dead_letters)
    letters = letters_of(logs, topics, partition, 2 * len(BAD))
    assert len(letters) == len(BAD)
    for letter, (value, _) in zip(letters, BAD, strict=True):
        assert batch_bytes(letter.key, letter.value, letter.headers) <= limit
        assert letter.key == b"411111******1111"
        told = dict(letter.headers)
        assert CARD not in (letter.value or b"").replace(b" ", b"") + b"".join(
            text or b"" for text in told.values()
        )
        if len(value) > limit:
            assert told["dlq.value.size"] == str(len(value)).encode()
            assert len(told["dlq.value.sha256"] or b"") == 64
