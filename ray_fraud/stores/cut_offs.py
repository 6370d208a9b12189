"""Noticing that the log has lost records which an earlier owner had observed.

An unclean election, or a broker that comes back without its newest segments, cuts a log off; it then grows
again with other records under the same offsets. Every offset that is kept (decided offset, cut, snapshot)
therefore stands with the leader epoch of the record before it, and the broker is asked where that epoch ends
in today's log (KIP-101, KIP-320).

Never: taking an offset for a place in this log because the log is long enough.
"""

import logging
from collections.abc import Iterable

from ray_fraud.stores.ledger.port import CutOff
from ray_fraud.stores.log.port import LogBounds, LogReader

logger = logging.getLogger(__name__)


def cut_off_below(reader: LogReader, offset: int, leader_epoch: int) -> CutOff | None:
    """The loss that the log of `reader` had below a kept offset, None if it had none; costs two round trips.

    Args:
        leader_epoch: of the record before `offset`, -1: not known; then only a log that ends below shows.

    Raises:
        StoreUnavailable: the broker does not answer; try again.
    """
    return LogHistory(reader, reader.bounds()).cut_off([(offset, leader_epoch)])


class LogHistory:
    """What today's log still holds of what was observed; asks once per leader epoch."""

    def __init__(self, reader: LogReader, bounds: LogBounds) -> None:
        self._reader = reader
        self._bounds = bounds
        self._ends: dict[int, tuple[int, int]] = {}

    def common_end(self, leader_epoch: int) -> tuple[int, int]:
        """Up to where a log that ended in `leader_epoch` may be today's, and the leader epoch there or -1.

        Raises:
            StoreUnavailable: the broker does not answer; try again.
        """
        if leader_epoch not in self._ends:
            self._ends[leader_epoch] = self._ask(leader_epoch)
        return self._ends[leader_epoch]

    def holds(self, offset: int, leader_epoch: int) -> bool:
        """Whether today's log has the record before `offset` that was of `leader_epoch`.

        Raises:
            StoreUnavailable: the broker does not answer; try again.
        """
        return offset <= self.common_end(leader_epoch)[0]

    def cut_off(self, observed: Iterable[tuple[int, int]]) -> CutOff | None:
        """The loss that contradicts any of the (offset, leader epoch) pairs, None if none does.

        Raises:
            StoreUnavailable: the broker does not answer; try again.
        """
        lost = [(offset, *self.common_end(epoch)) for offset, epoch in observed]
        lost = [each for each in lost if each[1] < each[0]]
        if not lost:
            return None
        at, leader_epoch = min((end, epoch) for _, end, epoch in lost)
        return CutOff(at, max(offset for offset, _, _ in lost), leader_epoch)

    def _ask(self, leader_epoch: int) -> tuple[int, int]:
        end = self._reader.end_of_epoch(leader_epoch) if leader_epoch >= 0 else None
        if end is None or end.offset > self._bounds.end:
            return self._bounds.end, -1
        return end.offset, end.leader_epoch
