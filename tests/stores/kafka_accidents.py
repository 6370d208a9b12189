"""A real Kafka with the accidents that the memory log can have, too."""

import contextlib
import time
from contextlib import ExitStack
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, OffsetSpec
from kafka.errors import TopicAlreadyExistsError

from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.connections import KafkaConnection
from ray_fraud.stores.log.kafka_admin import KafkaLogAdmin
from ray_fraud.stores.log.kafka_client import client_settings
from ray_fraud.stores.log.kafka_reader import KafkaLogReader
from ray_fraud.stores.log.kafka_writer import KafkaLogWriter


class KafkaLogs:
    """Makes clients and closes them with `stack`."""

    def __init__(self, connection: KafkaConnection, stack: ExitStack) -> None:
        self.connection = connection
        self._stack = stack
        self._admin: KafkaLogAdmin | None = None
        self._writer: KafkaLogWriter | None = None

    def reader(self, topic: str, partition: PartitionId) -> KafkaLogReader:
        reader = KafkaLogReader(self.connection, topic, partition)
        self._stack.callback(reader.close)
        return reader

    def writer(self) -> KafkaLogWriter:
        if self._writer is None:
            self._writer = KafkaLogWriter(self.connection)
            self._stack.callback(self._writer.close)
        return self._writer

    def admin(self) -> KafkaLogAdmin:
        if self._admin is None:
            self._admin = KafkaLogAdmin(self.connection)
            self._stack.callback(self._admin.close)
        return self._admin

    def set_limit(self, topic: str, max_record_bytes: int) -> None:
        self.configure(topic, {"max.message.bytes": str(max_record_bytes)})

    def configure(self, topic: str, settings: dict[str, str]) -> None:
        """Changes settings of a topic, which the broker applies a moment later."""
        with contextlib.closing(self._client()) as client:
            client.alter_configs([ConfigResource("topic", topic, settings)])

    def add_hole(self, topic: str, partition: int) -> None:
        """An aborted transaction: for a reader of committed records its record and its marker are holes."""
        producer = KafkaProducer(
            transactional_id=f"{topic}-{partition}", metrics_enabled=False, **client_settings(self.connection)
        )
        with contextlib.closing(producer):
            producer.init_transactions()
            producer.begin_transaction()
            producer.send(topic, value=b"aborted", partition=partition).get(10)
            producer.abort_transaction()
        self._wait_for_committed_end(topic, partition)

    def _wait_for_committed_end(self, topic: str, partition: int) -> None:
        """A broker answers the end of a transaction before its marker is in the log."""
        place = TopicPartition(topic, partition)
        consumer = KafkaConsumer(
            isolation_level="read_committed",
            auto_offset_reset="none",
            enable_auto_commit=False,
            metrics_enabled=False,
            **client_settings(self.connection),
        )
        with contextlib.closing(consumer):
            for _ in range(100):
                if consumer.end_offsets([place], timeout_ms=10_000)[place] == self._end(place):
                    return
                time.sleep(0.05)
        raise AssertionError(f"the aborted transaction in {topic} did not end")

    def _end(self, place: TopicPartition) -> int:
        """The high watermark, open transactions included."""
        with contextlib.closing(self._client()) as client:
            return int(client.list_partition_offsets({place: OffsetSpec.LATEST})[place].offset)

    def delete_before(self, topic: str, partition: int, offset: int) -> None:
        with contextlib.closing(self._client()) as client:
            client.delete_records({TopicPartition(topic, partition): offset})

    def recreate(self, topic: str) -> None:
        with contextlib.closing(self._client()) as client:
            client.delete_topics([topic])
            for _ in range(100):
                with contextlib.suppress(TopicAlreadyExistsError):
                    client.create_topics({topic: {"num_partitions": 3}}, wait_for_metadata=True)
                    return
            raise AssertionError(f"topic {topic} was not deleted")

    def add_partitions(self, topic: str, count: int) -> None:
        with contextlib.closing(self._client()) as client:
            client.create_partitions({topic: count})
            for _ in range(100):
                if self.admin().partition_count(topic) == count:
                    # A writer that knew the topic before refuses its new partitions for a while.
                    self._writer = None
                    return
                time.sleep(0.05)
        raise AssertionError(f"topic {topic} did not grow")

    def _client(self) -> Any:
        return KafkaAdminClient(**client_settings(self.connection))
