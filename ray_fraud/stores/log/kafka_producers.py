"""A Kafka producer that is replaced by a new one after it has failed for good.

Never: waiting for a broken producer.
"""

import logging
from datetime import timedelta
from threading import Lock
from typing import Any

from kafka import KafkaProducer
from kafka import errors as kafka_errors

from ray_fraud.stores.connections import KafkaConnection
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.log.kafka_client import client_settings, opening
from ray_fraud.stores.log.limits import LARGEST_REQUEST_BYTES

log = logging.getLogger(__name__)

DELIVERY_TIMEOUT = timedelta(seconds=30)
"""After it a record that no broker took has failed; whether to send it again is the caller's choice."""
METADATA_TIMEOUT = timedelta(seconds=5)
"""The longest that sending itself blocks: for the first record of a topic, or when memory is full."""
BATCH_BYTES = 128 * 1024


class ReplaceableProducer:
    """Connects when first used."""

    def __init__(self, connection: KafkaConnection) -> None:
        client_settings(connection)  # refuses now what could not work later
        self._connection = connection
        self._lock = Lock()
        self._producer: Any = None
        self._closed = False

    def live(self) -> Any:
        """A `KafkaProducer` that has not failed for good.

        Raises:
            StoreUnavailable: no broker answers.
            StoreRefused: not authorised, or closed.
        """
        with self._lock:
            if self._closed:
                raise StoreRefused("kafka", "the writer is closed")
            if self._producer is not None and self._producer._transaction_manager.has_fatal_error():
                log.warning("kafka: a producer failed for good and is replaced")
                _end(self._producer, timedelta())
                self._producer = None
            if self._producer is None:
                self._producer = self._new()
            return self._producer

    def close(self, timeout: timedelta) -> None:
        with self._lock:
            self._closed = True
            if self._producer is not None:
                _end(self._producer, timeout)
                self._producer = None

    def _new(self) -> Any:
        with opening(self._connection) as settings:
            return KafkaProducer(
                acks="all",
                enable_idempotence=True,
                linger_ms=0,
                batch_size=BATCH_BYTES,
                max_request_size=LARGEST_REQUEST_BYTES,
                max_block_ms=round(METADATA_TIMEOUT.total_seconds() * 1000),
                delivery_timeout_ms=round(DELIVERY_TIMEOUT.total_seconds() * 1000),
                allow_auto_create_topics=False,
                metrics_enabled=False,
                **settings,
            )


def _end(producer: Any, timeout: timedelta) -> None:
    """Close without waiting for longer than `timeout`; kafka-python's own close gives up half-way then."""
    try:
        producer.close(timeout.total_seconds())
    except kafka_errors.KafkaError as error:
        log.warning("kafka: closed a producer with records still on their way: %s", error)
        producer._sender.force_close()
        producer._closed = True
