"""Finding the state to start from: Redis cut, else a snapshot in the lake, else nothing.

Never: trusting a cut or snapshot that its epoch had no right to write, or that fails its digest.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from actors.engine.ports import Ports
from actors.engine.take_over import TakenOver, timeline_of
from ray_fraud.domain.compaction import last_missing
from ray_fraud.domain.conversion import version_at
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.timeline import ControlEvent, last_seq
from ray_fraud.domain.watermark import NO_VOTES, Votes
from ray_fraud.stores.cut_offs import LogHistory
from ray_fraud.stores.cuts.port import CutHeader
from ray_fraud.stores.errors import StoreRefused, StoreUnavailable
from ray_fraud.stores.ledger.port import EpochRow, valid_until
from ray_fraud.stores.snapshots.port import SnapshotHeader

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Base:
    """A consistent state of one moment: the effect of all records below `next_offset`."""

    users: dict[int, bytes]
    next_offset: int
    watermark_ms: int
    votes: Votes
    digest: int
    events: tuple[ControlEvent, ...]
    cut: CutHeader | None
    """The cut that the state came from; None if Redis must be written anew."""
    snapshot_offset: int
    fold_version: int
    """Of the fold that made the state."""
    leader_epoch: int
    """Of the log's record before `next_offset`; -1: not known."""
    snapshot_seq: int = 0
    """Number of the last event that a durable snapshot has; 0: none is known."""


def find_base(
    ports: Ports, taken: TakenOver, epochs: list[EpochRow], life_start: int, timeline: list[ControlEvent]
) -> Base:
    """The valid base with the highest offset; one that is damaged or closed to us is passed over.

    It may be of an older fold version, if that one held up to its offset.

    Raises:
        StoreUnavailable: Redis broke off while users were read; try again.
    """
    partition = taken.own.partition
    header = taken.header
    believe = _Belief(epochs, taken.history, timeline, ports.fold.version)
    if header is not None and not believe(header, header.writer_epoch):
        header = None
    snapshot = _newest_snapshot(ports, partition, believe)
    if header is not None and (snapshot is None or header.next_offset >= snapshot.next_offset):
        try:
            return _from_cut(ports, partition, header, snapshot)
        except StoreRefused as error:
            logger.error("partition %s: cut refused, next rung of the ladder: %s", partition, error)  # noqa: TRY400
    if snapshot is not None:
        try:
            return _from_snapshot(ports, snapshot)
        except StoreRefused as error:
            logger.error("partition %s: snapshot refused, reading the log: %s", partition, error)  # noqa: TRY400
    return Base({}, life_start, 0, NO_VOTES, 0, (), None, life_start, ports.fold.version, -1)


@dataclass(frozen=True, slots=True)
class _Belief:
    """Whether a cut or snapshot may be believed: up to the next epoch's barrier, and of today's log.

    Its fold version must be the one that held when its last record was decided, or the one that holds for
    the next: a state that a failed upgrade left behind is neither, once the version before has gone on.
    """

    epochs: list[EpochRow]
    history: LogHistory
    timeline: list[ControlEvent]
    fold_version: int

    def __call__(self, header: CutHeader | SnapshotHeader, writer_epoch: int) -> bool:
        limit = valid_until(self.epochs, writer_epoch)
        offset = header.next_offset
        if limit is not None and offset > limit:
            return False
        # A state that contains records which the log has lost is not a function of this log.
        return self.history.holds(offset, header.leader_epoch) and self._is_of_its_time(header)

    def _is_of_its_time(self, header: CutHeader | SnapshotHeader) -> bool:
        offset, version = header.next_offset, header.fold_version
        timeline = timeline_of(self.timeline, header.events)
        held = [version_at(timeline, offset), version_at(timeline, offset - 1)]
        if held == [None, None]:
            return version == self.fold_version
        return version in held


def _newest_snapshot(ports: Ports, partition: PartitionId, believe: _Belief) -> SnapshotHeader | None:
    def is_valid(header: SnapshotHeader) -> bool:
        return believe(header, header.epoch)

    try:
        return ports.snapshots.newest_valid(partition, is_valid)
    except (StoreUnavailable, StoreRefused) as error:
        logger.warning("partition %s: lake not readable, no snapshot considered: %s", partition, error)
        return None


def _from_cut(
    ports: Ports, partition: PartitionId, header: CutHeader, snapshot: SnapshotHeader | None
) -> Base:
    # One of another fold version may be of an upgrade that failed, with an event that nobody recorded.
    found = 0
    if snapshot is not None and snapshot.fold_version == header.fold_version:
        found = last_seq(snapshot.events)
    users = dict(ports.cuts.read_users(partition, header))
    return Base(
        users,
        header.next_offset,
        header.watermark_ms,
        header.votes,
        header.digest,
        header.events,
        header,
        header.base_offset,
        header.fold_version,
        header.leader_epoch,
        max(found, header.base_seq),
    )


def _from_snapshot(ports: Ports, header: SnapshotHeader) -> Base:
    users: Iterator[tuple[int, bytes]] = ports.snapshots.read_users(header)
    return Base(
        dict(users),
        header.next_offset,
        header.watermark_ms,
        header.votes,
        header.digest,
        header.events,
        None,
        header.next_offset,
        header.fold_version,
        header.leader_epoch,
        last_seq(header.events),
    )


def restored(ports: Ports, taken: TakenOver, base: Base, recorded: list[ControlEvent]) -> list[ControlEvent]:
    """The timeline, after a restored database got back what cut and snapshots carry.

    Raises:
        StoreUnavailable: the lake, which has the events before those of the cut, does not answer; try again.
        TimelineConflict: numbers that a replay can reach would stay missing, or differ.
        Fenced: a newer owner exists.
    """
    partition = taken.own.partition
    if last_seq(recorded) >= max(base.snapshot_seq, last_seq(base.events)):
        return recorded
    older: Sequence[ControlEvent] = ()
    begin = base.snapshot_seq
    if last_seq(recorded) < begin:
        snapshot = ports.snapshots.newest_valid(partition, lambda header: last_seq(header.events) >= begin)
        older = () if snapshot is None else snapshot.events
    # What stands above in that snapshot may never have been recorded: an upgrade that failed left it.
    carried = [*(event for event in older if event.seq <= begin), *base.events]
    unique = list({event.seq: event for event in carried}.values())
    ports.ledger.restore_events(taken.own, unique, complete_above=last_missing(older, begin))
    return ports.ledger.reachable_events(partition, taken.bounds.start)
