"""Becoming the owner of a partition: one PostgreSQL transaction that fences everyone before.

In this order, with the partition's row locked: read both epochs, raise Redis's, read the log's end,
write epoch, token and barrier. Only then may users be read.

Never: reading state before the transaction has committed.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from actors.engine.ports import Ports
from ray_fraud.domain import progress_metrics
from ray_fraud.domain.conversion import version_events
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.timeline import ControlEvent, last_seq
from ray_fraud.stores.cut_offs import LogHistory
from ray_fraud.stores.cuts.port import CutDamaged, CutHeader
from ray_fraud.stores.errors import SlowDown, StoreRefused, StoreUnavailable
from ray_fraud.stores.ledger.port import CutOff, Decided, EpochRow, Ownership, Turn, valid_until
from ray_fraud.stores.log.port import LogBounds

logger = logging.getLogger(__name__)

WITHOUT_REDIS = (StoreUnavailable, SlowDown, StoreRefused)
"""Away, full, or closed to us: Redis decides how long recovery takes, never whether it is right."""


@dataclass(frozen=True, slots=True)
class TakenOver:
    own: Ownership
    header: CutHeader | None
    """The newest cut in Redis, None if there is none or Redis is down."""
    redis_raised: bool
    """Redis knows the epoch; if not, it must be told before the first cut."""
    bounds: LogBounds
    undecided: bool
    """Nobody has decided anything in this partition yet."""
    history: LogHistory
    """Tells whether an offset that was kept is a place in today's log."""
    closed: bool
    """The last owner closed its cut: it did not die, although its replay may not have been over."""


def take_over(ports: Ports, partition: PartitionId, token: str) -> TakenOver:
    """Makes the caller the only owner that can commit.

    Raises:
        StoreUnavailable: PostgreSQL or Kafka does not answer; try again.
        Fenced: another owner took over at the same time.
    """
    with ports.ledger.take_over(partition) as turn:
        redis_epoch = _redis_epoch(ports, partition)
        epoch = max(turn.last_epoch, redis_epoch or 0) + 1
        header, raised = None, False
        if redis_epoch is not None:
            header, raised = _raise_epoch(ports, partition, epoch, token)
        bounds = ports.reader.bounds()
        history = LogHistory(ports.reader, bounds)
        # Nothing is observed before the first events of a timeline exist: without any, nothing was decided.
        recorded = ports.ledger.reachable_events(partition, bounds.start)
        timeline = timeline_of(recorded, () if header is None else header.events)
        epochs = ports.ledger.epochs(partition)
        last = _last_decider(turn, epochs, timeline)
        cut_off = None
        if not timeline:
            barrier = min((row.barrier for row in epochs), default=bounds.start)
        else:
            observed = _observed(epochs, ports.ledger.decided(partition), header, turn.last_barrier)
            cut_off = history.cut_off(observed)
            barrier = _barrier(last, header, bounds.end if cut_off is None else cut_off.offset)
        own = turn.confirm(epoch, token, barrier, fold_version=ports.fold.version, cut_off=cut_off)
    if cut_off is not None:
        _report(ports, partition, cut_off)
    logger.info("partition %s: epoch %d, barrier %d, log %s", partition, epoch, barrier, bounds)
    closed = header is not None and _is_closed(header, last.epoch)
    return TakenOver(own, header, raised, bounds, not timeline, history, closed)


def _redis_epoch(ports: Ports, partition: PartitionId) -> int | None:
    try:
        return ports.cuts.epoch(partition)
    except WITHOUT_REDIS as error:
        logger.warning("partition %s: taking over without Redis: %s", partition, error)
        return None


def _raise_epoch(
    ports: Ports, partition: PartitionId, epoch: int, token: str
) -> tuple[CutHeader | None, bool]:
    """The newest cut, and whether Redis knows the epoch now.

    A header that cannot be read was found behind the raised fence; the next rung of the ladder is taken.
    """
    try:
        return ports.cuts.raise_epoch(partition, epoch, token), True
    except CutDamaged as error:
        logger.error("partition %s: cut refused, next rung of the ladder: %s", partition, error)  # noqa: TRY400
        return None, True
    except WITHOUT_REDIS as error:
        logger.warning("partition %s: taking over without Redis: %s", partition, error)
        return None, False


def timeline_of(recorded: Sequence[ControlEvent], carried: Sequence[ControlEvent]) -> list[ControlEvent]:
    """The recorded events, and those that a cut or snapshot carries and a restored database lacks."""
    known = last_seq(recorded)
    return [*recorded, *(event for event in carried if event.seq > known)]


class _Decider(NamedTuple):
    epoch: int
    barrier: int | None


def _last_decider(turn: Turn, epochs: Sequence[EpochRow], timeline: Sequence[ControlEvent]) -> _Decider:
    """The newest epoch that may have decided something.

    Before its fold version is on record an owner decides nothing: an upgrade that failed leaves the cut as
    closed as it found it.
    """
    last = _Decider(turn.last_epoch, turn.last_barrier)
    recorded = version_events(timeline)[-1:]
    if not recorded:
        return last
    deciders = [row for row in epochs if row.fold_version in (None, recorded[0].version)]
    return _Decider(deciders[-1].epoch, deciders[-1].barrier) if deciders else last


def _observed(
    epochs: Sequence[EpochRow], decided: Decided | None, header: CutHeader | None, last_barrier: int | None
) -> Iterator[tuple[int, int]]:
    """Offsets up to which the log was there, each with the leader epoch of the record before or -1."""
    if decided is not None:
        yield decided
    if last_barrier is not None:
        yield last_barrier, -1
    if header is not None:
        limit = valid_until(epochs, header.writer_epoch)
        # One beyond is of a log that was found cut off already.
        if limit is None or header.next_offset <= limit:
            yield header.next_offset, header.leader_epoch


def _report(ports: Ports, partition: PartitionId, cut_off: CutOff) -> None:
    ports.meter.count(progress_metrics.LOG_CUT_OFFS, partition=str(partition.partition))
    logger.error(
        "partition %s: the log was cut off at offset %d, and %d had been reached: an unclean election, or a "
        "broker that lost its disk. The records between are gone and declared as a gap; those that have "
        "their offsets now are decided anew. Look for the lost ones at their producers.",
        partition,
        cut_off.offset,
        cut_off.lost_to,
    )


def _barrier(last_decider: _Decider, header: CutHeader | None, end: int) -> int:
    """The offset below which an earlier owner may have decided something of this log.

    Not below the last barrier: an owner that closed its cut in the middle of its replay decided nothing above
    it, but those before it did. Only a log that was cut off takes it back.

    Args:
        last_decider: who may have decided last.
        header: the newest cut.
        end: of the log, or where it was cut off.
    """
    reached = end
    if header is not None and _is_closed(header, last_decider.epoch):
        reached = min(header.next_offset, end)
    last = last_decider.barrier
    return reached if last is None else max(reached, min(last, end))


def _is_closed(header: CutHeader, last_epoch: int) -> bool:
    return header.drained and header.writer_epoch == last_epoch
