"""T41: trained models take over from each other under load, and their alerts say why.

They are a random forest and boosted trees, trained here; in the end the former split comes back.
"""

from contextlib import closing

import numpy as np

from batch.training.boosting import BoostingParameters
from batch.training.job import next_version
from batch.training.labelled import LabelledRows
from batch.training.pipeline import train
from batch.training.random_forest import ForestParameters
from batch.training.settings import Algorithm, TrainingSettings
from ray_fraud.domain.alert import Alert, RuleName, Source
from ray_fraud.domain.features import FEATURE_COUNT, FEATURE_NAMES
from ray_fraud.domain.split import Split
from ray_fraud.domain.timeline import content_of
from ray_fraud.domain.version_metrics import VERSION_ROWS, VERSION_SECONDS
from ray_fraud.domain.windows import DAY_MS
from ray_fraud.generator.prepared import ALERTING_AMOUNT
from ray_fraud.stores.lake import lake_filesystem
from ray_fraud.stores.ledger.model_changes import promotion
from ray_fraud.stores.ledger.postgres_queries import PostgresAlertQueries
from ray_fraud.stores.ledger.postgres_registry import PostgresRegistry
from ray_fraud.stores.ledger.queries import AlertFilter
from ray_fraud.stores.ledger.registry import LIVE, NewModel, Share
from ray_fraud.stores.models.lake import LakeModelFiles
from tests.actors.platform import Platform, eventually
from tests.actors.test_hot_path_promotion import DEGRADED, SCORED, registry_of, scored_by_arm, splits

SETTINGS = TrainingSettings(
    holdout_days=2,
    gap_days=0,
    train_days=6,
    folds=1,
    fold_days=2,
    alerts_per_day=1e6,
    algorithms=(Algorithm.RANDOM_FOREST, Algorithm.GRADIENT_BOOSTING),
    random_forest=(ForestParameters(trees=10, max_depth=4),),
    gradient_boosting=(BoostingParameters(trees=10, learning_rate=0.3, leaves=4, min_leaf=20),),
)
DAYS, ROWS_A_DAY = 12, 300
SCORED_ROWS = 300
"""Of each version, before the next one takes over: fifteen of them alert."""
MANY = 1_000_000


def labelled_rows() -> LabelledRows:
    """Frauds are the amounts of which the load has one in twenty, beside the user's other ones."""
    rng = np.random.default_rng(9)
    count = DAYS * ROWS_A_DAY
    features = np.full((count, FEATURE_COUNT), np.nan, np.float32)
    fraud = rng.random(count) < 0.05
    usual, large = rng.gamma(2.0, 60.0, count), ALERTING_AMOUNT * (1 + rng.random(count))
    features[:, FEATURE_NAMES.index("amount")] = np.where(fraud, large, usual)
    event_ms = np.sort(rng.integers(0, DAYS * DAY_MS, count))
    return LabelledRows(features, fraud, rng.integers(0, 500, count), event_ms)


def register_trained(platform: Platform, registry: PostgresRegistry) -> list[str]:
    """A random forest and boosted trees, as a training registers them; their labels."""
    known = registry.versions()
    files = LakeModelFiles(*lake_filesystem(platform.config.connections.lake))
    labels = []
    for each in train(labelled_rows(), SETTINGS, lambda algorithm: next_version(known, algorithm)):
        manifest, digest = each.model.manifest, files.put(*each.model)
        row = registry.register(NewModel(manifest.model_name, digest, digest, manifest.threshold))
        assert row.label == manifest.label
        labels.append(row.label)
    return labels


def put_in_force(platform: Platform, registry: PostgresRegistry, shares: list[Share]) -> Split:
    wanted = registry.set_split(shares)
    partitions = sorted(platform.partitions)
    eventually(
        "every partition recorded the split",
        lambda: all(splits(platform, number)[-1].digest == wanted.digest for number in partitions),
        60,
    )
    return wanted


def await_scored(platform: Platform, label: str) -> None:
    before = scored_by_arm(platform).get(label, 0)
    eventually(
        f"{label} has scored", lambda: scored_by_arm(platform).get(label, 0) >= before + SCORED_ROWS, 30
    )


def hot_alerts(platform: Platform, partition: int) -> list[Alert]:
    with closing(PostgresAlertQueries(platform.config.connections.postgres)) as queries:
        where = AlertFilter(source=Source.HOT, partition=platform.partitions[partition])
        return [stored.alert for stored in queries.list(where, limit=MANY)]


def version_by_timeline(platform: Platform, alert: Alert) -> str | None:
    """The version that the control timeline gives to the alert's user at its offset."""
    due = [event for event in splits(platform, alert.partition) if event.from_offset <= alert.offset]
    split = content_of(due[-1]) if due else None
    if not isinstance(split, Split) or not split.arms:
        return None
    arm = int(split.arm_of(np.array([alert.user_id], np.int64))[0])
    return split.arms[arm].label


def test_trained_models_take_over_under_load_and_explain_their_alerts(platform: Platform) -> None:
    partitions = sorted(platform.partitions)
    with registry_of(platform) as registry:
        former = [
            Share(row.id, row.status, row.share_bp) for row in registry.versions() if row.status in LIVE
        ]
        labels = register_trained(platform, registry)
        ends = platform.log_ends()
        with platform.load():
            degraded = platform.scrape().total(DEGRADED)
            known = {number: len(splits(platform, number)) for number in partitions}
            try:
                for label in labels:
                    put_in_force(platform, registry, promotion(registry.versions(), label))
                    await_scored(platform, label)
            finally:
                # Other tests know its versions.
                put_in_force(platform, registry, former)
            seen = platform.scrape().total(SCORED)
            eventually("the counters have caught up", lambda: platform.scrape().total(SCORED) > seen, 15)
            assert platform.scrape().total(DEGRADED) == degraded, "a promotion cost a scoring call"
    platform.assert_exact()

    alerts = [
        alert
        for number in partitions
        for alert in hot_alerts(platform, number)
        if alert.offset >= ends[number]
    ]
    for alert in alerts:
        assert alert.model_version == version_by_timeline(platform, alert), alert
    for number in partitions:
        new = splits(platform, number)[known[number] :]
        assert len(new) == 3
        assert ends[number] - 500 <= new[0].from_offset < new[1].from_offset < new[2].from_offset
    for label in labels:
        own = [
            each for each in alerts if (each.rule_name, each.model_version) == (RuleName.ML_ANOMALY, label)
        ]
        assert own, label
        for alert in own:
            why = alert.details["explanation"]
            assert why[0]["feature"] == "amount"
            assert why[0]["contribution"] > 0
            assert f"amount {why[0]['value']:,.0f}" in why[0]["sentence"]

    def each_version_is_counted() -> bool:
        scrape = platform.scrape()
        rows = {name: scrape.total(VERSION_ROWS.name, model=name.split(":")[0]) for name in labels}
        calls = {
            name: scrape.total(f"{VERSION_SECONDS.name}_count", model=name.split(":")[0]) for name in labels
        }
        assert all(0 < calls[name] <= rows[name] for name in labels)
        return scrape.total(VERSION_ROWS.name) == scrape.total(SCORED)

    eventually("every scored row is counted for its version", each_version_is_counted, 15)
