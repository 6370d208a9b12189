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
from ray_fraud.domain.record import PartitionId, Record
from ray_fraud.domain.rejection import DeadLetter, Rejection, RejectionCode
from ray_fraud.stores.ledger.port import DataGap, InvalidAlert, Ledger, SinkProgress, SinkResult, TopicAlert
from ray_fraud.stores.ledger.validity import why_invalid
from ray_fraud.stores.log.damage import DamageTries
from ray_fraud.stores.log.port import LogDamaged, LogGap, LogReader

logger = logging.getLogger(__name__)

MAX_RECORDS = 500
LOST = "the topic lost these alerts before the sink read them; the owners inserted most of them"

Read = tuple[Record, TopicAlert]


class Sink:
    """Reads one partition of the alert topic. One thread drives it."""

    def __init__(self, ledger: Ledger, reader: LogReader, letters: SinkLetters) -> None:
        self._ledger = ledger
        self._reader = reader
        self._letters = letters
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
            progress = SinkProgress(self._reader.partition, records[-1].offset + 1)
            result = self._store(self._read(records), progress)
            self._next_offset = progress.next_offset
        except LogGap as gap:
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
        self._next_offset = self._reader.bounds().start if progress is None else progress
        self._reader.seek(self._next_offset)
        self._positioned = True

    def _pass(self, gap: LogGap, reason: str = LOST) -> None:
        """Goes on where the log does, after the gap is on record."""
        low, high = sorted((gap.from_offset, gap.to_offset))
        self._positioned = False
        if gap.to_offset < gap.from_offset:
            # Offsets are given anew, and progress in the ledger never goes back: all is read again.
            reason = "the topic was cut short"
            self._next_offset = self._reader.bounds().start
        else:
            self._next_offset = gap.to_offset
        self._ledger.record_sink_gap(DataGap(self._reader.partition, low, high, reason))
        logger.error("alert topic %s: offsets %d to %d: %s", self._reader.partition, low, high, reason)
        self._reader.seek(self._next_offset)
        self._positioned = True

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
