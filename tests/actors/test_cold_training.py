"""A training beside a running hot path: of verdicts and lake come candidates, a batch tests them, and a batch
takes one back from production whose alerts analysts call false."""

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import timedelta

import msgspec
import pytest
import ray

from actors.config import NAMESPACE, TRAINING
from batch.training.boosting import BoostingParameters
from batch.training.job import EVALUATION
from batch.training.random_forest import ForestParameters
from batch.training.settings import IsolationParameters, TrainingSettings
from cluster.local.cold_path import start_training, training_config
from cluster.local.cold_path_client import NoColdPath, run_batch, run_training, training_status
from ray_fraud.domain.alert import RuleName, Source
from ray_fraud.domain.windows import DAY_MS
from ray_fraud.stores.hold_outs.lake import LakeHoldOuts
from ray_fraud.stores.lake import lake_filesystem
from ray_fraud.stores.ledger.model_changes import promotion
from ray_fraud.stores.ledger.model_events import EventAction
from ray_fraud.stores.ledger.postgres_queries import PostgresAlertQueries
from ray_fraud.stores.ledger.postgres_registry import PostgresRegistry
from ray_fraud.stores.ledger.queries import AlertFilter
from ray_fraud.stores.ledger.registry import LIVE, ModelStatus, Share, production_of
from ray_fraud.stores.models.lake import LakeModelFiles
from ray_fraud.stores.verdicts.port import NewVerdict
from ray_fraud.stores.verdicts.postgres import PostgresVerdicts
from tests.actors.platform import Platform, eventually
from tests.actors.test_cold_scoring import cold_path_answers
from tests.actors.test_hot_path_promotion import registry_of, splits
from tests.actors.test_hot_path_supervised import put_in_force

PATIENCE_SECONDS = 280.0
"""Trainings and batches run at the lowest priority: beside other work they take their time."""
SECOND = 1_000 / DAY_MS
"""In days: the history of this platform is as long as its load."""
RECORDS = 5_400
"""At 300 a second as many as the periods need, and a second more."""
SETTINGS = TrainingSettings(
    holdout_days=5 * SECOND,
    gap_days=0,
    train_days=7 * SECOND,
    folds=1,
    fold_days=4 * SECOND,
    alerts_per_day=1e9,
    isolation_forest=(IsolationParameters(trees=10),),
    # Few frauds: a leaf that needs as many rows as there are of them tells nothing apart.
    random_forest=(ForestParameters(trees=20, max_depth=4, min_leaf=2),),
    gradient_boosting=(BoostingParameters(trees=20, learning_rate=0.3, leaves=4, min_leaf=2),),
)
SUPERVISED = {"random_forest", "gradient_boosting"}
EXPECTED = {"tested": (ModelStatus.TESTING, 500), "refused": (ModelStatus.RETIRED, 0)}
"""Status and share by what a batch said of a candidate. Which it says of a model of a few seconds is luck."""
JUDGED = 60
NEVER_BY_ITSELF = 1_000_000_000


@contextmanager
def split_kept(platform: Platform) -> Iterator[None]:
    """The split of before the block holds again after it: other tests know its versions."""
    with registry_of(platform) as registry:
        former = [
            Share(row.id, row.status, row.share_bp) for row in registry.versions() if row.status in LIVE
        ]
        try:
            yield
        finally:
            wanted = registry.set_split(former)
            eventually("the former split is in force", lambda: in_force(platform, wanted.digest), 60)


def in_force(platform: Platform, digest: str) -> bool:
    return all(splits(platform, number)[-1].digest == digest for number in platform.partitions)


@contextmanager
def training_actor(platform: Platform) -> Iterator[None]:
    config = msgspec.structs.replace(
        training_config(platform.config),
        training=SETTINGS,
        label_maturity_days=0.0,
        interval=timedelta(days=1),
        new_verdicts=NEVER_BY_ITSELF,
    )
    start_training(config)
    try:
        eventually("the actor that trains answers", training_answers, PATIENCE_SECONDS)
        yield
    finally:
        ray.kill(ray.get_actor(TRAINING, namespace=NAMESPACE))


def training_answers() -> bool:
    with suppress(NoColdPath):
        return bool(training_status(0)["new_verdicts"])
    return False


