"""Re-keying: one partition of the producers' topic → the partitions of its records' users, exactly once.

    take over → look how far it is → [poll → append records and progress as one]*

Records and progress become readable together or not at all, and an earlier writer that still lives is fenced
before the progress is read. So whatever ends a life and wherever, each record is there once.

Never: a record dropped, a change of its value or time; waiting, retrying (the shell does).
"""

import logging
from collections.abc import Sequence
from datetime import timedelta

import msgspec

from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.placement import partition_of_key
from ray_fraud.domain.record import Headers, Record
from ray_fraud.domain.rejection import Rejection
from ray_fraud.stores.connections import Topics
from ray_fraud.stores.cut_offs import cut_off_below
from ray_fraud.stores.errors import StoreUnavailable
from ray_fraud.stores.ledger.port import CutOff
from ray_fraud.stores.log.port import Append, AtomicWriter, LogDamaged, LogGap, LogReader

logger = logging.getLogger(__name__)

MAX_RECORDS = 1_000
DAMAGE_ATTEMPTS = 3
TAIL_OFFSETS = 16
"""So far before the end the newest progress is looked for first; an append takes two offsets there."""
TAIL_TIMEOUT = timedelta(seconds=1)
TAIL_POLLS = 30


class Progress(msgspec.Struct, frozen=True):
    """How far the producers' topic is in the keyed one."""

    topic_id: str
    """Of the life of the producers' topic; another one begins at its start."""
    next_offset: int
    leader_epoch: int = -1
    """Of the record before: a topic that was cut off and has grown again is noticed. -1: not known."""


class Lost(msgspec.Struct, frozen=True):
    """Offsets that never came; as the value of a record it breaks the contract, so it is a dead letter."""

    rekey_lost_from: int
    rekey_lost_to: int
    rekey_cause: str


