"""Faults as data: what the memory stores do at each of their I/O steps.

Each step takes the next item; a plan that has ended means that all further steps succeed.

Never: a random draw (a test's seed makes the plan), a clock, use outside of memory stores.
"""

from collections.abc import Callable, Iterable
from enum import Enum
from typing import TypeVar

from ray_fraud.stores.errors import StoreUnavailable

T = TypeVar("T")


class Fault(Enum):
    OK = "ok"
    FAIL_BEFORE = "fail_before"
    """StoreUnavailable, and nothing happened."""
    FAIL_AFTER = "fail_after"
    """StoreUnavailable although it happened: the reply was lost."""
    CRASH_BEFORE = "crash_before"
    CRASH_AFTER = "crash_after"


class Crashed(BaseException):
    """The process ended at this step; no code of the product may catch it."""


class FaultPlan:
    """One plan, taken step by step; `steps` counts the steps so far, faulty or not."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._faults = iter(faults)
        self.steps = 0

    def step(self, store: str, name: str, action: Callable[[], T]) -> T:
        """Run one I/O step under the next fault.

        Raises:
            StoreUnavailable: the step was made to fail.
            Crashed: the process was made to end here.
        """
        fault = next(self._faults, Fault.OK)
        self.steps += 1
        self._strike(store, name, fault, Fault.FAIL_BEFORE, Fault.CRASH_BEFORE)
        result = action()
        self._strike(store, name, fault, Fault.FAIL_AFTER, Fault.CRASH_AFTER)
        return result

    def _strike(self, store: str, name: str, fault: Fault, fail: Fault, crash: Fault) -> None:
        if fault is fail:
            raise StoreUnavailable(store, f"{name} was made to fail ({fault.value}, step {self.steps})")
        if fault is crash:
            raise Crashed(f"{store}: {name} ({fault.value}, step {self.steps})")
