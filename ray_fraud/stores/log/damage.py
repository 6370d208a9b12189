"""How often damage is read again before it counts as lost.

Never: waiting (the caller does, with jitter); skipping anything itself.
"""

from ray_fraud.stores.log.port import LogDamaged

TRIES = 4
"""A flipped bit on the way, or a replica that is being replaced, is gone after one or two."""


class DamageTries:
    """Counts the readings of one place; for one reader."""

    def __init__(self, tries: int = TRIES) -> None:
        self._tries = tries
        self._from_offset = -1
        self._count = 0
        self._given_up_to = -1

    def again(self, damage: LogDamaged) -> bool:
        """Whether to read once more; False: the offsets are lost, and the caller goes on behind them.

        What begins where the last loss ended belongs to it, and is given up at once.
        """
        if damage.from_offset != self._from_offset:
            self._from_offset, self._count = damage.from_offset, 0
        self._count += 1
        if self._count < self._tries and damage.from_offset != self._given_up_to:
            return True
        self._given_up_to = damage.to_offset
        return False
