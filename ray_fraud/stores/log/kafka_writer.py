"""Appends to Kafka: acknowledged by all in-sync replicas, idempotent, sent at once.

kafka-python's idempotent producer takes one refused record (too large, a timestamp out of bounds) as its own
end: from then on it fails every record with that error. So a record that failed this way is only a suspect:
it is sent once more, alone, and what happens then is the answer; and the producer is replaced.

Never: a silent loss (each record has its `Pending`), an innocent record refused, compression (the alerts are
small).
"""

import logging
from collections.abc import Callable
from datetime import timedelta
from threading import Lock
from typing import Any, NamedTuple

from kafka import errors as kafka_errors

from ray_fraud.domain.record import Headers
from ray_fraud.stores.connections import KafkaConnection
from ray_fraud.stores.errors import StoreError, StoreRefused
from ray_fraud.stores.log.kafka_client import kafka_errors_told_apart
from ray_fraud.stores.log.kafka_limits import KafkaLimits
from ray_fraud.stores.log.kafka_producers import ReplaceableProducer
from ray_fraud.stores.log.port import RecordPosition

log = logging.getLogger(__name__)

CLOSE_TIMEOUT = timedelta(seconds=5)


class Outgoing(NamedTuple):
    """The arguments of one send."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    partition: int | None
    timestamp_ms: int | None


class KafkaPending:
    """A record on its way; may be waited for from any thread."""

    def __init__(
        self, record: Outgoing, future: Any, send_alone: Callable[[Outgoing, timedelta], RecordPosition]
    ) -> None:
        self._record = record
        self._future = future
        self._send_alone = send_alone

    def wait(self, timeout: timedelta) -> RecordPosition:
        with kafka_errors_told_apart():
            try:
                return _position(self._future.get(timeout.total_seconds()))
            except kafka_errors.KafkaError as error:
                if error.retriable:
                    raise
                log.info("kafka: a record for %r is sent again, alone, after %r", self._record.topic, error)
        return self._send_alone(self._record, timeout)


class FailedPending:
    """A record that did not even set out."""

    def __init__(self, failure: StoreError) -> None:
        self._failure = failure

    def wait(self, timeout: timedelta) -> RecordPosition:  # noqa: ARG002 - the port's signature
        raise self._failure


class KafkaLogWriter:
    """See `LogWriter`. Safe to use from several threads."""

    def __init__(self, connection: KafkaConnection) -> None:
        """Connect.

        Raises:
            StoreUnavailable: no broker answers.
            StoreRefused: not authorised.
        """
        self._producer = ReplaceableProducer(connection)
        self._producer.live()
        self._suspects = ReplaceableProducer(connection)
        self._one_suspect = Lock()
        self._limits = KafkaLimits(connection)

    def prepare(self, topic: str) -> None:
        with kafka_errors_told_apart():
            self._producer.live().partitions_for(topic)

    def send(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        partition: int | None = None,
        timestamp_ms: int | None = None,
    ) -> KafkaPending | FailedPending:
        record = Outgoing(topic, key, value, headers, partition, timestamp_ms)
        try:
            return KafkaPending(record, _send(self._producer, record), self._send_alone)
        except StoreError as failure:
            return FailedPending(failure)

    def largest_batch_bytes(self, topic: str, *, fresh: bool = False) -> int:
        return self._limits.largest_batch_bytes(topic, fresh=fresh)

    def flush(self, timeout: timedelta) -> None:
        with kafka_errors_told_apart():
            self._producer.live().flush(timeout.total_seconds())

    def close(self) -> None:
        self._producer.close(CLOSE_TIMEOUT)
        self._suspects.close(CLOSE_TIMEOUT)

    def _send_alone(self, record: Outgoing, timeout: timedelta) -> RecordPosition:
        with self._one_suspect, kafka_errors_told_apart():
            return _position(_send(self._suspects, record).get(timeout.total_seconds()))


def _send(producer: ReplaceableProducer, record: Outgoing) -> Any:
    """kafka-python's future of the record.

    Raises:
        StoreRefused, StoreUnavailable: it did not set out.
    """
    if record.key is None and record.value is None:
        raise StoreRefused("kafka", "key and value: both are missing, a record needs one of them")
    with kafka_errors_told_apart():
        return producer.live().send(
            record.topic,
            key=record.key,
            value=record.value,
            headers=wire_headers(record.headers),
            partition=record.partition,
            timestamp_ms=record.timestamp_ms,
        )


def wire_headers(headers: Headers) -> list[tuple[str, bytes]]:
    """As kafka-python sends them: names of any bytes, and an empty value for none."""
    return [(_WireName(name), value or b"") for name, value in headers]


class _WireName(str):
    """A header's name that kafka-python encodes to the bytes that it was read from."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "surrogateescape") -> bytes:  # noqa: ARG002
        return super().encode(encoding, "surrogateescape")


def _position(metadata: Any) -> RecordPosition:
    return RecordPosition(metadata.partition, metadata.offset)
