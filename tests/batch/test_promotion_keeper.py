"""The whole way of a candidate, in memory and on PostgreSQL: test, production, and back out of it."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from batch.promotion.config import PromotionConfig
from batch.promotion.keeper import KeeperPorts, KeeperReport, ModelKeeper
from batch.promotion.run import tell_live
from ray_fraud.domain.alert import RuleName
from ray_fraud.domain.model import EARLIER_GENERATED_PERIOD
from ray_fraud.domain.promotion import HoldOut, PromotionRules
from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.errors import StoreUnavailable
from ray_fraud.stores.hold_outs.memory import MemoryHoldOuts
from ray_fraud.stores.ledger.memory import Fault, MemoryDatabase
from ray_fraud.stores.ledger.migrate import migrate
from ray_fraud.stores.ledger.model_events import EventAction
from ray_fraud.stores.ledger.queries import Verdict
from ray_fraud.stores.ledger.registry import ModelStatus, ModelVersion, NewModel, Share
from ray_fraud.stores.models.memory import MemoryModelFiles
from ray_fraud.telemetry.meter import Meter, read_snapshot
from tests.scoring.sample_models import trained
from tests.stores.ledger_world import LedgerWorld, example_alert

BEGINS, ENDS = 1_900_000_000.0, 1_900_600_000.0
OLD_BEGINS = 1_530_000_000.0
"""Of 2018, as the handbook's data."""
RECORD_MS = 1_900_000_000_000
EVENT_MS = 1_750_000_000_125
"""Event time of all alerts here."""
CONFIG = PromotionConfig(rules=PromotionRules(k=10, resamples=100, min_verdicts=10, rollback_verdicts=20))
_RANDOM = np.random.default_rng(5)
CARDS = _RANDOM.integers(0, 400, 3_000)
DAYS = _RANDOM.integers(0, 4, 3_000)
LABELS = (CARDS % 10 == 0) & (_RANDOM.random(3_000) < 0.3)
EVALUATION = {
    "evaluation": {"precision": 0.8, "f1": 0.8, "precision_interval": {"value": 0.8, "low": 0.7, "high": 0.9}}
}


def scores(quality: float, seed: int) -> NDArray[np.float64]:
    made: NDArray[np.float64] = np.random.default_rng(seed).random(3_000) * 0.505 + LABELS * quality
    return made


GOOD, MIDDLING = scores(0.45, 1), scores(0.1, 2)


@dataclass
class World:
    """A registry with a first version in production, and what the keeper reads beside it."""

    ledgers: LedgerWorld
    models: MemoryModelFiles = field(default_factory=MemoryModelFiles)
    hold_outs: MemoryHoldOuts = field(default_factory=MemoryHoldOuts)
    alerts: int = 0
    newest_ms: int | None = None
    """Of the lake's events."""

    def __post_init__(self) -> None:
        self.registry = self.ledgers.registry()
        self.queries = self.ledgers.queries()
        with self.ledgers.ledger().take_over(PartitionId("cluster", "topic", 1)) as turn:
            self.own = turn.confirm(1, "owner", 0)
        self.keeper = ModelKeeper(
            KeeperPorts(self.registry, self.queries, self.models, self.hold_outs, lambda: self.newest_ms),
            CONFIG,
        )
        self.first = self.register(1)
        self.registry.set_split([Share(self.first.id, ModelStatus.PRODUCTION, 10_000)])

    def register(
        self,
        number: int,
        trained_until: float = 1_800_000_000.0,
        period: tuple[float, float] | None = None,
    ) -> ModelVersion:
        manifest, onnx, explain = trained(1)
        training = msgspec.structs.replace(
            manifest.training, seed=number, period=period or (trained_until - 1, trained_until)
        )
        manifest = msgspec.structs.replace(manifest, version=number, training=training)
        digest = self.models.put(manifest, onnx, explain)
        return self.registry.register(NewModel(manifest.model_name, digest, digest, 0.5, EVALUATION))

    def compare(
        self,
        candidate: ModelVersion,
        theirs: NDArray[np.float64],
        ours: NDArray[np.float64],
        begins: float = BEGINS,
    ) -> None:
        production = next(row for row in self.registry.versions() if row.status is ModelStatus.PRODUCTION)
        held = HoldOut(LABELS, CARDS, DAYS, theirs, ours, begins, ENDS)
        self.hold_outs.put(candidate.model_digest, production.model_digest, held)

    def judged(
        self,
        row: ModelVersion,
        frauds: int,
        false_alerts: int,
        *,
        waiting: int = 0,
        record_ms: int = RECORD_MS,
    ) -> None:
        """Alerts of the version, every one with a verdict but for those that wait."""
        count = frauds + false_alerts + waiting
        made = [
            example_alert(
                self.alerts + index,
                rule_name=RuleName.ML_ANOMALY,
                model_version=row.label,
                record_timestamp_ms=record_ms + self.alerts + index,
            )
            for index in range(count)
        ]
        self.ledgers.ledger().insert_hot_alerts(self.own, made)
        stored = self.queries.list(limit=count)
        self.alerts += len(made)
        for index, alert in enumerate(stored[: frauds + false_alerts]):
            verdict = Verdict.TRUE_FRAUD if index < frauds else Verdict.FALSE_POSITIVE
            self.queries.add_feedback(alert.alert_id, verdict, "ana")

    def look(self) -> KeeperReport:
        return self.keeper.look()

    def state(self, row: ModelVersion) -> tuple[str, int]:
        (now,) = (each for each in self.registry.versions() if each.id == row.id)
        return now.status.value, now.share_bp


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.servers)])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "memory":
        yield World(LedgerWorld(MemoryDatabase()))
        return
    database = request.getfixturevalue("fresh_database")
    migrate(database)
    ledgers = LedgerWorld(database)
    yield World(ledgers)
    ledgers.close()


