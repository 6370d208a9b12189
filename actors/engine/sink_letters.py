"""Dead letters of the sink: what stands in topic `fraud_alerts` and is no alert of ours.

They go to the dead-letter topic of the platform, told apart by their header `dlq.topic`.

Never: returning before the broker has them; giving one up because it is too large.
"""

import logging
from collections.abc import Sequence

from actors.engine.dead_letters import DeadLetterSender
from ray_fraud.domain import metrics
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.rejection import DeadLetter
from ray_fraud.stores.connections import Topics
from ray_fraud.stores.log.port import LogWriter
from ray_fraud.telemetry.meter import Meter

logger = logging.getLogger(__name__)


class SinkLetters:
    """Sends the dead letters of one alert topic."""

    def __init__(self, writer: LogWriter, topics: Topics, meter: Meter) -> None:
        self._writer = writer
        self._topics = topics
        self._meter = meter
        self._senders: dict[PartitionId, DeadLetterSender] = {}
        """By partition of one life of the topic: another life gives the same offsets to other records."""

    def forget(self, partition: PartitionId) -> None:
        """Its offsets are other records' from now on: what was acknowledged of them says nothing."""
        self._senders.pop(partition, None)

    def send(self, dead_letters: Sequence[DeadLetter], partition: PartitionId) -> None:
        """Returns when the dead-letter topic has all of them; repeating it sends only what it does not have.

        Raises:
            StoreUnavailable: not acknowledged in time.
            StoreRefused: the broker takes not even the smallest form.
        """
        sender = self._senders.get(partition)
        if sender is None:
            topics = self._topics
            sender = DeadLetterSender(self._writer, topics.dead_letters, topics.alerts, partition.partition)
            self._senders[partition] = sender
        sender.publish(dead_letters)
        sender.forget()
        for dead in dead_letters:
            where = f"alert topic {partition} offset {dead.record.offset}"
            self._meter.count(metrics.DEAD_LETTERS, code=dead.rejection.code)
            logger.error("%s: dead letter: %s", where, dead.rejection.message)
