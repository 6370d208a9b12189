"""Making the effects of a micro-batch durable: dead letters, then alerts, then nothing else.

The alert topic decides: an offset counts as settled when its alerts are acknowledged there. The
insert into PostgreSQL runs beside it, for speed; if it fails the sink repairs it from the topic.

Never: moving state; dropping an effect because a store is down.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import timedelta

import msgspec

from actors.engine.ports import Ports
from ray_fraud.domain import metrics
from ray_fraud.domain.alert import Alert
from ray_fraud.domain.dead_letter import DlqValue, dlq_headers, dlq_value
from ray_fraud.domain.metrics import Component
from ray_fraud.domain.rejection import DeadLetter
from ray_fraud.stores.errors import SlowDown, StoreRefused, StoreUnavailable
from ray_fraud.stores.ledger.port import Ownership
from ray_fraud.stores.log.port import Pending

logger = logging.getLogger(__name__)

ACK_TIMEOUT = timedelta(seconds=10)
POSTGRES_PAUSE_SECONDS = 1.0
DEAD_LETTER_LIMIT_BYTES = 1_048_576 + 65_536
"""The input's limit and 64 KiB for headers."""


class Publisher:
    """Publishes under one ownership."""

    def __init__(self, ports: Ports, own: Ownership, clock: Callable[[], float]) -> None:
        self._ports = ports
        self._own = own
        self._clock = clock
        self._postgres_down_until = float("-inf")
        self._epoch = str(own.epoch).encode()
        self._partition = str(own.partition.partition).encode()
        self._topic_id = own.partition.topic_id.encode()

    def publish(self, alerts: Sequence[Alert], dead_letters: Sequence[DeadLetter]) -> None:
        """Returns when every effect is acknowledged by the topics.

        Raises:
            StoreUnavailable: Kafka does not acknowledge; repeat the whole call.
            Fenced: a newer owner exists; end the process.
        """
        self._wait([self._send_dead_letter(dead) for dead in dead_letters])
        if not alerts:
            return
        pending = [self._send_alert(alert) for alert in alerts]
        self._insert(alerts)
        self._wait(pending)

    def _send_dead_letter(self, dead: DeadLetter) -> Pending:
        topics = self._ports.topics
        record = dead.record
        value = dlq_value(record.value, DEAD_LETTER_LIMIT_BYTES)
        if value.value is None and record.key is None:
            # A topic can hold a record without key and value, but our client refuses to send one.
            value = DlqValue(b"", (("dlq.value.null", b"true"),))
        headers = dlq_headers(dead, topics.transactions, self._own.partition.partition)
        return self._ports.writer.send(
            topics.dead_letters, key=record.key, value=value.value, headers=headers + value.headers
        )

    def _send_alert(self, alert: Alert) -> Pending:
        return self._ports.writer.send(
            self._ports.topics.alerts,
            key=str(alert.user_id).encode(),
            value=msgspec.json.encode(alert),
            headers=(
                ("epoch", self._epoch),
                ("partition", self._partition),
                ("offset", str(alert.offset).encode()),
                ("topic_id", self._topic_id),
            ),
        )

    def _wait(self, pending: list[Pending]) -> None:
        for one in pending:
            one.wait(ACK_TIMEOUT)

    def _insert(self, alerts: Sequence[Alert]) -> None:
        if self._clock() < self._postgres_down_until:
            return
        try:
            result = self._ports.alert_ledger.insert_hot_alerts(self._own, alerts)
            for invalid in result.invalid:
                logger.error("alert %s can never be stored: %s", invalid.alert_uid, invalid.reason)
        except (StoreUnavailable, SlowDown, StoreRefused) as error:
            self._postgres_down_until = self._clock() + POSTGRES_PAUSE_SECONDS
            self._ports.meter.count(metrics.ERRORS, component=Component.POSTGRES)
            logger.warning("partition %s: alerts only on the topic for now: %s", self._own.partition, error)