def outcomes(report: KeeperReport) -> list[tuple[str, str]]:
    return [(step.outcome, step.model.rpartition(":")[2]) for step in report.steps]


def test_the_way_of_a_candidate_and_back(world: World) -> None:
    candidate = world.register(2)
    assert outcomes(world.look()) == [("tested", "2")]
    assert (world.state(world.first), world.state(candidate)) == (("production", 9_500), ("testing", 500))
    assert outcomes(world.look()) == [("kept", "2")], "never compared"
    world.compare(candidate, GOOD, MIDDLING)
    assert "0 verdicts" in world.look().steps[0].reasons[0]
    world.judged(candidate, 9, 2)
    report = world.look()
    assert outcomes(report) == [("promoted", "2")]
    assert (world.state(world.first), world.state(candidate)) == (("retired", 0), ("production", 10_000))
    assert [(each.role.value, each.alerts, each.frauds) for each in report.live] == [("production", 11, 9)]
    event = world.registry.history()[-1]
    assert (event.action, event.actor) == (EventAction.PROMOTED, "ray-fraud")
    assert event.evidence["candidate_verdicts"] == [9, 2]
    assert "average precision +" in event.reason

    world.judged(candidate, 1, 30)
    assert outcomes(world.look()) == [("rolled_back", "2")]
    assert (world.state(world.first), world.state(candidate)) == (("production", 10_000), ("retired", 0))
    event = world.registry.history()[-1]
    assert (event.action, event.evidence["frauds"]) == (EventAction.ROLLED_BACK, 10)
    assert world.look().steps == []


def test_a_candidate_that_is_too_weak_is_refused_before_anybody_sees_it(world: World) -> None:
    candidate = world.register(2)
    world.compare(candidate, MIDDLING, GOOD)
    assert outcomes(world.look()) == [("refused", "2")]
    assert world.state(candidate) == ("retired", 0)
    event = world.registry.history()[-1]
    assert (event.action, event.models) == (EventAction.REFUSED, (candidate.id,))
    assert "F1 0." in event.reason
    assert world.look().steps == []


def test_a_candidate_that_turns_out_worse_gives_its_users_back(world: World) -> None:
    candidate = world.register(2)
    world.look()
    world.compare(candidate, MIDDLING, GOOD)
    assert outcomes(world.look()) == [("refused", "2")]
    assert (world.state(world.first), world.state(candidate)) == (("production", 10_000), ("retired", 0))


def test_a_hold_out_that_training_saw_promotes_nobody(world: World) -> None:
    candidate = world.register(2, trained_until=BEGINS + 1)
    world.look()
    world.compare(candidate, GOOD, MIDDLING)
    world.judged(candidate, 20, 0)
    (step,) = world.look().steps
    assert (step.outcome, "must be later" in step.reasons[0]) == ("kept", True)


def test_a_comparison_with_another_production_version_does_not_count(world: World) -> None:
    candidate, other = world.register(2), world.register(3)
    world.look()
    world.compare(candidate, GOOD, MIDDLING)
    world.judged(candidate, 20, 0)
    world.registry.set_split(
        [Share(other.id, ModelStatus.PRODUCTION, 9_000), Share(candidate.id, ModelStatus.TESTING, 1_000)]
    )
    assert world.look().steps[0].reasons == ("no hold-out with production",)


def test_only_so_many_are_tested_and_production_keeps_half(world: World) -> None:
    rows = [world.register(number) for number in range(2, 7)]
    world.registry.set_split(
        [
            Share(world.first.id, ModelStatus.PRODUCTION, 5_200),
            Share(rows[0].id, ModelStatus.TESTING, 4_800),
        ]
    )
    assert sorted(outcomes(world.look())) == [
        ("kept", "2"),
        ("kept", "5"),
        ("kept", "6"),
        ("tested", "3"),
        ("tested", "4"),
    ]
    assert [world.state(row) for row in rows[1:3]] == [("testing", 0)] * 2