def call_alerts(platform: Platform, rule: RuleName, since_ms: int, *, fraud: bool) -> int:
    """A verdict on the transaction of every alert of the rule; how many."""
    postgres = platform.config.connections.postgres
    with closing(PostgresAlertQueries(postgres)) as queries, closing(PostgresVerdicts(postgres)) as verdicts:
        where = AlertFilter(source=Source.HOT, rule_name=rule, since_ms=since_ms)
        alerts = [stored.alert for stored in queries.list(where, limit=NEVER_BY_ITSELF)]
        return verdicts.add(
            [
                NewVerdict(
                    transaction_id=alert.transaction_id,
                    user_id=alert.user_id,
                    fraud=fraud,
                    event_ms=round(alert.event_time * 1000),
                )
                for alert in alerts
            ]
        )


def fall_back_from(platform: Platform, registry: PostgresRegistry, label: str) -> None:
    """Puts the version into production, calls every alert of it false, and lets a batch look."""
    former = production_of(registry.versions())
    assert former is not None
    put_in_force(platform, registry, promotion(registry.versions(), label))
    with platform.load(300) as load:
        eventually("alerts of its own", lambda: alerts_of(platform, label, load.started_ms) >= JUDGED, 120)
    platform.settle()
    assert call_alerts(platform, RuleName.ML_ANOMALY, load.started_ms, fraud=False) >= JUDGED
    batch = run_batch(lambda _: None, PATIENCE_SECONDS)
    assert batch["status"] == "done", batch
    (step,) = batch["report"]["models"]["steps"]
    assert (step["outcome"], step["model"]) == ("rolled_back", label), batch["report"]["models"]
    now = production_of(registry.versions())
    assert now is not None
    assert now.label == former.label
    event = registry.history()[-1]
    assert event.action is EventAction.ROLLED_BACK
    assert "verdicts, bound" in event.reason
    wanted = registry.current_split()
    eventually("the owners decide by the former one", lambda: in_force(platform, wanted.digest), 60)


def alerts_of(platform: Platform, label: str, since_ms: int) -> int:
    with closing(PostgresAlertQueries(platform.config.connections.postgres)) as queries:
        where = AlertFilter(source=Source.HOT, rule_name=RuleName.ML_ANOMALY, since_ms=since_ms)
        found = queries.count_by_model(where).get(label)
        return 0 if found is None else found.alerts


@pytest.mark.timeout(900, func_only=True)
def test_verdicts_become_candidates_that_batches_test_and_take_back(platform: Platform) -> None:
    begun = sum(platform.log_ends().values())
    with platform.load(300) as load:
        eventually("a history", lambda: sum(platform.log_ends().values()) >= begun + RECORDS, 90)
    platform.settle()
    eventually("the cold path answers", cold_path_answers, PATIENCE_SECONDS)
    first = run_batch(lambda _: None, PATIENCE_SECONDS)
    assert first["status"] == "done", first
    frauds = call_alerts(platform, RuleName.HIGH_AMOUNT, load.started_ms, fraud=True)
    assert frauds > 100

    with split_kept(platform), training_actor(platform):
        run = run_training(lambda *_: None, PATIENCE_SECONDS)
        assert run["status"] == "done", run
        report = run["report"]
        assert "not_enough" not in report, report
        assert 30 <= report["frauds"] <= frauds
        candidates = {each["label"]: each["digest"] for each in report["candidates"]}
        assert {label.split(":")[0] for label in candidates} == SUPERVISED | {"isolation_forest"}
        files = lake_filesystem(platform.config.connections.lake)
        with registry_of(platform) as registry:
            rows = {row.label: row for row in registry.versions()}
        (production,) = [row for row in rows.values() if row.status is ModelStatus.PRODUCTION]
        for label, digest in candidates.items():
            assert (rows[label].status, rows[label].model_digest) == (ModelStatus.TRAINING, digest)
            assert rows[label].metrics[EVALUATION]["frauds"] >= 30
            assert LakeModelFiles(*files).load(digest).manifest.label == label
            assert LakeHoldOuts(*files).load(digest, production.model_digest) is not None

        batch = run_batch(lambda _: None, PATIENCE_SECONDS)
        assert batch["status"] == "done", batch
        steps = {step["model"]: step["outcome"] for step in batch["report"]["models"]["steps"]}
        tested = [label for label in candidates if steps[label] == "tested"]
        assert {label.split(":")[0] for label in tested} & SUPERVISED, batch["report"]["models"]
        with registry_of(platform) as registry:
            wanted = registry.current_split()
            now = {row.label: row for row in registry.versions()}
            for label in candidates:
                status, share_bp = EXPECTED[steps[label]]
                assert (now[label].status, now[label].share_bp) == (status, share_bp), label
            eventually("the owners decide by them", lambda: in_force(platform, wanted.digest), 60)
            forest = min(tested, key=lambda label: not label.startswith("random_forest"))
            fall_back_from(platform, registry, forest)
        platform.settle()
    platform.assert_exact()
