"""Becoming the owner of a partition: one PostgreSQL transaction that fences everyone before.

In this order, with the partition's row locked: read both epochs, raise Redis's, read the log's end,
write epoch, token and barrier. Only then may users be read.

Never: reading state before the transaction has committed.
"""

import logging
from dataclasses import dataclass

from actors.engine.ports import Ports
from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.cuts.port import CutDamaged, CutHeader
from ray_fraud.stores.errors import SlowDown, StoreRefused, StoreUnavailable
from ray_fraud.stores.ledger.port import Ownership, Turn
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
        # Nothing is observed before the first events of a timeline exist: without any, nothing was decided.
        known_to_redis = header is not None and header.events
        undecided = not known_to_redis and not ports.ledger.events(partition)
        if undecided:
            barrier = min((row.barrier for row in ports.ledger.epochs(partition)), default=bounds.start)
        else:
            barrier = _barrier(turn, header, bounds)
        own = turn.confirm(epoch, token, barrier)
    logger.info("partition %s: epoch %d, barrier %d, log %s", partition, epoch, barrier, bounds)
    closed = header is not None and _is_closed(header, turn.last_epoch)
    return TakenOver(own, header, raised, bounds, undecided, closed)


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


def _barrier(turn: Turn, header: CutHeader | None, bounds: LogBounds) -> int:
    """The offset below which an earlier owner may have decided something.

    Not below the last barrier: an owner that closed its cut in the middle of its replay decided nothing above
    it, but those before it did. Only a log that was cut off below takes it back.
    """
    reached = bounds.end
    if header is not None and _is_closed(header, turn.last_epoch):
        reached = min(header.next_offset, bounds.end)
    last = turn.last_barrier
    if last is None:
        return reached
    if last > bounds.end:
        logger.error("the log was cut off at %d: barrier %d goes back to there", bounds.end, last)
    return max(reached, min(last, bounds.end))


def _is_closed(header: CutHeader, last_epoch: int) -> bool:
    return header.drained and header.writer_epoch == last_epoch
