"""The simulated analyst's runs on stores in memory: once, resumable, and whatever fails."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_fraud.domain.alert import RuleName, Source
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.verdicts import Origin, Verdict
from ray_fraud.generator.analyst import DAY_MS, Habits, SimulatedAnalyst
from ray_fraud.generator.analyst_run import AnalystReport, AnalystRun
from ray_fraud.generator.encode import encode_label
from ray_fraud.generator.label_log import LabelLog
from ray_fraud.generator.transaction import Label, Scenario
from ray_fraud.stores.errors import StoreUnavailable
from ray_fraud.stores.ledger.memory import Fault, MemoryDatabase
from ray_fraud.stores.ledger.memory_queries import MemoryAlertQueries
from ray_fraud.stores.ledger.port import TopicAlert
from ray_fraud.stores.ledger.queries import Verdict as Word
from ray_fraud.stores.log.memory import MemoryBroker
from ray_fraud.stores.verdicts.memory import MemoryVerdicts
from tests.stores.ledger_world import example_alert

PARTITION = PartitionId("cluster", "topic", 1)
NOW_MS = 1_764_000_000_000
EVENT_MS = 1_750_000_000_125
"""Of every example alert."""
TOPIC = "labels"
HABITS = Habits(delay_ms=1_000, capacity_per_day=100, chargeback_delay_ms=5_000)


class World:
    """A stack's alerts, labels and verdicts, and a clock."""

    def __init__(self) -> None:
        self.now_ms = NOW_MS
        self.database = MemoryDatabase(now_ms=lambda: self.now_ms)
        self.verdicts = MemoryVerdicts(self.database)
        self.broker = MemoryBroker()
        self.broker.create(TOPIC, 2)
        self.alerts = MemoryAlertQueries(self.database)

    def alert(self, number: int, **changes: Any) -> None:
        self.database.store([TopicAlert(example_alert(number, **changes), PARTITION, 1)])

    def label(self, number: int, *, is_fraud: bool = True, event_ms: int | None = None) -> None:
        at = (self.now_ms if event_ms is None else event_ms) / 1000
        name = f"transaction-{number}"
        staged = Label(name, 7, True, Scenario.STOLEN_CARD, at)
        value = encode_label(staged if is_fraud else Label(name, 7, False, "none", at))
        self.broker.writer().send(TOPIC, key=b"7", value=value, partition=number % 2)

    def run(self, habits: Habits = HABITS, *, event_time: bool = False) -> AnalystRun:
        topic_id = self.broker.admin().topic_id(TOPIC)
        places = [PartitionId(self.broker.cluster_id, topic_id, number) for number in range(2)]
        labels = LabelLog([self.broker.reader(TOPIC, place) for place in places])
        analyst = SimulatedAnalyst(habits, 0 if event_time else self.now_ms)
        return AnalystRun(analyst, labels, self.alerts, self.verdicts, event_time=event_time)

    def known(self) -> Sequence[Verdict]:
        return self.verdicts.since(0, 1_000)

    def told(self) -> dict[str, bool | None]:
        return {row.transaction_id.removeprefix("transaction-"): row.fraud for row in self.known()}


@pytest.fixture
def world() -> World:
    return World()


def test_alerts_are_judged_by_the_truth_and_missed_frauds_come_as_chargebacks(world: World) -> None:
    for number in (1, 2):
        world.alert(number)
    world.alert(2, rule_name=RuleName.ML_ANOMALY)
    world.label(1)
    world.label(2, is_fraud=False)
    world.label(3)
    run = world.run()
    assert run.step(world.now_ms + 999) == AnalystReport(labels=3, alerts=3, open_alerts=2, open_frauds=2)
    assert world.told() == {}
    run.step(world.now_ms + 1_000)
    assert world.told() == {"1": True, "2": False}
    world.now_ms += 5_000
    report = run.step(world.now_ms)
    assert world.told() == {"1": True, "2": False, "3": True}
    assert (report.true_fraud, report.false_positive, report.chargebacks) == (1, 1, 1)
    assert {row.origin for row in world.known()} == {Origin.SIMULATED}
    assert {row.feedback for row in world.alerts.list()} == {Word.TRUE_FRAUD, Word.FALSE_POSITIVE}


