"""The topics of the platform: created when missing, checked when there.

Never: deleting a topic, shrinking or growing one (user state is per partition, so growing would lose it).
"""

import logging
import uuid
from datetime import timedelta
from typing import Any

from kafka import KafkaAdminClient, TopicPartition
from kafka import errors as kafka_errors
from kafka.admin import ConfigResource, OffsetSpec
from kafka.protocol.consumer.offsets import IsolationLevel

from ray_fraud.stores.connections import KafkaConnection, Topics
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.log.kafka_client import kafka_errors_told_apart, opening, topic_id_text
from ray_fraud.stores.log.limits import DEAD_LETTER_HEADROOM_BYTES, KEYED_RECORD_BYTES, check_limits
from ray_fraud.stores.log.port import TopicEnds, WrongPartitionCount
from ray_fraud.stores.log.topic_policy import TopicPolicy

log = logging.getLogger(__name__)

UNLIMITED = int(timedelta(days=365_000) / timedelta(milliseconds=1))
"""A thousand years; Kafka's own "no limit" is 2^63 - 1 ms, more than a `timedelta` holds."""
OLDEST_VERSION = (3, 5)
SENT_AS_IT_IS = ("producer", "uncompressed")
GROWTH_SHARE = 128
GROWTH_BYTES = 128
"""Compression adds to bytes that are random already: some bytes per frame and per block of 16 KiB or more."""
_EVER = str(2**63 - 1)
KEYED_TOPIC = {
    "max.message.bytes": str(KEYED_RECORD_BYTES),
    # The record keeps the time that it had, whatever that is: the decision about it is the fold's.
    "message.timestamp.type": "CreateTime",
    "message.timestamp.before.max.ms": _EVER,
    "message.timestamp.after.max.ms": _EVER,
}
PROGRESS_TOPIC = {
    # Only each partition's newest record is read; it must never be deleted.
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": str(2**20),
    "segment.bytes": str(2**20),
}


