"""Faults as data: each kind does what its name says, in order, once."""

import pytest

from ray_fraud.stores.errors import SlowDown, StoreRefused, StoreUnavailable
from ray_fraud.stores.faults import Crashed, Fault, FaultPlan


@pytest.mark.parametrize(
    ("fault", "raises", "happened"),
    [
        (Fault.FAIL_BEFORE, StoreUnavailable, False),
        (Fault.FAIL_AFTER, StoreUnavailable, True),
        (Fault.SLOW_DOWN, SlowDown, False),
        (Fault.REFUSE, StoreRefused, False),
        (Fault.CRASH_BEFORE, Crashed, False),
        (Fault.CRASH_AFTER, Crashed, True),
    ],
)
def test_a_fault_strikes_before_or_after_its_step(
    fault: Fault, raises: type[BaseException], happened: bool
) -> None:
    done: list[str] = []
    plan = FaultPlan([Fault.OK, fault])
    plan.step("redis", "first", lambda: done.append("first"))
    with pytest.raises(raises, match="second"):
        plan.step("redis", "second", lambda: done.append("second"))
    plan.step("redis", "third", lambda: done.append("third"))
    assert done == ["first", *(["second"] if happened else []), "third"]
    assert plan.steps == 3


def test_a_crash_is_no_exception_that_a_product_would_catch() -> None:
    assert not issubclass(Crashed, Exception)
