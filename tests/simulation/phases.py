"""A plan of faults in which a store may also refuse for several steps in a row.

Never: a phase without an end: each step that it refuses brings that nearer.
"""

from collections.abc import Callable, Iterable
from typing import TypeVar

from ray_fraud.stores.errors import StoreUnavailable
from ray_fraud.stores.faults import Fault, FaultPlan

T = TypeVar("T")

READS = frozenset(
    {
        *("epoch", "header", "read_users", "read_user", "check_configuration"),
        *("epochs", "owners", "events", "sink_progress", "decided", "decided_offset", "attempts", "gaps"),
        *("events_after", "reachable_events", "life_start"),
    }
)
"""Calls of Redis and PostgreSQL that a read-only server answers."""


class PhasedPlan(FaultPlan):
    """Takes its faults step by step; in a phase of a store all its steps, or all its writes, fail."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        super().__init__(faults)
        self._left: dict[str, int] = {}
        self._read_only: dict[str, bool] = {}

    def begin(self, store: str, steps: int, *, read_only: bool) -> None:
        self._left[store] = steps
        self._read_only[store] = read_only

    def step(self, store: str, name: str, action: Callable[[], T]) -> T:
        if self._left.get(store, 0) > 0 and not (self._read_only[store] and name in READS):
            self._left[store] -= 1
            raise StoreUnavailable(store, f"{name}: {'read-only' if self._read_only[store] else 'away'}")
        return super().step(store, name, action)
