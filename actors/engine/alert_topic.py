"""The alert topic as it is now, and a sink for each of its partitions.

    look → a new partition gets a sink; a topic that was made again gets new sinks, the old end is on record

Never: reading (each sink does); leaving a life of the topic without a row in the ledger.
"""

import logging
from collections.abc import Callable

from actors.engine.sink import Sink
from ray_fraud.domain import progress_metrics
from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.ledger.port import END_OF_LOG, DataGap, Ledger
from ray_fraud.stores.log.port import LogAdmin
from ray_fraud.telemetry.meter import Meter

logger = logging.getLogger(__name__)


class AlertTopic:
    """One thread drives it."""

    def __init__(
        self,
        topic: str,
        admin: LogAdmin,
        ledger: Ledger,
        open_sink: Callable[[PartitionId], Sink],
        meter: Meter,
    ) -> None:
        self._topic = topic
        self._admin = admin
        self._ledger = ledger
        self._open_sink = open_sink
        self._meter = meter
        self._sinks: dict[PartitionId, Sink] = {}
        self._dead_letters = 0
        meter.count(progress_metrics.TOPICS_REPLACED, 0, topic="fraud_alerts")
        meter.count(progress_metrics.TOPIC_CUT_OFFS, 0, topic="fraud_alerts")

    @property
    def sinks(self) -> list[Sink]:
        """One for each partition that the last look found."""
        return list(self._sinks.values())

    @property
    def dead_letters(self) -> int:
        """Of all sinks since the process began."""
        return self._dead_letters + sum(sink.dead_letters for sink in self._sinks.values())

    def look(self) -> None:
        """Follows the topic; costs two round trips.

        Raises:
            StoreError: nothing is lost; look again.
        """
        found = self._admin.ends(self._topic)
        left = [sink for sink in self._sinks.values() if sink.partition.topic_id != found.topic_id]
        if left:
            self._leave(left, found.topic_id)
        cluster_id = self._admin.cluster_id()
        followed = bool(self._sinks)
        for number in sorted(found.ends):
            partition = PartitionId(cluster_id, found.topic_id, number)
            if partition not in self._sinks:
                if followed:
                    logger.warning("alert topic %r: reading its new partition %d, too", self._topic, number)
                self._sinks[partition] = self._open_sink(partition)

    def close(self) -> None:
        """Closes every sink's reader."""
        for sink in self._sinks.values():
            sink.close()

    def _leave(self, sinks: list[Sink], topic_id: str) -> None:
        """The old life ends, on record first: if that fails, the next look does it."""
        reason = f"topic {self._topic!r} was made again; what the sink had not read is on no topic any more"
        for sink in sinks:
            self._ledger.record_sink_gap(DataGap(sink.partition, sink.next_offset, END_OF_LOG, reason))
        self._meter.count(progress_metrics.TOPICS_REPLACED, topic="fraud_alerts")
        logger.error(
            "alert topic %r was made again: id %s, before %s; following the new one from its beginning. "
            "Alerts that were only in the old one are gone: see data_gap",
            self._topic,
            topic_id,
            sinks[0].partition.topic_id,
        )
        for sink in sinks:
            self._dead_letters += sink.dead_letters
            del self._sinks[sink.partition]
            sink.close()