def test_what_comes_while_it_runs_is_seen(world: World) -> None:
    run = world.run()
    run.step(world.now_ms)
    world.label(1)
    world.alert(1)
    world.now_ms += 1_000
    run.step(world.now_ms)
    assert world.told() == {"1": True}


def test_another_run_goes_on_and_leaves_alone_what_has_a_verdict(world: World) -> None:
    for number in range(4):
        world.alert(number)
    analysts = world.alerts.list()[0].alert_id
    world.verdicts.give(analysts, None, "ana", "not sure")
    habits = Habits(0, 2, 0)
    assert world.run(habits).step(world.now_ms).false_positive == 2
    again = world.run(habits).step(world.now_ms)
    assert (again.false_positive, again.open_alerts) == (0, 1), "the day's capacity is used up"
    world.now_ms += DAY_MS
    assert world.run(habits).step(world.now_ms).false_positive == 1
    assert len(world.known()) == 4


def test_a_patterns_alert_is_judged_as_a_whole(world: World) -> None:
    def members(*numbers: int) -> dict[str, Any]:
        rows = [{"transaction_id": f"transaction-{number}", "user_id": 7} for number in numbers]
        return {"members": len(numbers), "transactions": rows}

    for offset, numbers in ((1, (1, 2)), (5, (5, 6, 7))):
        world.alert(offset, source=Source.COLD, rule_name=RuleName.BURST, details=members(*numbers))
    for number in (2, 6):
        world.label(number)
    world.now_ms += 1_000
    assert world.run().step(world.now_ms).open_frauds == 2
    assert [row.feedback for row in world.alerts.list()] == [Word.FALSE_POSITIVE, Word.TRUE_FRAUD]
    assert world.known() == [], "no verdict on a transaction"
    assert world.run().step(world.now_ms).open_alerts == 0


def test_with_event_time_history_is_judged_in_its_own_days(world: World) -> None:
    for day in range(3):
        world.alert(day, event_time=(EVENT_MS + day * DAY_MS) / 1000)
    world.label(1, event_ms=EVENT_MS + DAY_MS)
    world.label(8, event_ms=EVENT_MS)
    world.label(9, is_fraud=False, event_ms=EVENT_MS + 9 * DAY_MS)
    world.run(Habits(HABITS.delay_ms, 1, DAY_MS), event_time=True).step(world.now_ms)
    assert {row.transaction_id[-1]: row.known_ms - EVENT_MS for row in world.known()} == {
        "0": 1_000,
        "1": DAY_MS + 1_000,
        "2": 2 * DAY_MS + 1_000,
        "8": DAY_MS,
    }


def test_a_record_that_is_no_label_and_labels_that_are_gone_are_passed_over(world: World) -> None:
    world.label(1)
    world.broker.writer().send(TOPIC, key=None, value=b"{}", partition=1)
    world.label(3)
    world.broker.delete_before(TOPIC, 1, 1)
    report = world.run(Habits(0, 0, 0)).step(world.now_ms)
    assert report.labels == 1
    assert world.told() == {"3": True}


@given(st.lists(st.sampled_from(list(Fault)), max_size=12))
def test_whatever_fails_each_verdict_is_given_once(faults: list[Fault]) -> None:
    world = World()
    for number in range(3):
        world.alert(number)
        world.label(number + 1)
    world.alert(9, source=Source.COLD, details={"members": 0, "transactions": []})
    run, failures = world.run(Habits(0, 9, 0)), 0
    world.database.queue.extend(faults)
    while True:
        try:
            run.step(world.now_ms)
            break
        except StoreUnavailable:
            failures += 1
    assert failures <= len(faults)
    world.database.queue.clear()
    assert world.told() == {"0": False, "1": True, "2": True, "3": True}
    assert len(world.database.feedback) == 5
