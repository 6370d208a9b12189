"""Crash before and after every single I/O step of a short run, with no, one and several alerts in a batch."""

import json
from collections.abc import Iterator
from itertools import repeat

import pytest

from ray_fraud.domain.record import Record
from ray_fraud.stores.faults import Fault, FaultPlan
from tests.simulation.driver import Driver, check
from tests.simulation.world import FIRST, SECOND, World

START_MS = 1_767_225_600_000


def transaction(offset: int, amount: float) -> Record:
    """One user's purchase at home, one a minute; only its amount may be high."""
    value = {
        "transaction_id": f"t{offset}",
        "user_id": 7,
        "amount": amount,
        "timestamp": START_MS / 1000 + 60 * offset,
        "location": {"lat": 52.5, "lon": 13.4},
    }
    return Record(offset, START_MS + 60_000 * offset, b"7", json.dumps(value).encode())


def log_with(alerts: int) -> list[Record]:
    """Six records, one of them refused, `alerts` of them alerting."""
    records = [transaction(offset, 5_000.0 if 1 <= offset <= alerts else 20.0) for offset in range(6)]
    return [*records[:5], Record(5, START_MS, b"7", b"no JSON")]


def crash_at(step: int, fault: Fault) -> Iterator[Fault]:
    yield from repeat(Fault.OK, step)
    yield fault


def run(alerts: int, faults: FaultPlan) -> tuple[Driver, bool]:
    """Take over, three batches, a change of split, cuts, a snapshot; whether the fault was met."""
    world = World(faults)
    driver = Driver(world, 1, FIRST)
    records = log_with(alerts)
    world.send(records)
    for _ in range(3):
        driver.do(lambda owner: driver.read(owner, 2))
        driver.do(driver.settle)
        driver.do(driver.keep)
        driver.do(driver.progress)
        driver.split = SECOND
        if driver.owner is not None:
            driver.owner.steps.desire(split=SECOND)
    driver.do(driver.snapshot)
    met = driver.happened.crashes > 0
    expected = check(world, driver.finish(), records)
    assert sum(alert.rule_name == "high_amount" for alert in expected.alerts.values()) == alerts
    return driver, met


@pytest.mark.parametrize("alerts", [0, 1, 4])
@pytest.mark.parametrize("fault", [Fault.CRASH_BEFORE, Fault.CRASH_AFTER])
def test_a_crash_at_any_step_loses_and_doubles_nothing(alerts: int, fault: Fault) -> None:
    counting = FaultPlan()
    run(alerts, counting)
    steps = counting.steps
    assert steps >= 14
    met = [run(alerts, FaultPlan(crash_at(step, fault)))[1] for step in range(steps)]
    assert all(met), f"the fault had no effect at step {met.index(False)} of {steps}"
