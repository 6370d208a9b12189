"""Making the effects of a micro-batch durable: dead letters, then alerts, then nothing else.

The alert topic decides: an offset counts as settled when its alerts are acknowledged there. The
insert into PostgreSQL runs beside it, for speed; if it fails the sink repairs it from the topic.

What a topic refuses (a right was taken away, a limit is too small for any alert) waits for an operator: the
partition stands, each attempt is counted and logged, and what the topic did take is not sent again.

Never: moving state; dropping an effect because a store is down or refuses it.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from uuid import UUID

import msgspec

from actors.engine.dead_letters import DeadLetterSender
from actors.engine.ports import Ports
from ray_fraud.domain import metrics, progress_metrics
from ray_fraud.domain.alert import Alert
from ray_fraud.domain.metrics import Component
from ray_fraud.domain.rejection import DeadLetter
from ray_fraud.stores.errors import SlowDown, StoreRefused, StoreUnavailable
from ray_fraud.stores.ledger.port import Ownership
from ray_fraud.stores.log.port import Pending

logger = logging.getLogger(__name__)

ACK_TIMEOUT = timedelta(seconds=10)
POSTGRES_PAUSE_SECONDS = 1.0
NO_WAIT = timedelta()


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
        self._dead_letters = DeadLetterSender(
            ports.writer, ports.topics.dead_letters, ports.topics.transactions, own.partition.partition
        )
        self._acknowledged: set[UUID] = set()

    def publish(self, alerts: Sequence[Alert], dead_letters: Sequence[DeadLetter]) -> None:
        """Returns when every effect is acknowledged by the topics.

        Raises:
            StoreUnavailable: Kafka does not acknowledge; repeat the call with the same effects.
            Fenced: a newer owner exists; end the process.
        """
        try:
            self._dead_letters.publish(dead_letters)
        except StoreRefused as error:
            raise self._stalled("dead_letter", self._ports.topics.dead_letters, error) from error
        left = [alert for alert in alerts if alert.alert_uid not in self._acknowledged]
        if left:
            pending = [self._send_alert(alert) for alert in left]
            self._insert(left)
            try:
                self._wait(left, pending)
            except StoreRefused as error:
                raise self._stalled("alert", self._ports.topics.alerts, error) from error
        self._dead_letters.forget()
        self._acknowledged.clear()

    def _stalled(self, effect: str, topic: str, error: StoreRefused) -> StoreUnavailable:
        """A refusal is for the operator to mend; the partition waits for that, and nothing is dropped."""
        self._ports.meter.count(progress_metrics.REFUSED_EFFECTS, effect=effect)
        return StoreUnavailable(
            "kafka",
            f"topic {topic!r} refuses what must not be lost; mend the topic or its rights: {error.message}",
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

    def _wait(self, alerts: Sequence[Alert], pending: Sequence[Pending]) -> None:
        """Waits for each; one that fails keeps none of the others from counting as acknowledged."""
        failure: StoreUnavailable | SlowDown | StoreRefused | None = None
        for alert, one in zip(alerts, pending, strict=True):
            try:
                one.wait(ACK_TIMEOUT if failure is None else NO_WAIT)
                self._acknowledged.add(alert.alert_uid)
            except (StoreUnavailable, SlowDown, StoreRefused) as error:
                failure = failure or error
        if failure is not None:
            raise failure

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