class Rekeyer:
    """Of one partition. One thread drives it."""

    def __init__(
        self, topics: Topics, reader: LogReader, progress: LogReader, writer: AtomicWriter, decoder: Decoder
    ) -> None:
        """`reader`: of the producers' topic; `progress`: of the same partition of the progress topic."""
        self._topics = topics
        self._reader = reader
        self._progress = progress
        self._writer = writer
        self._decode = decoder.decode
        self._number = reader.partition.partition
        self._positioned = False
        self._damaged_attempts = 0
        self.lost = 0
        """Offsets that were gone or unreadable, in this life."""
        self.cut_offs = 0
        """Times in this life that the topic was found to have lost what was brought over."""

    @property
    def lag(self) -> int | None:
        """Records that wait, as far as the newest poll knows; None before it."""
        end = self._reader.end_offset()
        return None if end is None or not self._positioned else max(0, end - self._reader.position())

    def step(self, timeout: timedelta) -> int:
        """Brings the next records over; how many.

        Raises:
            Fenced: a later life took over; end this one.
            StoreError: nothing is lost or doubled; call again.
        """
        try:
            if not self._positioned:
                self._position()
            return self._step(timeout)
        except BaseException:
            self._positioned = False
            raise

    def close(self) -> None:
        for part in (self._writer, self._reader, self._progress):
            part.close()

    def _position(self) -> None:
        self._writer.take_over()
        newest = self._newest_progress()
        own = self._reader.partition.topic_id
        if newest is not None and newest.topic_id == own:
            lost = cut_off_below(self._reader, newest.next_offset, newest.leader_epoch)
            if lost is None:
                self._reader.seek(newest.next_offset, newest.leader_epoch)
            else:
                self._go_back(lost)
        else:
            begin = self._reader.bounds().start
            logger.info("re-keying partition %d of %s begins at offset %d", self._number, own, begin)
            self._reader.seek(begin)
        self._positioned = True

    def _newest_progress(self) -> Progress | None:
        bounds = self._progress.bounds()
        tail = TAIL_OFFSETS
        while True:
            begin = max(bounds.start, bounds.end - tail)
            newest = self._newest_between(begin, bounds.end)
            if newest is not None or begin == bounds.start:
                return newest
            tail *= TAIL_OFFSETS

    def _newest_between(self, begin: int, end: int) -> Progress | None:
        newest: Record | None = None
        self._progress.seek(begin)
        for _ in range(TAIL_POLLS):
            if self._progress.position() >= end:
                break
            for record in self._progress.poll(MAX_RECORDS, TAIL_TIMEOUT):
                newest = record
        else:
            raise StoreUnavailable("kafka", f"topic {self._topics.rekey_progress!r} was not read to its end")
        return None if newest is None else msgspec.json.decode(newest.value or b"", type=Progress)

    def _step(self, timeout: timedelta) -> int:
        try:
            records = self._reader.poll(MAX_RECORDS, timeout)
        except LogGap as gap:
            if gap.to_offset < gap.from_offset:
                lost = cut_off_below(self._reader, gap.from_offset, self._reader.leader_epoch())
                return self._go_back(lost or CutOff(gap.to_offset, gap.from_offset, -1))
            return self._declare(
                gap.from_offset, gap.to_offset, "the topic lost these records", gap.to_offset
            )
        except LogDamaged as damage:
            self._damaged_attempts += 1
            if self._damaged_attempts < DAMAGE_ATTEMPTS:
                raise
            return self._declare(damage.from_offset, damage.to_offset, str(damage), damage.to_offset)
        self._damaged_attempts = 0
        if records:
            keyed = [self._keyed(record) for record in records]
            self._append(keyed, self._reader.position(), self._reader.leader_epoch())
        return len(records)

    def _go_back(self, lost: CutOff) -> int:
        """Goes on where the topic was cut off; what it lost stays where it was brought to."""
        cause = f"the topic was cut off at {lost.offset}: other records have these offsets, or will have them"
        self.cut_offs += 1
        return self._declare(lost.offset, lost.lost_to, cause, lost.offset, lost.leader_epoch)

    def _declare(
        self, lost_from: int, lost_to: int, cause: str, next_offset: int, leader_epoch: int = -1
    ) -> int:
        """Goes on at `next_offset`, with a dead letter on record that tells what is lost."""
        logger.error("re-keying partition %d: offsets %d to %d: %s", self._number, lost_from, lost_to, cause)
        value = msgspec.json.encode(Lost(lost_from, lost_to, cause))
        marker = Append(self._topics.transactions, self._elsewhere, None, value, self._origin(lost_from))
        self._append([marker], next_offset, leader_epoch)
        self._reader.seek(next_offset, leader_epoch)
        self._damaged_attempts = 0
        self.lost += lost_to - lost_from
        return 0

    def _append(self, records: Sequence[Append], next_offset: int, leader_epoch: int) -> None:
        progress = Progress(self._reader.partition.topic_id, next_offset, leader_epoch)
        value = msgspec.json.encode(progress)
        self._writer.append([*records, Append(self._topics.rekey_progress, self._number, None, value)])

    @property
    def _elsewhere(self) -> int:
        """For what has no user."""
        return self._number % self._topics.partitions

    def _keyed(self, record: Record) -> Append:
        decoded = self._decode(record.value)
        headers = record.headers + self._origin(record.offset)
        if isinstance(decoded, Rejection):
            key, partition = record.key, self._elsewhere
        else:
            text = decoded.user_text
            key = b"%d" % decoded.user_id if text is None else text.encode()
            partition = partition_of_key(key, self._topics.partitions)
            if record.key is not None and record.key != key:
                headers = (*headers, ("rekey.key", record.key))
        if record.cut is not None:
            sizes = (record.cut.value_size, record.cut.value_sha256.hex())
            headers = (*headers, ("rekey.whole_value", "{} bytes, SHA-256 {}".format(*sizes).encode()))
        # A client refuses to send a record without key and value, which a log can hold.
        value = b"" if key is None and record.value is None else record.value
        # A producer without a clock writes -1, which no client sends on.
        stamp = max(0, record.timestamp_ms)
        return Append(self._topics.transactions, partition, key, value, headers, stamp)

    def _origin(self, offset: int) -> Headers:
        own = self._reader.partition
        return (
            ("rekey.topic_id", own.topic_id.encode()),
            ("rekey.partition", str(own.partition).encode()),
            ("rekey.offset", str(offset).encode()),
        )


def rekeyer_name(topic_id: str, partition: int) -> str:
    """Under which one life at a time may write."""
    return f"ray-fraud-rekey-{topic_id}-{partition}"