def test_a_generated_first_version_gives_way_to_what_learnt_from_an_older_history(world: World) -> None:
    first = world.register(2, period=EARLIER_GENERATED_PERIOD)
    world.registry.set_split([Share(first.id, ModelStatus.PRODUCTION, 10_000)])
    candidate = world.register(3, trained_until=OLD_BEGINS - 1.0)
    world.look()
    world.compare(candidate, GOOD, MIDDLING, OLD_BEGINS)
    world.judged(candidate, 20, 0, record_ms=round(OLD_BEGINS * 1000))
    assert ("promoted", "3") in outcomes(world.look())


def test_a_precision_that_immature_rows_promised_rolls_nothing_back(world: World) -> None:
    """Of an earlier release: without an interval."""
    earlier = {"evaluation": {"precision": 0.9, "f1": 0.8}}
    row = world.registry.register(NewModel("forest", "digest", "digest", 0.5, earlier))
    world.registry.set_split([Share(row.id, ModelStatus.PRODUCTION, 10_000)])
    world.judged(row, 0, 40)
    assert world.look().steps == []


def test_alerts_that_wait_for_a_verdict_hold_a_rollback_up_until_they_are_mature(world: World) -> None:
    candidate = world.register(2)
    world.registry.set_split([Share(candidate.id, ModelStatus.PRODUCTION, 10_000)])
    world.judged(candidate, 2, 28, waiting=25)
    assert world.look().steps == []
    world.newest_ms = EVENT_MS + 7 * 86_400_000 - 1
    assert world.look().steps == []
    world.newest_ms += 1
    assert outcomes(world.look()) == [("rolled_back", "2")]
    assert world.registry.history()[-1].evidence["unjudged"] == 25


def test_a_first_production_version_has_nothing_to_go_back_to(world: World) -> None:
    world.judged(world.first, 0, 30)
    (step,) = world.look().steps
    assert (step.outcome, "no version was in production before" in step.reasons[0]) == ("kept", True)
    assert world.state(world.first) == ("production", 10_000)


def test_what_is_not_registered_with_an_evaluation_is_left_alone(world: World) -> None:
    world.registry.register(NewModel("by_hand", "x", "x", 0.5))
    assert world.look().steps == []


def test_an_empty_registry_is_no_error() -> None:
    database = LedgerWorld(MemoryDatabase())
    ports = KeeperPorts(
        database.registry(), database.queries(), MemoryModelFiles(), MemoryHoldOuts(), lambda: None
    )
    assert ModelKeeper(ports).look() == KeeperReport()


@pytest.mark.parametrize("fault", [Fault.FAIL_BEFORE, Fault.FAIL_AFTER_COMMIT])
def test_a_promotion_whose_reply_is_lost_is_made_once(fault: Fault) -> None:
    database = MemoryDatabase()
    world = World(LedgerWorld(database))
    candidate = world.register(2)
    world.look()
    world.compare(candidate, GOOD, MIDDLING)
    world.judged(candidate, 20, 0)
    failing = iter([fault])
    database.faults = lambda name: next(failing, Fault.NONE) if name == "set_split" else Fault.NONE
    with pytest.raises(StoreUnavailable):
        world.look()
    world.look()
    actions = [event.action for event in world.registry.history()]
    # The first is that of the version that was there first.
    assert actions.count(EventAction.PROMOTED) == 2
    assert world.state(candidate) == ("production", 10_000)


def test_metrics_pool_the_versions_of_a_role(world: World) -> None:
    rows = [world.register(number) for number in (2, 3)]
    world.look()
    world.judged(world.first, 3, 1)
    world.judged(rows[0], 0, 2)
    meter = Meter("test", "zero")
    tell_live(meter, world.look().live)
    untold = read_snapshot(meter.snapshot()).gauges
    assert ("fraud_detection_model_precision", ("production",)) not in untold, "none is mature"
    assert untold["fraud_detection_model_verdicts", ("testing",)] == 2
    world.newest_ms = EVENT_MS + 7 * 86_400_000
    live = world.look().live
    meter = Meter("test", "one")
    tell_live(meter, live)
    found = read_snapshot(meter.snapshot()).gauges
    assert found["fraud_detection_model_share", ("production",)] == 0.9
    assert found["fraud_detection_model_share", ("testing",)] == pytest.approx(0.1)
    assert found["fraud_detection_model_precision", ("production",)] == 0.75
    assert found["fraud_detection_model_precision", ("testing",)] == 0.0
    assert found["fraud_detection_model_verdicts", ("testing",)] == 2
    assert found["fraud_detection_model_alerts", ("production",)] == 4
