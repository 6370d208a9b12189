"""One partition of Kafka, assigned by hand and read by offset.

kafka-python's consumer may never come back from the next call once something went wrong while it unpacked a
batch. So whatever goes wrong inside a poll costs the consumer: the next call makes another at the position.

Never: a skipped offset; a consumer that has raised.
"""

import logging
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from kafka import TopicPartition
from kafka import errors as kafka_errors
from kafka.structs import OffsetAndMetadata

from ray_fraud.domain.record import PartitionId, Record
from ray_fraud.stores.connections import KafkaConnection
from ray_fraud.stores.errors import StoreRefused, StoreUnavailable
from ray_fraud.stores.log.kafka_batches import DamagedBatch
from ray_fraud.stores.log.kafka_client import kafka_errors_told_apart, topic_id_text, topic_uuid
from ray_fraud.stores.log.kafka_consumer import (
    REQUEST_TIMEOUT_MS,
    close_consumer,
    lag_commits_of,
    open_consumer,
    refresh_metadata,
)
from ray_fraud.stores.log.kafka_epochs import end_of_epoch
from ray_fraud.stores.log.port import EpochEnd, LogBounds, LogDamaged, LogGap, TopicReplaced, Watch

log = logging.getLogger(__name__)

SILENCE = timedelta(seconds=3)
"""Without a connection to the leader for longer than this, an empty poll is an outage."""
NO_EPOCH = -1


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
        self._connection = connection
        self._topic = topic
        self._tp = TopicPartition(topic, partition.partition)
        self._topic_uuid = topic_uuid(partition.topic_id)
        self._silent_since: float | None = None
        self._position = OffsetAndMetadata(0, "", NO_EPOCH)
        """Where the next consumer begins; `position` asks the one there is."""
        self._end: int | None = None
        self._watch: Watch | None = None
        self._consumer: Any = None
        self._lag_commits: Any = None
        self._live()

    def bounds(self) -> LogBounds:
        consumer = self._live()
        with kafka_errors_told_apart():
            start = consumer.beginning_offsets([self._tp], timeout_ms=REQUEST_TIMEOUT_MS)[self._tp]
            end = consumer.end_offsets([self._tp], timeout_ms=REQUEST_TIMEOUT_MS)[self._tp]
        self._check_topic_id()
        return LogBounds(start, end)

    def seek(self, offset: int, leader_epoch: int = NO_EPOCH) -> None:
        self._position = OffsetAndMetadata(offset, "", leader_epoch)
        if self._consumer is not None:
            # `KafkaConsumer.seek` takes no leader epoch; with one the next poll has the position checked.
            self._consumer._subscription.assignment[self._tp].seek(self._position)

    def leader_epoch(self) -> int:
        if self._consumer is not None:
            self._position = self._consumer._subscription.assignment[self._tp].position or self._position
        return int(self._position.leader_epoch)

    def end_of_epoch(self, leader_epoch: int) -> EpochEnd | None:
        consumer = self._live()
        with kafka_errors_told_apart():
            try:
                return end_of_epoch(consumer, self._tp, leader_epoch, REQUEST_TIMEOUT_MS)
            except kafka_errors.KafkaError:
                refresh_metadata(consumer)
                raise

    def poll(self, max_records: int, timeout: timedelta) -> Sequence[Record]:
        self._live()
        timeout_ms = timeout.total_seconds() * 1000
        try:
            with kafka_errors_told_apart():
                fetched: dict[TopicPartition, list[Record]] = self._poll(timeout_ms, max_records)
        except StoreUnavailable:
            self._check_topic_id_once_more()
            raise
        self._check_topic_id()
        if not fetched:
            self._check_connection()
            return ()
        self._silent_since = None
        return fetched[self._tp]

    def position(self) -> int:
        if self._consumer is None:
            return int(self._position.offset)
        return int(self._consumer._subscription.assignment[self._tp].position.offset)

    def end_offset(self) -> int | None:
        if self._consumer is not None:
            end: int | None = self._consumer.highwater(self._tp)
            # A new consumer knows none before its first fetch.
            self._end = self._end if end is None else end
        return self._end

    def watch(self, watch: Watch | None) -> None:
        self._watch = watch
        if self._consumer is not None:
            self._consumer._fetcher.watch = watch

    def commit_for_lag_tools(self, offset: int) -> None:
        if self._consumer is None:
            return
        try:
            self._lag_commits.commit_offsets_async({self._tp: OffsetAndMetadata(offset)}, _log_failed_commit)
        except kafka_errors.KafkaError as error:
            _log_failed_commit(None, error)

    def close(self) -> None:
        if self._consumer is not None:
            close_consumer(self._consumer)

    def _live(self) -> Any:
        """The consumer; a new one at the same position if the last was thrown away.

        Raises:
            StoreUnavailable, StoreRefused, TopicReplaced: as the constructor; call again.
        """
        if self._consumer is None:
            self._consumer = open_consumer(self._connection, self._tp, self._position, self._watch)
            try:
                self._check_existence()
                self._lag_commits = lag_commits_of(self._consumer)
            except BaseException:
                self._throw_away()
                raise
        return self._consumer

    def _throw_away(self) -> None:
        self.end_offset()
        self._position = self._consumer._subscription.assignment[self._tp].position or self._position
        consumer, self._consumer, self._lag_commits = self._consumer, None, None
        close_consumer(consumer)

    def _poll(self, timeout_ms: float, max_records: int) -> dict[TopicPartition, list[Record]]:
        try:
            polled: dict[TopicPartition, list[Record]] = self._consumer.poll(timeout_ms, max_records)
        except (kafka_errors.OffsetOutOfRangeError, kafka_errors.LogTruncationError) as error:
            try:
                refresh_metadata(self._consumer)
                raise self._gap(error) from error
            finally:
                self._throw_away()
        except DamagedBatch as damage:
            self._throw_away()
            raise self._damaged(damage) from damage
        except BaseException as error:
            log.warning("kafka: %s gets a new consumer after %r", self.partition, error)
            self._throw_away()
            raise
        return polled

    def _damaged(self, damage: DamagedBatch) -> LogDamaged:
        """The offsets not read yet: the beginning of a batch may have been."""
        begin = max(self.position(), damage.from_offset)
        return LogDamaged(self._tp.partition, begin, max(begin + 1, damage.to_offset), damage.cause)

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

    def _check_topic_id_once_more(self) -> None:
        """After an outage that may mean that the topic is another one."""
        if self._consumer is not None:
            self._check_topic_id()

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


def _log_failed_commit(_: object, result: object) -> None:
    if isinstance(result, Exception):
        log.info("kafka: offset for lag tools not committed: %s", result)
