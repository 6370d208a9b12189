"""A release with one more rule takes over: on what was decided before it is off, whoever looks."""

import pytest

from ray_fraud.domain.timeline import EventKind
from ray_fraud.stores.ledger.memory import MemoryLedger
from tests.domain.later_rules import REASON, LaterSettings, install
from tests.simulation.driver import Driver, check
from tests.simulation.test_crash_points import transaction
from tests.simulation.world import FIRST, World

RECORDS, TAKEN_OVER_AT = 12, 5


@pytest.mark.parametrize("lost", [False, True], ids=["cut there", "Redis lost"])
def test_replay_hot_path_and_audit_agree_that_the_later_rule_was_off(
    monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    world = World()
    driver = Driver(world, 1, FIRST)
    log = [transaction(offset, 20.0) for offset in range(RECORDS)]
    world.send(log[:TAKEN_OVER_AT])
    driver.do(lambda owner: driver.read(owner, TAKEN_OVER_AT))
    driver.do(driver.settle)
    driver.do(driver.keep)
    driver.crash()
    install(monkeypatch)
    driver.settings = LaterSettings()
    if lost:
        # The log is folded again by code that has the rule.
        world.contents.clear()
    world.send(log[TAKEN_OVER_AT:])
    expected = check(world, driver.finish(), log)
    events = MemoryLedger(world.database).events(world.partition)
    began = [event.from_offset for event in events if event.kind is EventKind.SETTINGS]
    assert began == [0, RECORDS]
    assert not [alert for alert in expected.alerts.values() if alert.reason == REASON]

    more = [transaction(offset, 20.0) for offset in range(RECORDS, RECORDS + 4)]
    world.send(more)
    expected = check(world, driver.finish(), [*log, *more])
    found = {alert.offset for alert in expected.alerts.values() if alert.reason == REASON}
    assert found == set(range(RECORDS, RECORDS + 4))
