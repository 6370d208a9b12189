"""Offsets of the log that cannot be read: retried a few times, then quarantined on record.

Never: waiting; passing over an offset that no event names.
"""

import logging
from collections.abc import Callable, Sequence

from ray_fraud.domain.progress_metrics import UNREADABLE
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.timeline import ControlEvent, Quarantine, damage_in, refused_by
from ray_fraud.stores.errors import StoreUnavailable
from ray_fraud.stores.log.damage import DamageTries
from ray_fraud.stores.log.port import LogDamaged
from ray_fraud.telemetry.meter import Meter

logger = logging.getLogger(__name__)


class Damage:
    """What one ownership does about it (reading thread only)."""

    def __init__(
        self,
        partition: PartitionId,
        meter: Meter,
        events: Callable[[], Sequence[ControlEvent]],
        quarantine: Callable[[int, int, str], None],
        reached: Callable[[], int],
    ) -> None:
        """Knows what earlier owners passed over.

        Args:
            quarantine: appends the event that passes `[from, to)` over, for a cause.
            reached: the offset below which all is observed.
        """
        self._partition = partition
        self._meter = meter
        self._events = events
        self._quarantine = quarantine
        self._reached = reached
        self._known: list[Quarantine] = []
        self._tries = DamageTries()
        self._show()

    def end_of(self, damage: LogDamaged) -> int:
        """Where to go on.

        Raises:
            StoreUnavailable: try the reading, or the writing of the event, again.
            Fenced: a newer owner exists.
        """
        if (known := self._known_end(damage.from_offset)) is not None:
            return known
        if self._tries.again(damage):
            raise StoreUnavailable("kafka", damage.message) from damage
        logger.error(
            "partition %s: offsets %d to %d cannot be read and are passed over from now on: %s",
            self._partition,
            damage.from_offset,
            damage.to_offset - 1,
            damage.cause,
        )
        self._quarantine(damage.from_offset, damage.to_offset, damage.cause)
        self._show()
        return damage.to_offset

    @property
    def known(self) -> bool:
        """Something was passed over in this partition's life."""
        return bool(self._known)

    def why_not_to_unpack(self, from_offset: int, to_offset: int) -> str | None:
        """The cause if the batch, or all that is left of it, was passed over before: it may have killed."""
        return refused_by(self._known, max(from_offset, self._reached()), to_offset)

    def _known_end(self, offset: int) -> int | None:
        """The end of the range that an earlier event names, if `offset` lies in one."""
        return max((each.end for each in self._known if each.offset <= offset < each.end), default=None)

    def _show(self) -> None:
        self._known = damage_in(self._events())
        number = sum(each.end - each.offset for each in self._known)
        self._meter.set(UNREADABLE, number, partition=str(self._partition.partition))
