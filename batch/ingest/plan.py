"""What one ingest has to read: ranges of offsets, cut into slices, and what is gone.

Never: I/O, a clock.
"""

from collections.abc import Mapping, Sequence

import msgspec

from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.timeline import ControlEvent, Quarantine
from ray_fraud.stores.log.port import LogBounds
from ray_fraud.stores.tables.port import LogGapRow

SLICE_RECORDS = 50_000
"""Offsets that one task reads: a second or two of work, and a file of some megabytes."""
COMMIT_RECORDS = 1_000_000
"""Offsets of one commit at most; a longer backlog takes several."""


class Slice(msgspec.Struct, frozen=True):
    """Offsets `[from_offset, to_offset)` of one partition."""

    partition: PartitionId
    from_offset: int
    to_offset: int
    settings: tuple[ControlEvent, ...] = ()
    """The settings events of the partition: a record is accepted under those of its offset."""
    leader_epoch: int = -1
    """Of the record before `from_offset`: a log that was cut off below is a gap. -1: not known."""
    unreadable: tuple[Quarantine, ...] = ()
    """What the hot path passed over because it cannot be read, or kills whoever unpacks it."""


class Plan(msgspec.Struct, frozen=True):
    ranges: Sequence[Slice]
    """At most one per partition: what this commit covers."""
    slices: Sequence[Slice]
    """The ranges in pieces, in the order of offsets, partitions in turn."""
    gaps: Sequence[LogGapRow]
    complete: bool
    """Whether the ranges reach the log's ends; else there is more to do."""
    to_read: int
    """Offsets up to the log's ends, those of later commits included."""


def plan_ingest(
    topic: str,
    bounds: Mapping[PartitionId, LogBounds],
    positions: Mapping[PartitionId, int],
    known: Sequence[tuple[str, PartitionId, int]],
    *,
    noticed_ms: int,
    slice_records: int = SLICE_RECORDS,
    commit_records: int = COMMIT_RECORDS,
) -> Plan:
    """Everything between the committed positions and the log's ends.

    Args:
        bounds: of every partition of the topic's present life.
        positions: next offsets that are committed; none for a partition that never was.
        known: (topic, partition, next offset) of all that was ever committed.
        noticed_ms: for gaps, unix milliseconds.
    """
    gaps = [
        LogGapRow(life, topic, next_offset, None, "the topic was made again", noticed_ms)
        for name, life, next_offset in known
        if name == topic and _over(life, bounds)
    ]
    share = max(1, commit_records // max(1, len(bounds)))
    ranges = []
    complete, to_read = True, 0
    for partition, (start, end) in sorted(bounds.items()):
        position = positions.get(partition, 0)
        if start > position:
            gaps.append(
                LogGapRow(
                    partition, topic, position, start, "the log starts above the last commit", noticed_ms
                )
            )
        if position > end:
            # The log was cut short and its offsets are given anew: they cannot be told from those committed.
            gaps.append(
                LogGapRow(partition, topic, position, end, "the log ends below the last commit", noticed_ms)
            )
            continue
        begin = max(start, position)
        until = min(end, begin + share)
        complete &= until == end
        to_read += end - begin
        if until > begin:
            ranges.append(Slice(partition, begin, until))
    return Plan(ranges, _slices(ranges, slice_records), gaps, complete, to_read)


def _over(life: PartitionId, bounds: Mapping[PartitionId, LogBounds]) -> bool:
    """Whether its cluster has another life of the topic now, be it of fewer partitions."""
    lives = {(now.cluster_id, now.topic_id) for now in bounds}
    return any(life.cluster_id == cluster for cluster, _ in lives) and life[:2] not in lives


def _slices(ranges: Sequence[Slice], slice_records: int) -> list[Slice]:
    pieces = [
        (
            begin - whole.from_offset,
            Slice(whole.partition, begin, min(begin + slice_records, whole.to_offset)),
        )
        for whole in ranges
        for begin in range(whole.from_offset, whole.to_offset, slice_records)
    ]
    return [piece for _, piece in sorted(pieces, key=lambda pair: pair[0])]
