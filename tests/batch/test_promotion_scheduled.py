"""The rules as a part of a batch, with the real stores: figures in the metrics, failures in the report."""

from pathlib import Path

import pytest

from batch.promotion.config import PromotionConfig
from batch.promotion.run import ScheduledKeeper
from batch.training.first_models import ensure_first_models
from ray_fraud.stores.connections import (
    Connections,
    KafkaConnection,
    LakeLocation,
    PostgresConnection,
    RedisConnection,
)
from ray_fraud.stores.lake import lake_filesystem
from ray_fraud.stores.ledger.migrate import migrate
from ray_fraud.stores.ledger.postgres_registry import PostgresRegistry
from ray_fraud.stores.models.lake import LakeModelFiles
from ray_fraud.telemetry.meter import Meter, read_snapshot


def connections(postgres: PostgresConnection, lake: Path) -> Connections:
    return Connections(
        kafka=KafkaConnection("nowhere.invalid:9092"),
        redis=RedisConnection("redis://nowhere.invalid:6379/0"),
        postgres=postgres,
        lake=LakeLocation(lake.as_uri()),
    )


@pytest.mark.servers
def test_the_first_models_are_looked_at_and_left_alone(
    tmp_path: Path, fresh_database: PostgresConnection
) -> None:
    migrate(fresh_database)
    where = connections(fresh_database, tmp_path)
    registry = PostgresRegistry(fresh_database)
    ensure_first_models(registry, LakeModelFiles(*lake_filesystem(where.lake)))
    before = registry.current_split()
    meter = Meter("test", "one")
    keeper = ScheduledKeeper(where, PromotionConfig(), meter)
    for _ in range(2):
        report = keeper.look()
        assert [step["outcome"] for step in report["steps"]] == ["kept"]
        assert [each["share_bp"] for each in report["live"]] == [9_000, 1_000]
    assert registry.current_split() == before
    assert [event.action for event in registry.history()] == ["registered", "registered", "promoted"]
    registry.close()
    snapshot = read_snapshot(meter.snapshot())
    assert snapshot.gauges["fraud_detection_model_share", ("production",)] == 0.9
    assert snapshot.gauges["fraud_detection_model_verdicts", ("testing",)] == 0
    assert ("fraud_detection_model_precision", ("production",)) not in snapshot.gauges
    assert snapshot.counters["fraud_detection_model_decisions_total", ("rolled_back",)] == 0


def test_a_database_that_is_away_is_told_and_not_raised(tmp_path: Path) -> None:
    nowhere = PostgresConnection("postgresql://nobody@127.0.0.1:1/none")
    keeper = ScheduledKeeper(connections(nowhere, tmp_path), PromotionConfig(), Meter("test", "one"))
    assert keeper.look()["failed"].startswith("StoreUnavailable")
