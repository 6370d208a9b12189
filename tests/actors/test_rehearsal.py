"""What a new owner goes through before its first record: everything once, and nothing of it stays."""

import time
from dataclasses import replace
from itertools import repeat

import msgspec
import pytest

from actors.engine.owner import PartitionOwner
from actors.engine.ports import Ports
from actors.engine.rehearsal import prepare_split, rehearse, rehearsed_alerts
from actors.engine.timeline_keeper import Desired
from ray_fraud.domain import contract
from ray_fraud.domain.alert import Alert, RuleName
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.model import ModelRefused
from ray_fraud.domain.settings import DetectionSettings, HighAmountSettings
from ray_fraud.domain.split import Split
from ray_fraud.stores.errors import Fenced
from ray_fraud.stores.faults import Fault, FaultPlan
from ray_fraud.stores.ledger.memory import MemoryLedger
from ray_fraud.stores.ledger.memory_queries import MemoryAlertQueries
from ray_fraud.stores.ledger.queries import AlertFilter
from tests.simulation.world import FIRST, SETTINGS, TOPICS, SimulatedScorer, World

DESIRED = Desired(SETTINGS, FIRST)


class Steps(SimulatedScorer):
    """A scorer that notes what it was asked, and can refuse."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.prepared: list[Split] = []
        self._refuses = refuses

    def prepare(self, split: Split) -> None:
        self.prepared.append(split)
        if self._refuses:
            raise ModelRefused("one:1", "damaged")


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def ports(world: World) -> Ports:
    return world.ports()


def owner(world: World, token: str) -> PartitionOwner:
    return PartitionOwner(world.ports(), world.partition, token, DESIRED, time.monotonic)


def log_ends(world: World) -> dict[str, list[int]]:
    names = (TOPICS.transactions, TOPICS.alerts, TOPICS.dead_letters)
    return {name: [log.end for log in world.broker.topic(name).logs] for name in names}


def test_everything_is_called_and_nothing_stays(world: World, ports: Ports) -> None:
    first = owner(world, "first")
    before = log_ends(world), dict(first.state.users), first.state.next_offset
    plan = FaultPlan()
    scorer = Steps()
    rehearse(
        replace(
            ports, scorer=scorer, writer=world.broker.writer(plan), alert_ledger=MemoryLedger(world.database)
        ),
        first.own,
        DESIRED,
    )
    assert scorer.prepared == [FIRST]
    assert plan.steps == 2, "the metadata of both topics"
    assert (log_ends(world), dict(first.state.users), first.state.next_offset) == before
    assert MemoryAlertQueries(world.database).count(AlertFilter()) == 0


def test_what_is_away_keeps_no_partition_from_starting(world: World, ports: Ports) -> None:
    first = owner(world, "first")
    away = FaultPlan(repeat(Fault.FAIL_BEFORE))
    rehearse(replace(ports, scorer=Steps(refuses=True), writer=world.broker.writer(away)), first.own, DESIRED)


def test_a_replaced_owner_learns_of_it(world: World, ports: Ports) -> None:
    first = owner(world, "first")
    owner(world, "second")
    with pytest.raises(Fenced):
        rehearse(replace(ports, scorer=Steps()), first.own, DESIRED)


@pytest.mark.parametrize(
    ("limit", "broken"),
    [
        (1.0, {RuleName.HIGH_AMOUNT, RuleName.GEO_VELOCITY}),
        (2_000.0, {RuleName.HIGH_AMOUNT, RuleName.GEO_VELOCITY}),
        (contract.MAX_AMOUNT, {RuleName.GEO_VELOCITY}),
    ],
)
def test_made_up_transactions_break_the_rules_whatever_the_limit(limit: float, broken: set[RuleName]) -> None:
    settings = DetectionSettings(high_amount=HighAmountSettings(limit=limit))
    alerts = [msgspec.json.decode(one, type=Alert) for one in rehearsed_alerts(Decoder(None), settings)]
    assert {alert.rule_name for alert in alerts} == broken


def test_a_refused_model_is_left_to_the_one_who_needs_it() -> None:
    scorer = Steps(refuses=True)
    prepare_split(scorer, FIRST)
    assert scorer.prepared == [FIRST]
