"""Faults as data: what the memory stores do at each of their I/O steps.

Each step takes the next item; a plan that has ended means that all further steps succeed.

Never: a random draw (a test's seed makes the plan), a clock, use outside of memory stores.
"""

from collections.abc import Callable, Iterable
from datetime import timedelta
from enum import Enum
from typing import TypeVar

from ray_fraud.stores.errors import SlowDown, StoreRefused, StoreUnavailable

T = TypeVar("T")


class Fault(Enum):
    OK = "ok"
    FAIL_BEFORE = "fail_before"
    """StoreUnavailable, and nothing happened."""
    FAIL_AFTER = "fail_after"
    """StoreUnavailable although it happened: the reply was lost."""
    SLOW_DOWN = "slow_down"
    """SlowDown, and nothing happened."""
    REFUSE = "refuse"
    """RefusedByPlan, and nothing happened; the same call later may work: somebody mended the set-up."""
    CRASH_BEFORE = "crash_before"
    CRASH_AFTER = "crash_after"


AFTER = (Fault.FAIL_AFTER, Fault.CRASH_AFTER)
"""Those that let the step happen."""


class RefusedByPlan(StoreRefused):
    """A StoreRefused that a plan wanted; a test tells it from one that the product brought about."""


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
            StoreUnavailable, SlowDown, RefusedByPlan: the step was made to fail.
            Crashed: the process was made to end here.
        """
        fault = next(self._faults, Fault.OK)
        self.steps += 1
        if fault is Fault.OK:
            return action()
        if fault in AFTER:
            action()
        raise self._accident(store, name, fault)

    def _accident(self, store: str, name: str, fault: Fault) -> BaseException:
        what = f"{name} was made to fail ({fault.value}, step {self.steps})"
        match fault:
            case Fault.CRASH_BEFORE | Fault.CRASH_AFTER:
                return Crashed(f"{store}: {what}")
            case Fault.SLOW_DOWN:
                return SlowDown(store, what, timedelta(seconds=1))
            case Fault.REFUSE:
                return RefusedByPlan(store, what)
            case _:
                return StoreUnavailable(store, what)
