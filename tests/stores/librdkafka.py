"""A foreign client: librdkafka, which the clients of Go, .NET and Node are built on, too.

Never: our own client.
"""

import struct
import uuid
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, Message, Producer

from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.connections import KafkaConnection, read_secret
from ray_fraud.stores.log.kafka_admin import KafkaLogAdmin

PATIENCE_SECONDS = 60.0

Headers = list[tuple[str, str | bytes | None]]


class Sent(NamedTuple):
    """What one record is made of; its place is partition 0."""

    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    headers: Headers = []  # noqa: RUF012 - never changed


def settings_of(connection: KafkaConnection) -> dict[str, Any]:
    """The server and the login, as librdkafka names them."""
    assert connection.password_file is not None
    return {
        "bootstrap.servers": connection.bootstrap,
        "security.protocol": connection.security.value,
        "sasl.mechanism": connection.sasl_mechanism,
        "sasl.username": connection.username,
        "sasl.password": read_secret(connection.password_file),
    }


def producer_of(connection: KafkaConnection, **settings: Any) -> Producer:
    """Its batches hold many records each, as those of a busy producer do."""
    named = {name.replace("_", "."): value for name, value in settings.items()}
    return Producer({**settings_of(connection), "linger.ms": 50, **named})


def send(producer: Producer, topic: str, *records: Sent, flush: bool = True) -> None:
    """To partition 0, in order; with `flush` they are acknowledged."""

    def delivered(error: KafkaError | None, message: Message) -> None:
        assert error is None, error

    for record in records:
        producer.produce(
            topic,
            key=record.key,
            value=record.value,
            partition=0,
            headers=list(record.headers),
            timestamp=record.timestamp_ms,
            on_delivery=delivered,
        )
    if flush:
        assert producer.flush(PATIENCE_SECONDS) == 0


def new_topic(admin: KafkaLogAdmin, **settings: str) -> tuple[str, PartitionId]:
    """A topic of one partition, with settings such as `compression_type`.

    Nothing expires: retention goes by the records' own timestamps, which are of the past.
    """
    name = f"foreign-{uuid.uuid4().hex[:8]}"
    configs = {"retention.ms": "-1"} | {key.replace("_", "."): value for key, value in settings.items()}
    admin._client.create_topics({name: {"num_partitions": 1, "configs": configs}}, wait_for_metadata=True)
    return name, PartitionId(admin.cluster_id(), admin.topic_id(name), 0)


def segment_of(kafka_data: Path, topic: str) -> Path:
    """The file that the broker keeps the first records of partition 0 in."""
    return kafka_data / "log" / f"{topic}-0" / f"{0:020d}.log"


def damage_batch(segment: Path, number: int) -> None:
    """Flips a byte at the end of one batch, in the broker's own file."""
    with segment.open("r+b") as file:
        end = 0
        for _ in range(number + 1):
            file.seek(end + 8)
            (length,) = struct.unpack(">i", file.read(4))
            end += 12 + int(length)
        file.seek(end - 1)
        (last,) = file.read(1)
        file.seek(end - 1)
        file.write(bytes([last ^ 0xFF]))
