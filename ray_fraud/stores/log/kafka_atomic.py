"""Atomic appends to Kafka: one transaction each, under a transactional id that one producer at a time holds.

Never: a producer that failed once (its next transaction could end the last one); a wait without a limit.
"""

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from kafka import KafkaProducer
from kafka import errors as kafka_errors

from ray_fraud.stores.connections import KafkaConnection
from ray_fraud.stores.errors import Fenced, StoreRefused, StoreUnavailable
from ray_fraud.stores.log.kafka_client import client_settings, kafka_errors_told_apart, opening
from ray_fraud.stores.log.kafka_producers import BATCH_BYTES
from ray_fraud.stores.log.kafka_writer import wire_headers
from ray_fraud.stores.log.limits import LARGEST_REQUEST_BYTES
from ray_fraud.stores.log.port import Append

log = logging.getLogger(__name__)

TAKE_OVER_TIMEOUT = timedelta(seconds=20)
APPEND_TIMEOUT = timedelta(seconds=30)
TRANSACTION_TIMEOUT = timedelta(seconds=60)
"""After it the broker itself undoes what a writer left unfinished."""


class KafkaAtomicWriter:
    """See `AtomicWriter`; for one thread."""

    def __init__(self, connection: KafkaConnection, name: str) -> None:
        """`name`: the transactional id. Connects with `take_over`.

        Raises:
            StoreRefused: the connection contradicts itself.
        """
        client_settings(connection)
        self._connection = connection
        self._name = name
        self._producer: Any = None
        self._life = 0

    def take_over(self) -> None:
        self._drop()
        with opening(self._connection) as settings:
            producer = KafkaProducer(
                acks="all",
                transactional_id=self._name,
                transaction_timeout_ms=_ms(TRANSACTION_TIMEOUT),
                # Also the limit of `init_transactions`.
                max_block_ms=_ms(TAKE_OVER_TIMEOUT),
                delivery_timeout_ms=_ms(APPEND_TIMEOUT),
                linger_ms=0,
                batch_size=BATCH_BYTES,
                max_request_size=LARGEST_REQUEST_BYTES,
                allow_auto_create_topics=False,
                metrics_enabled=False,
                **settings,
            )
        self._producer = producer
        try:
            with kafka_errors_told_apart():
                producer.init_transactions()
        except BaseException:
            self._drop()
            raise
        self._life += 1

    def append(self, records: Sequence[Append]) -> None:
        if self._producer is None:
            raise StoreRefused("kafka", f"writer {self._name!r} has not taken over")
        try:
            with kafka_errors_told_apart():
                self._append(self._producer, records)
        except BaseException:
            self._drop()
            raise

    def close(self) -> None:
        self._drop()

    def _append(self, producer: Any, records: Sequence[Append]) -> None:
        try:
            producer.begin_transaction()
            for record in records:
                producer.send(
                    record.topic,
                    key=record.key,
                    value=record.value,
                    headers=wire_headers(record.headers),
                    partition=record.partition,
                    timestamp_ms=record.timestamp_ms,
                )
            # kafka-python's own `commit_transaction` waits without a limit.
            result = producer._transaction_manager.begin_commit()
            producer._sender.wakeup()
            if not result.wait(_ms(APPEND_TIMEOUT)):
                raise StoreUnavailable("kafka", f"no end of a transaction within {APPEND_TIMEOUT}")
        except (kafka_errors.ProducerFencedError, kafka_errors.InvalidProducerEpochError) as error:
            raise Fenced("kafka", self._life, self._life + 1) from error

    def _drop(self) -> None:
        """Let go of the producer as it is; the next one's take-over undoes what it began."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        try:
            producer.close(0)
        except kafka_errors.KafkaError as error:
            log.info("kafka: closed a transactional producer: %s", error)
            producer._sender.force_close()
            producer._closed = True


def _ms(duration: timedelta) -> int:
    return round(duration.total_seconds() * 1000)
