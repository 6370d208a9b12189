"""The kafka-python consumer of one partition, as a reader needs it.

Never: a consumer group that assigns or rewinds, an aborted transaction's records.
"""

from contextlib import suppress
from datetime import timedelta
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka import errors as kafka_errors
from kafka.consumer.subscription_state import SubscriptionState
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.coordinator.consumer import ConsumerCoordinator
from kafka.structs import OffsetAndMetadata

from ray_fraud.stores.connections import KafkaConnection
from ray_fraud.stores.log.kafka_batches import BoundedFetcher, RecordsOfPartition
from ray_fraud.stores.log.kafka_client import REQUEST_TIMEOUT, kafka_errors_told_apart, opening
from ray_fraud.stores.log.port import LAG_GROUP, Watch

METADATA_AGE = timedelta(seconds=1)
"""How often the topic's id is looked at: fetch requests name the topic, and one made again is named the same.

Until that is noticed, a record of the new topic passes for an old one only if it lies above the position.
"""
CLOSE_TIMEOUT = timedelta(seconds=2)
MAX_POLL_RECORDS = 10_000
REQUEST_TIMEOUT_MS = REQUEST_TIMEOUT.total_seconds() * 1000


def open_consumer(
    connection: KafkaConnection, tp: TopicPartition, position: OffsetAndMetadata, watch: Watch | None
) -> Any:
    """A `KafkaConsumer` with metadata at `position`, by whose leader epoch a broker tells a truncated log.

    Raises:
        StoreUnavailable: no broker answers.
        StoreRefused: not authorised.
    """
    with opening(connection) as settings:
        consumer = KafkaConsumer(
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
        # The consumer makes its fetcher itself; ours has the same fields.
        consumer._fetcher.__class__ = BoundedFetcher
        consumer._fetcher.PartitionRecords = RecordsOfPartition
        consumer._fetcher.watch = watch
        consumer.assign([tp])
        consumer.seek(tp, position.offset)
        consumer._subscription.assignment[tp].position = position
        with kafka_errors_told_apart():
            refresh_metadata(consumer)
            if consumer._cluster.topic_id(tp.topic) is None:
                # kafka-python takes the reply to a request from before the assignment for ours.
                refresh_metadata(consumer)
    except BaseException:
        close_consumer(consumer)
        raise
    return consumer


def refresh_metadata(consumer: Any) -> None:
    """Waits for the broker's present metadata."""
    consumer._net.run(consumer._manager.wait_for, consumer._cluster.request_update(), REQUEST_TIMEOUT_MS)


def close_consumer(consumer: Any) -> None:
    """Repeating it is harmless; what goes wrong with a broken client is of no interest any more."""
    with suppress(kafka_errors.KafkaError, OSError, RuntimeError):
        consumer.close(autocommit=False, timeout_ms=round(CLOSE_TIMEOUT.total_seconds() * 1000))


def lag_commits_of(consumer: Any) -> Any:
    """A coordinator for commits alone: a consumer with a group id waits for the group in each poll."""
    return ConsumerCoordinator(
        consumer._client,
        SubscriptionState("none"),
        **{
            **consumer.config,
            "group_id": LAG_GROUP,
            "metrics": None,
            "assignors": (RoundRobinPartitionAssignor,),
        },
    )