class KafkaLogAdmin:
    """See `LogAdmin`."""

    def __init__(self, connection: KafkaConnection) -> None:
        """Connect.

        Raises:
            StoreUnavailable: no broker answers.
            StoreRefused: not authorised, or the brokers are too old.
        """
        with opening(connection) as settings:
            self._client = KafkaAdminClient(**settings)
        version = self._client._manager.broker_version
        if version < OLDEST_VERSION:
            self.close()
            found, needed = (".".join(map(str, numbers)) for numbers in (version, OLDEST_VERSION))
            raise StoreRefused("kafka", f"brokers of version {found}: needs {needed} or newer")

    def cluster_id(self) -> str:
        with kafka_errors_told_apart():
            return str(self._client.describe_cluster()["cluster_id"])

    def ensure_topics(self, topics: Topics) -> None:
        self._ensure(topics.transactions, topics.partitions, {})
        found = self.partition_count(topics.transactions)
        if found != topics.partitions:
            raise WrongPartitionCount(topics.transactions, found, topics.partitions)
        limit = int(self._configuration(topics.transactions, "max.message.bytes"))
        needed = limit + DEAD_LETTER_HEADROOM_BYTES
        self._ensure(topics.dead_letters, topics.partitions, {"max.message.bytes": str(needed)})
        self._ensure(topics.alerts, topics.partitions, {})
        self._ensure(topics.labels, topics.partitions, {})
        found = int(self._configuration(topics.dead_letters, "max.message.bytes"))
        if found < needed:
            log.warning(
                "kafka: topic %r takes messages of %d bytes; set max.message.bytes to %d, "
                "or the largest dead letters are kept truncated",
                topics.dead_letters,
                found,
                needed,
            )

        self._check_limits(topics)

    def ensure_rekeying(self, topics: Topics) -> int:
        source = topics.rekey_from
        if source is None:
            raise StoreRefused("kafka", "topics.rekey_from is not set")
        self._ensure(source, topics.partitions, {})
        count = self.partition_count(source)
        self._ensure(topics.transactions, topics.partitions, KEYED_TOPIC)
        self._ensure(topics.rekey_progress, count, PROGRESS_TOPIC)
        if self.partition_count(topics.rekey_progress) < count:
            with kafka_errors_told_apart():
                self._client.create_partitions({topics.rekey_progress: count})
                self._client.wait_for_topics([topics.rekey_progress])
        return count

    def largest_batch_bytes(self, topic: str) -> int:
        """See `LogWriter.largest_batch_bytes`."""
        limit = int(self._configuration(topic, "max.message.bytes"))
        kind = self._configuration(topic, "compression.type")
        return limit if kind in SENT_AS_IT_IS else limit - limit // GROWTH_SHARE - GROWTH_BYTES

    def topic_id(self, topic: str) -> str:
        return topic_id_text(uuid.UUID(self._description(topic)["topic_id"]))

    def partition_count(self, topic: str) -> int:
        return len(self._description(topic)["partitions"])

    def ends(self, topic: str) -> TopicEnds:
        description = self._description(topic)
        numbers = [each["partition_index"] for each in description["partitions"]]
        led = [each["partition_index"] for each in description["partitions"] if each["leader_id"] >= 0]
        with kafka_errors_told_apart():
            found = self._client.list_partition_offsets(
                {TopicPartition(topic, number): OffsetSpec.LATEST for number in led},
                isolation_level=IsolationLevel.READ_COMMITTED,
            )
        ends: dict[int, int | None] = dict.fromkeys(numbers)
        ends |= {place.partition: int(result.offset) for place, result in found.items()}
        return TopicEnds(topic_id_text(uuid.UUID(description["topic_id"])), ends)

    def retention(self, topic: str) -> timedelta | None:
        return self.policy(topic).kept

    def policy(self, topic: str) -> TopicPolicy:
        told = self._configurations(topic)
        # Brokers before 3.6 have one limit for both directions, brokers from 4.0 on have not.
        either = told.get("message.timestamp.difference.max.ms", str(UNLIMITED))
        cleanup = told["cleanup.policy"]
        retention_bytes = int(told["retention.bytes"])
        return TopicPolicy(
            log_append_time=told["message.timestamp.type"] == "LogAppendTime",
            before_max=_limit(told.get("message.timestamp.before.max.ms", either)),
            after_max=_limit(told.get("message.timestamp.after.max.ms", either)),
            deletes="delete" in cleanup,
            compacts="compact" in cleanup,
            retention=_limit(told["retention.ms"]),
            retention_bytes=retention_bytes if retention_bytes >= 0 else None,
            compaction_lag=_limit(told["min.compaction.lag.ms"]) or timedelta(),
        )

    def close(self) -> None:
        self._client.close()

    def _check_limits(self, topics: Topics) -> None:
        check_limits(topics, self.largest_batch_bytes)
        for topic in (topics.dead_letters, topics.alerts):
            if "compact" in self._configuration(topic, "cleanup.policy"):
                log.warning(
                    "kafka: topic %r: compaction keeps one record of a key and refuses those without; "
                    "set cleanup.policy to delete",
                    topic,
                )

    def _ensure(self, topic: str, partitions: int, configuration: dict[str, str]) -> None:
        options = {"num_partitions": partitions, "configs": configuration}
        with kafka_errors_told_apart():
            try:
                self._client.create_topics({topic: options}, wait_for_metadata=True)
            except kafka_errors.TopicAlreadyExistsError:
                self._client.wait_for_topics([topic])

    def _description(self, topic: str) -> dict[str, Any]:
        with kafka_errors_told_apart():
            (description,) = self._client.describe_topics([topic])
        if description["error_code"] == kafka_errors.UnknownTopicOrPartitionError.errno:
            raise StoreRefused("kafka", f"topic {topic!r} does not exist: create it or check its name")
        with kafka_errors_told_apart():
            error = kafka_errors.for_code(description["error_code"])
            if error is not kafka_errors.NoError:
                raise error(topic)
        return dict(description)

    def _configuration(self, topic: str, name: str) -> str:
        return self._configurations(topic)[name]

    def _configurations(self, topic: str) -> dict[str, str]:
        with kafka_errors_told_apart():
            found = self._client.describe_configs([ConfigResource("topic", topic)], config_filter="all")
        return {name: str(told["value"]) for name, told in found["topic"][topic].items()}


def _limit(milliseconds: str) -> timedelta | None:
    """A time limit as Kafka writes it; None for what is none."""
    value = int(milliseconds)
    return timedelta(milliseconds=value) if 0 <= value < UNLIMITED else None
