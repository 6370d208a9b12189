"""The sink: topic `fraud_alerts` → PostgreSQL, always running, so that both hold the same alerts.

What the owners inserted already is there by its uid; what they could not insert (PostgreSQL away, a
reply lost) is repaired from the topic. Progress and rows commit together.

Never: changing an alert; believing one that an owner wrote after it was replaced (the ledger checks).
"""

import logging
from datetime import timedelta

import msgspec

from ray_fraud.domain.alert import Alert
from ray_fraud.domain.record import PartitionId, Record
from ray_fraud.stores.ledger.port import Ledger, SinkProgress, SinkResult, TopicAlert
from ray_fraud.stores.log.port import LogGap, LogReader

logger = logging.getLogger(__name__)

MAX_RECORDS = 500
_DECODER = msgspec.json.Decoder(Alert)


class Sink:
    """Reads one partition of the alert topic. One thread drives it."""

    def __init__(self, ledger: Ledger, reader: LogReader, cluster_id: str) -> None:
        self._ledger = ledger
        self._reader = reader
        self._cluster_id = cluster_id
        self._positioned = False
        self._next_offset = 0

    @property
    def behind(self) -> bool:
        """Whether, as far as is known, more alerts wait behind those of the last step that found some."""
        end = self._reader.end_offset()
        return end is not None and self._next_offset < end

    def step(self, timeout: timedelta) -> SinkResult | None:
        """Stores the next alerts; None if there were none within the timeout.

        Raises:
            StoreUnavailable: nothing is lost; call again.
        """
        try:
            if not self._positioned:
                self._position()
            records = self._reader.poll(MAX_RECORDS, timeout)
            if not records:
                return None
            alerts = [alert for record in records if (alert := self._read(record)) is not None]
            progress = SinkProgress(self._reader.partition, records[-1].offset + 1)
            result = self._ledger.insert_from_topic(alerts, progress)
            self._next_offset = progress.next_offset
        except LogGap as gap:
            logger.error("alert topic %s: %s; the owners inserted most of them", self._reader.partition, gap)  # noqa: TRY400
            self._reader.seek(gap.to_offset)
            return None
        except BaseException:
            self._positioned = False
            raise
        for invalid in result.invalid:
            logger.error("alert %s can never be stored: %s", invalid.alert_uid, invalid.reason)
        return result

    def _position(self) -> None:
        progress = self._ledger.sink_progress(self._reader.partition)
        self._reader.seek(self._reader.bounds().start if progress is None else progress)
        self._positioned = True

    def _read(self, record: Record) -> TopicAlert | None:
        try:
            headers = {name: value or b"" for name, value in record.headers}
            partition = PartitionId(
                self._cluster_id, headers["topic_id"].decode(), _number(headers["partition"])
            )
            alert = _DECODER.decode(record.value or b"")
            return TopicAlert(alert, partition, _number(headers["epoch"]))
        except (KeyError, ValueError, msgspec.MsgspecError) as error:
            # Somebody else wrote to our topic; our own alerts always read back.
            where = f"alert topic {self._reader.partition} offset {record.offset}"
            logger.error("%s: not an alert: %s", where, error)  # noqa: TRY400 - a stack trace tells no more
            return None


def _number(header: bytes) -> int:
    """A partition or an epoch; the narrower of their database columns has 31 bits.

    Raises:
        ValueError: it is neither.
    """
    number = int(header.decode())
    if not 0 <= number < 2**31:
        raise ValueError(f"{number} is neither a partition nor an epoch")
    return number
