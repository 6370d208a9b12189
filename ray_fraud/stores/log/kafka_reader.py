"""One partition of Kafka, assigned by hand and read by offset.

Never: a consumer group that assigns or rewinds, a skipped offset, an aborted transaction's records.
"""

import logging
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka import errors as kafka_errors
from kafka.consumer.subscription_state import SubscriptionState
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.coordinator.consumer import ConsumerCoordinator
from kafka.structs import OffsetAndMetadata

from ray_fraud.domain.record import PartitionId, Record
from ray_fraud.stores.connections import KafkaConnection
from ray_fraud.stores.errors import StoreRefused, StoreUnavailable
from ray_fraud.stores.log.kafka_batches import RecordsOfPartition
from ray_fraud.stores.log.kafka_client import (
    REQUEST_TIMEOUT,
    kafka_errors_told_apart,
    opening,
    topic_id_text,
    topic_uuid,
)
from ray_fraud.stores.log.port import LAG_GROUP, LogBounds, LogGap, TopicReplaced

log = logging.getLogger(__name__)

METADATA_AGE = timedelta(seconds=1)
"""How often the topic's id is looked at: fetch requests name the topic, and one made again is named the same.

Until that is noticed, a record of the new topic passes for an old one only if it lies above the position.
"""
SILENCE = timedelta(seconds=3)
"""Without a connection to the leader for longer than this, an empty poll is an outage."""
CLOSE_TIMEOUT = timedelta(seconds=2)
MAX_POLL_RECORDS = 10_000
REQUEST_TIMEOUT_MS = REQUEST_TIMEOUT.total_seconds() * 1000


