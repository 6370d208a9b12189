"""The ground truth as topic `transaction_labels` holds it, from its first record on.

Never: for detection; a position that is kept (each run reads from the start).
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import timedelta

import msgspec

from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.connections import Connections
from ray_fraud.stores.log.damage import DamageTries
from ray_fraud.stores.log.kafka_admin import KafkaLogAdmin
from ray_fraud.stores.log.kafka_reader import KafkaLogReader
from ray_fraud.stores.log.port import LogDamaged, LogGap, LogReader

logger = logging.getLogger(__name__)

POLL_RECORDS = 10_000
POLL_TIMEOUT = timedelta(seconds=1)


class Truth(msgspec.Struct, frozen=True, gc=False):
    """What is read of a label; the scenario tells nothing more to an analyst."""

    transaction_id: str
    user_id: int
    is_fraud: bool
    timestamp: float
    """Event time of the transaction, unix seconds."""


_decode = msgspec.json.Decoder(Truth).decode


def open_label_log(connections: Connections) -> "LabelLog":
    """The topic of these servers.

    Raises:
        StoreUnavailable, StoreRefused: no broker, or no such topic.
    """
    topic = connections.topics.labels
    with closing(KafkaLogAdmin(connections.kafka)) as admin:
        cluster_id, topic_id = admin.cluster_id(), admin.topic_id(topic)
        partitions = range(admin.partition_count(topic))
    readers: list[LogReader] = []
    try:
        readers.extend(
            KafkaLogReader(connections.kafka, topic, PartitionId(cluster_id, topic_id, number))
            for number in partitions
        )
    except BaseException:
        LabelLog(readers).close()
        raise
    return LabelLog(readers)


class LabelLog:
    """All partitions; not for use by two threads at once."""

    def __init__(self, readers: Sequence[LogReader]) -> None:
        self._readers = readers
        self._tries = {reader.partition.partition: DamageTries() for reader in readers}
        for reader in readers:
            reader.seek(0)

    def to_the_end(self) -> Iterator[Truth]:
        """The labels between the last call and the topic's present end; a record that is none is passed over.

        Raises:
            StoreUnavailable: the next call goes on from there.
        """
        for reader in self._readers:
            end = reader.bounds().end
            while reader.position() < end:
                yield from self._poll(reader)

    def _poll(self, reader: LogReader) -> Iterator[Truth]:
        try:
            records = reader.poll(POLL_RECORDS, POLL_TIMEOUT)
        except LogGap as gap:
            # Labels that retention took: their transactions count as ordinary ones.
            logger.warning("labels of partition %d: %s", reader.partition.partition, gap)
            reader.seek(gap.to_offset)
            return
        except LogDamaged as damage:
            if not self._tries[reader.partition.partition].again(damage):
                logger.error("labels: %s; their transactions count as ordinary ones", damage)  # noqa: TRY400
                reader.seek(damage.to_offset)
            return
        for record in records:
            try:
                yield _decode(record.value or b"")
            except msgspec.MsgspecError as error:
                place = (reader.partition.partition, record.offset)
                logger.warning("label at partition %d, offset %d: %s", *place, error)

    def close(self) -> None:
        """Repeating it is harmless."""
        for reader in self._readers:
            reader.close()
