"""The sink: topic `fraud_alerts` → PostgreSQL, always running, so that both hold the same alerts.

What the owners inserted already is there by its uid; what they could not insert (PostgreSQL away, a
reply lost) is repaired from the topic. Progress and rows commit together, after the dead letters of what is
no alert, or can never be stored, were acknowledged: no record is passed over without a trace.

Never: changing an alert; believing one that an owner wrote after it was replaced (the ledger checks).
"""

import logging
from collections.abc import Sequence
from datetime import timedelta

from actors.engine.alert_record import NotAnAlert, read_alert
from actors.engine.sink_letters import SinkLetters
from ray_fraud.domain.progress_metrics import TOPIC_CUT_OFFS
from ray_fraud.domain.record import PartitionId, Record
from ray_fraud.domain.rejection import DeadLetter, Rejection, RejectionCode
from ray_fraud.stores.cut_offs import cut_off_below
from ray_fraud.stores.ledger.port import (
    CutOff,
    DataGap,
    InvalidAlert,
    Ledger,
    SinkProgress,
    SinkResult,
    TopicAlert,
)
from ray_fraud.stores.ledger.validity import why_invalid
from ray_fraud.stores.log.damage import DamageTries
from ray_fraud.stores.log.port import LogDamaged, LogGap, LogReader
from ray_fraud.telemetry.meter import Meter

logger = logging.getLogger(__name__)

MAX_RECORDS = 500
UNKNOWN = -1
LOST = "the topic lost these alerts before the sink read them; the owners inserted most of them"

Read = tuple[Record, TopicAlert]


class Sink:
    """Reads one partition of the alert topic. One thread drives it."""

    def __init__(self, ledger: Ledger, reader: LogReader, letters: SinkLetters, meter: Meter) -> None:
        self._ledger = ledger
        self._reader = reader
        self._letters = letters
        self._meter = meter
        self._positioned = False
        self._tries = DamageTries()
        self._next_offset = 0
        self.dead_letters = 0
        """Records that were dead letters since the sink began."""

    @property
    def partition(self) -> PartitionId:
        """Of the alert topic."""
        return self._reader.partition

    @property
    def next_offset(self) -> int:
        """Below it everything is stored or a dead letter, as far as this process knows."""
        return self._next_offset

    @property
    def behind(self) -> bool:
        """Whether, as far as is known, more alerts wait behind those of the last step that found some."""
        end = self._reader.end_offset()
        return end is not None and self._next_offset < end

    def step(self, timeout: timedelta) -> SinkResult | None:
        """Stores the next alerts; None if there were none within the timeout.

        Raises:
            StoreUnavailable: nothing is lost; call again.
            TopicReplaced: the topic was made again; this sink has nothing to read any more.
        """
        try:
            if not self._positioned:
                self._position()
            records = self._reader.poll(MAX_RECORDS, timeout)
            if not records:
                return None
            next_offset = records[-1].offset + 1
            progress = SinkProgress(self._reader.partition, next_offset, self._reader.leader_epoch())
            result = self._store(self._read(records), progress)
            self._next_offset = progress.next_offset
        except LogGap as gap:
            if gap.to_offset < gap.from_offset:
                lost = cut_off_below(self._reader, gap.from_offset, self._reader.leader_epoch())
                self._go_back(lost or CutOff(gap.to_offset, gap.from_offset, -1))
            else:
                self._pass(gap)
            return None
        except LogDamaged as damage:
            if not self._tries.again(damage):
                cause = f"they cannot be read ({damage.cause}); the owners inserted most of them"
                self._pass(LogGap(damage.from_offset, damage.to_offset), cause)
            return None
        except BaseException:
            self._positioned = False
            raise
        return result

    def close(self) -> None:
        """Closes the reader."""
        self._reader.close()

    def _position(self) -> None:
        progress = self._ledger.sink_progress(self._reader.partition)
        if progress is None:
            self._seek(self._reader.bounds().start)
            return
        next_offset, leader_epoch = progress.next_offset, progress.leader_epoch
        lost = cut_off_below(self._reader, next_offset, leader_epoch)
        if lost is None:
            self._seek(next_offset, leader_epoch)
        else:
            self._go_back(lost)

    def _seek(self, offset: int, leader_epoch: int = -1) -> None:
        self._next_offset = offset
        self._reader.seek(offset, leader_epoch)
        self._positioned = True

    def _pass(self, gap: LogGap, reason: str = LOST) -> None:
        """Goes on where the log does, after the gap is on record."""
        self._positioned = False
        self._declare(DataGap(self._reader.partition, gap.from_offset, gap.to_offset, reason))
        self._seek(gap.to_offset)

    def _go_back(self, lost: CutOff) -> None:
        """Goes on where the topic was cut off: what was read above is other alerts' place now."""
        self._positioned = False
        at, leader_epoch = lost.offset, lost.leader_epoch
        if leader_epoch == UNKNOWN:
            # Somewhere at or below its end; inserts are idempotent, so all of it is read again.
            at = self._reader.bounds().start
        reason = f"the topic was cut off at {at}: other alerts have these offsets, or will have them"
        partition = self._reader.partition
        gap = DataGap(partition, at, max(at + 1, lost.lost_to), reason)
        self._declare(gap, SinkProgress(partition, at, leader_epoch))
        self._letters.forget(partition)
        self._meter.count(TOPIC_CUT_OFFS, topic="fraud_alerts")
        self._seek(at, leader_epoch)

    def _declare(self, gap: DataGap, back_to: SinkProgress | None = None) -> None:
        self._ledger.record_sink_gap(gap, back_to)
        logger.error(
            "alert topic %s: offsets %d to %d: %s", gap.partition, gap.from_offset, gap.to_offset, gap.reason
        )

    def _read(self, records: Sequence[Record]) -> list[Read]:
        """The alerts, once all that is none has become a dead letter."""
        alerts: list[Read] = []
        foreign: list[DeadLetter] = []
        for record in records:
            try:
                alerts.append((record, read_alert(record, self._reader.partition.cluster_id)))
            except NotAnAlert as error:
                foreign.append(DeadLetter(record, error.rejection))
        self._bury(foreign)
        return alerts

    def _store(self, alerts: list[Read], progress: SinkProgress) -> SinkResult:
        inserted = promoted = 0
        while True:
            result = self._ledger.insert_from_topic([alert for _, alert in alerts], progress)
            inserted, promoted = inserted + result.inserted, promoted + result.promoted
            if not result.invalid:
                return SinkResult(inserted, promoted, result.refused)
            # The others are stored, progress is not: it moves once these are dead letters.
            self._bury([_take(alerts, invalid) for invalid in result.invalid])

    def _bury(self, dead_letters: Sequence[DeadLetter]) -> None:
        if dead_letters:
            self._letters.send(dead_letters, self._reader.partition)
            self.dead_letters += len(dead_letters)


def _take(alerts: list[Read], invalid: InvalidAlert) -> DeadLetter:
    """Takes the alert that the ledger means out of `alerts`: of several with its uid the one that cannot be
    stored, or else the first."""
    places = [place for place, (_, read) in enumerate(alerts) if read.alert.alert_uid == invalid.alert_uid]
    place = next((place for place in places if why_invalid(alerts[place][1].alert)), places[0])
    record, _ = alerts.pop(place)
    rejection = Rejection(
        RejectionCode.NOT_AN_ALERT, "value", f"value: can never be stored: {invalid.reason}"
    )
    return DeadLetter(record, rejection)
