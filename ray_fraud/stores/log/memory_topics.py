"""What the broker in memory keeps: topics of partitions, and what can be wrong with these.

Never: an I/O step; the clients of `memory` take those.
"""

from dataclasses import dataclass

from ray_fraud.domain.record import Headers, Record
from ray_fraud.stores.log.port import EpochEnd
from ray_fraud.stores.log.topic_policy import TopicPolicy


@dataclass(slots=True)
class Damage:
    """Offsets `[from_offset, to_offset)` that cannot be read, `reads` times or for ever."""

    from_offset: int
    to_offset: int
    cause: str
    reads: int | None


class PartitionLog:
    """The records of one partition that still exist, ordered by offset, perhaps with holes."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.start = 0
        self.end = 0
        self.epochs = [(0, 0)]
        """Leader epochs with the offset at which each began, ascending."""

        self.open_from: int | None = None
        """First offset of an open transaction: committed records end before it."""
        self.damage: list[Damage] = []
        self.killers: list[tuple[int, int]] = []

    @property
    def committed_end(self) -> int:
        return self.end if self.open_from is None else self.open_from

    def append(self, timestamp_ms: int, key: bytes | None, value: bytes | None, headers: Headers) -> int:
        offset = self.end
        self.records.append(Record(offset, timestamp_ms, key, value, headers))
        self.end += 1
        return offset

    def from_offset(self, offset: int, count: int) -> list[Record]:
        low, high = 0, len(self.records)
        while low < high:
            middle = (low + high) // 2
            if self.records[middle].offset < offset:
                low = middle + 1
            else:
                high = middle
        return self.records[low : low + count]

    def truncate(self, end: int) -> None:
        """Loses everything from `end` on; the new leader's epoch begins there."""
        self.end = max(end, self.start)
        self.records = [record for record in self.records if record.offset < self.end]
        self.elect()

    def elect(self) -> None:
        """A new leader, whose epoch begins at the log's end."""
        epoch = self.epochs[-1][0] + 1
        self.epochs = [*((e, start) for e, start in self.epochs if start < self.end), (epoch, self.end)]

    def epoch_at(self, offset: int) -> int:
        """The leader epoch of the record at `offset`, or of the next one there; -1 below the log."""
        return max((epoch for epoch, start in self.epochs if start <= offset), default=-1)

    def end_of_epoch(self, leader_epoch: int) -> EpochEnd | None:
        """As a broker answers OffsetForLeaderEpoch."""
        if leader_epoch == self.epochs[-1][0]:
            return EpochEnd(leader_epoch, self.end)
        ends = [start for epoch, start in self.epochs if epoch > leader_epoch]
        if not ends:
            return None
        older = [epoch for epoch, _ in self.epochs if epoch <= leader_epoch]
        return EpochEnd(older[-1] if older else leader_epoch, ends[0])


class Topic:
    def __init__(self, topic_id: str, partitions: int, max_record_bytes: int) -> None:
        self.topic_id = topic_id
        self.max_record_bytes = max_record_bytes
        self.logs = [PartitionLog() for _ in range(partitions)]
        self.policy = TopicPolicy()
