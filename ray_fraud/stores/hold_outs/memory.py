"""Hold-outs in this process's memory, for tests.

Never: shared between processes.
"""

from ray_fraud.domain.promotion import HoldOut
from ray_fraud.stores.hold_outs.port import check_digest


class MemoryHoldOuts:
    """See `port.HoldOuts`."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str], HoldOut] = {}

    def put(self, candidate: str, production: str, hold_out: HoldOut) -> None:
        self._held[check_digest(candidate), check_digest(production)] = hold_out

    def load(self, candidate: str, production: str) -> HoldOut | None:
        return self._held.get((check_digest(candidate), check_digest(production)))