class KafkaLogReader:
    """See `LogReader`. Starts at offset 0 until told otherwise."""

    def __init__(self, connection: KafkaConnection, topic: str, partition: PartitionId) -> None:
        """Connect.

        Raises:
            StoreUnavailable: no broker answers.
            StoreRefused: not authorised, or there is no such topic or partition.
            TopicReplaced: the topic is not the one that `partition` names.
        """
        self.partition = partition
        self._topic = topic
        self._tp = TopicPartition(topic, partition.partition)
        self._topic_uuid = topic_uuid(partition.topic_id)
        self._silent_since: float | None = None
        with opening(connection) as settings:
            self._consumer = KafkaConsumer(
                group_id=None,
                auto_offset_reset="none",
                enable_auto_commit=False,
                isolation_level="read_committed",
                max_poll_records=MAX_POLL_RECORDS,
                metrics_enabled=False,
                allow_auto_create_topics=False,
                metadata_max_age_ms=round(METADATA_AGE.total_seconds() * 1000),
                **settings,
            )
        try:
            self._consumer._fetcher.PartitionRecords = RecordsOfPartition
            self._consumer.assign([self._tp])
            self._consumer.seek(self._tp, 0)
            with kafka_errors_told_apart():
                self._refresh_metadata()
                if self._consumer._cluster.topic_id(self._topic) is None:
                    # kafka-python takes the reply to a request from before the assignment for ours.
                    self._refresh_metadata()
            self._check_existence()
            self._lag_commits = self._new_lag_commits()
        except BaseException:
            self.close()
            raise

    def bounds(self) -> LogBounds:
        with kafka_errors_told_apart():
            start = self._consumer.beginning_offsets([self._tp], timeout_ms=REQUEST_TIMEOUT_MS)[self._tp]
            end = self._consumer.end_offsets([self._tp], timeout_ms=REQUEST_TIMEOUT_MS)[self._tp]
        self._check_topic_id()
        return LogBounds(start, end)

    def seek(self, offset: int) -> None:
        self._consumer.seek(self._tp, offset)

    def poll(self, max_records: int, timeout: timedelta) -> Sequence[Record]:
        timeout_ms = timeout.total_seconds() * 1000
        try:
            with kafka_errors_told_apart():
                fetched: dict[TopicPartition, list[Record]] = self._poll(timeout_ms, max_records)
        except StoreUnavailable:
            self._check_topic_id()
            raise
        self._check_topic_id()
        if not fetched:
            self._check_connection()
            return ()
        self._silent_since = None
        return fetched[self._tp]

    def position(self) -> int:
        return int(self._consumer._subscription.assignment[self._tp].position.offset)

    def end_offset(self) -> int | None:
        end: int | None = self._consumer.highwater(self._tp)
        return end

    def commit_for_lag_tools(self, offset: int) -> None:
        try:
            self._lag_commits.commit_offsets_async({self._tp: OffsetAndMetadata(offset)}, _log_failed_commit)
        except kafka_errors.KafkaError as error:
            _log_failed_commit(None, error)

    def close(self) -> None:
        self._consumer.close(autocommit=False, timeout_ms=round(CLOSE_TIMEOUT.total_seconds() * 1000))

    def _poll(self, timeout_ms: float, max_records: int) -> dict[TopicPartition, list[Record]]:
        try:
            polled: dict[TopicPartition, list[Record]] = self._consumer.poll(timeout_ms, max_records)
        except (kafka_errors.OffsetOutOfRangeError, kafka_errors.LogTruncationError) as error:
            self._refresh_metadata()
            raise self._gap(error) from error
        return polled

    def _gap(self, error: kafka_errors.KafkaError) -> LogGap | StoreUnavailable:
        """What a position outside of the log means; a topic that was made again shows as `TopicReplaced`."""
        bounds, position = self.bounds(), self.position()
        safe = getattr(error, "divergent_offsets", {}).get(self._tp)
        if safe is not None:
            return LogGap(position, safe.offset)
        if position < bounds.start:
            return LogGap(position, bounds.start)
        if position > bounds.end:
            return LogGap(position, bounds.end)
        return StoreUnavailable("kafka", f"offset {position} was out of range for a moment")

    def _check_existence(self) -> None:
        self._check_topic_id()
        partitions = self._consumer._cluster.partitions_for_topic(self._topic) or set()
        if self.partition.partition not in partitions:
            raise StoreRefused("kafka", f"topic {self._topic!r} has no partition {self.partition.partition}")

    def _check_topic_id(self) -> None:
        """Compare with the newest metadata, without a round trip."""
        found = self._consumer._cluster.topic_id(self._topic)
        if found is None:
            raise StoreUnavailable("kafka", f"topic {self._topic!r} does not exist at the moment")
        if found != self._topic_uuid:
            raise TopicReplaced(self._topic, self.partition.topic_id, topic_id_text(found))

    def _check_connection(self) -> None:
        """kafka-python reports no lost connection: it reconnects in silence while polls return nothing."""
        leader = self._consumer._cluster.leader_for_partition(self._tp)
        if leader is not None and leader != -1 and self._consumer._client.connected(leader):
            self._silent_since = None
            return
        now = time.monotonic()
        if self._silent_since is None:
            self._silent_since = now
        if now - self._silent_since > SILENCE.total_seconds():
            raise StoreUnavailable("kafka", f"no connection to the leader of {self._topic!r}, still trying")

    def _refresh_metadata(self) -> None:
        consumer = self._consumer
        consumer._net.run(consumer._manager.wait_for, consumer._cluster.request_update(), REQUEST_TIMEOUT_MS)

    def _new_lag_commits(self) -> Any:
        """A coordinator for commits alone: a consumer with a group id waits for the group in each poll."""
        return ConsumerCoordinator(
            self._consumer._client,
            SubscriptionState("none"),
            **{
                **self._consumer.config,
                "group_id": LAG_GROUP,
                "metrics": None,
                "assignors": (RoundRobinPartitionAssignor,),
            },
        )


def _log_failed_commit(_: object, result: object) -> None:
    if isinstance(result, Exception):
        log.info("kafka: offset for lag tools not committed: %s", result)
