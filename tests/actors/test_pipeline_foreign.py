"""An owner on a real Kafka that a foreign client writes to; all other stores are those of the simulation."""

import logging
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import pytest

from actors.engine.owner import PartitionOwner
from actors.engine.pipeline import Pace, Pipeline
from actors.engine.ports import Ports
from actors.engine.timeline_keeper import Desired
from cluster.local.paths import StackPaths
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.timeline import Quarantine
from ray_fraud.stores.connections import KafkaConnection
from ray_fraud.stores.ledger.memory import MemoryLedger
from ray_fraud.stores.ledger.memory_queries import MemoryAlertQueries
from ray_fraud.stores.ledger.queries import AlertFilter
from ray_fraud.stores.log.kafka_admin import KafkaLogAdmin
from ray_fraud.stores.log.kafka_reader import KafkaLogReader
from tests.domain.samples import record, transaction
from tests.simulation.world import SETTINGS, SPLITS, World
from tests.stores.librdkafka import Sent, damage_batch, new_topic, producer_of, segment_of, send

PATIENCE_SECONDS = 40.0
SPLIT = SPLITS[0]


@pytest.fixture(scope="module")
def admin(kafka_server: KafkaConnection) -> Iterator[KafkaLogAdmin]:
    with closing(KafkaLogAdmin(kafka_server)) as client:
        yield client


def payments(count: int) -> list[Sent]:
    """Every third one is over the limit of the first rule."""
    made = []
    for number in range(count):
        amount = 5_000.0 if number % 3 == 0 else 20.0
        one = record(0, transaction(f"t{number}", user_id=number, amount=amount, seconds=float(number)))
        made.append(Sent(one.key, one.value, one.timestamp_ms))
    return made


def owner_of(ports: Ports, partition: PartitionId) -> PartitionOwner:
    return PartitionOwner(ports, partition, "token", Desired(SETTINGS, SPLIT), time.monotonic)


def settled_to(owner: PartitionOwner, end: int, ports: Ports) -> Pipeline:
    """Runs the owner until everything below `end` has settled, drains it."""
    pipeline = Pipeline(owner, ports.meter, Pace(), time.monotonic())
    pipeline.start()
    deadline = time.monotonic() + PATIENCE_SECONDS
    try:
        while owner.cuts.next_offset < end:
            assert time.monotonic() < deadline, f"settled {owner.cuts.next_offset} of {end}: {pipeline.waits}"
            assert not pipeline.wait(timedelta(milliseconds=20)), pipeline.failure
    finally:
        pipeline.drain()
    return pipeline


def alerted(world: World) -> list[int]:
    rows = MemoryAlertQueries(world.database).list(AlertFilter(), limit=10_000)
    return sorted(row.alert.offset for row in rows if row.alert.rule_name == "high_amount")


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_compressed_payments_make_their_alerts(
    kafka_server: KafkaConnection, admin: KafkaLogAdmin, codec: str
) -> None:
    topic, partition = new_topic(admin)
    send(producer_of(kafka_server, compression_type=codec), topic, *payments(60))
    world = World()
    with closing(KafkaLogReader(kafka_server, topic, partition)) as reader:
        ports = replace(world.ports(), reader=reader)
        settled_to(owner_of(ports, partition), 60, ports)
    assert alerted(world) == list(range(0, 60, 3))


def test_a_log_that_ends_in_a_marker_is_live_and_without_lag(
    kafka_server: KafkaConnection, admin: KafkaLogAdmin
) -> None:
    topic, partition = new_topic(admin)
    producer = producer_of(kafka_server, transactional_id=topic, compression_type="zstd")
    producer.init_transactions(30)
    producer.begin_transaction()
    send(producer, topic, *payments(9))
    producer.commit_transaction(30)
    producer.begin_transaction()
    send(producer, topic, *payments(9))
    producer.abort_transaction(30)
    world = World()
    for _ in range(2):
        with closing(KafkaLogReader(kafka_server, topic, partition)) as reader:
            ports = replace(world.ports(), reader=reader)
            owner = owner_of(ports, partition)
            settled_to(owner, 20, ports)
            assert not owner.replaying
            assert owner.cuts.written_offset == reader.bounds().end == 20
    assert MemoryLedger(world.database).decided_offset(partition) == 20
    assert admin.ends(topic).ends == {0: 20}
    assert alerted(world) == [0, 3, 6]


def test_a_damaged_batch_is_quarantined_and_the_partition_goes_on(
    kafka_server: KafkaConnection,
    admin: KafkaLogAdmin,
    server_paths: StackPaths,
    caplog: pytest.LogCaptureFixture,
) -> None:
    topic, partition = new_topic(admin)
    producer, sent = producer_of(kafka_server, compression_type="lz4"), payments(30)
    for begin in (0, 10, 20):
        send(producer, topic, *sent[begin : begin + 10])
    damage_batch(segment_of(server_paths.kafka, topic), 1)
    world = World()
    with closing(KafkaLogReader(kafka_server, topic, partition)) as reader:
        ports = replace(world.ports(), reader=reader)
        owner = owner_of(ports, partition)
        with caplog.at_level(logging.ERROR):
            settled_to(owner, 30, ports)
    assert owner.unreadable == [Quarantine(10, 20, "its checksum is wrong")]
    assert "offsets 10 to 19 cannot be read and are passed over" in caplog.text
    assert alerted(world) == [*range(0, 10, 3), *range(21, 30, 3)]


def test_a_value_of_forty_megabytes_becomes_a_dead_letter_and_its_neighbours_alerts(
    kafka_server: KafkaConnection, admin: KafkaLogAdmin
) -> None:
    topic, partition = new_topic(admin)
    producer = producer_of(kafka_server, compression_type="gzip", message_max_bytes=50_000_000)
    send(producer, topic, *payments(4), Sent(b"k", b"4111111111111111 " * 2_400_000, 1), *payments(4))
    world = World()
    with closing(KafkaLogReader(kafka_server, topic, partition)) as reader:
        ports = replace(world.ports(), reader=reader)
        settled_to(owner_of(ports, partition), 9, ports)
    (dead,) = world.broker.records(ports.topics.dead_letters)
    headers = dict(dead.headers)
    assert headers["dlq.error.code"] == b"too_large"
    assert b"40800000" in (headers["dlq.error.message"] or b"")
    assert b"4111111111111111" not in (dead.value or b"")
    assert alerted(world) == [0, 3]
