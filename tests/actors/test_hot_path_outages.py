"""PostgreSQL away, and a killed scorer replica: detection goes on, and in the end nothing is missing."""

import os
import signal
from datetime import timedelta
from typing import Any

import msgspec
import numpy as np
import ray
from numpy.typing import NDArray

from actors.build import decoder_of, scorer_config
from actors.config import NAMESPACE, SINK
from actors.engine.audit import replay_partition
from actors.sink import SinkStatus
from ray_fraud.domain.alert import Alert, RuleName, Source
from ray_fraud.domain.feature_tables import StateOnly
from ray_fraud.domain.scores import Scores
from ray_fraud.domain.split import Split
from ray_fraud.stores.ledger.postgres_queries import PostgresAlertQueries
from ray_fraud.stores.ledger.queries import AlertFilter
from serve.deploy import ScorerNotReady, scorer_state
from serve.loaded_splits import LoadedSplits
from tests.actors.platform import Platform, eventually
from tests.actors.test_hot_path_promotion import registry_of, splits

DEGRADED = "fraud_detection_degraded_scores_total"
SCORED = "fraud_detection_ml_predictions_total"
ERRORS = "fraud_detection_errors_total"


def settled(platform: Platform) -> int:
    return sum(entry["settled_offset"] for entry in platform.status().values())


def inserted_by_sink() -> int:
    sink: Any = ray.get_actor(SINK, namespace=NAMESPACE)
    status = msgspec.json.decode(ray.get(sink.status.remote(), timeout=10), type=SinkStatus)
    return status.inserted


def replica_pid() -> int | None:
    try:
        return scorer_state(timeout=timedelta(seconds=5)).pid
    except ScorerNotReady:
        return None


def _judgement(alert: Alert) -> tuple[object, ...]:
    return alert.score, alert.model_version, alert.details.get("explanation")


def assert_scores_equal_the_replay(platform: Platform) -> None:
    """Bit for bit, whoever scored: Serve before and after the kill, the partitions in between."""
    connections = platform.config.connections
    splits = LoadedSplits(scorer_config(platform.config).model_files())

    def score(split: Split, user_ids: NDArray[np.int64], features: NDArray[np.float32]) -> Scores | None:
        return (splits.get(split.digest) or splits.load(split)).score(user_ids, features)

    queries = PostgresAlertQueries(connections.postgres)
    try:
        for number, reader in platform.readers.items():
            own = platform.partitions[number]
            replayed, _ = replay_partition(
                reader,
                platform.ledger.events(own),
                decoder_of(connections),
                score,
                reader.bounds().end,
                StateOnly(),
                explain=splits.explain,
            )
            rows = queries.list(AlertFilter(source=Source.HOT, partition=own), limit=1_000_000)
            stored = {row.alert.alert_uid: _judgement(row.alert) for row in rows}
            assert stored
            assert stored == {uid: _judgement(alert) for uid, alert in replayed.alerts.items()}
            models = [row.alert for row in rows if row.alert.rule_name is RuleName.ML_ANOMALY]
            assert models
            assert all(alert.details["explanation"] for alert in models)
    finally:
        queries.close()


def test_alerts_without_postgres_are_stored_when_it_is_back(platform: Platform) -> None:
    # A split that was proposed just before would hold reading back until PostgreSQL says who decides by it.
    with registry_of(platform) as registry:
        wanted = registry.current_split().digest
    eventually(
        "no split is on its way",
        lambda: all(splits(platform, number)[-1].digest == wanted for number in platform.partitions),
        60,
    )
    before, epochs = inserted_by_sink(), platform.epochs()
    errors = platform.scrape().total(ERRORS, component="postgres")
    with platform.load():
        platform.postgres.stop()
        try:
            reached = settled(platform)
            eventually("detection goes on", lambda: settled(platform) > reached + 600, 30)
            eventually(
                "the failures are counted",
                lambda: platform.scrape().total(ERRORS, component="postgres") > errors,
                15,
            )
        finally:
            platform.postgres.start()
    platform.assert_exact()
    assert inserted_by_sink() > before
    assert platform.epochs() == epochs, "an outage of PostgreSQL must not end an owner"


def test_a_killed_scorer_replica_costs_no_score(platform: Platform) -> None:
    killed = eventually("a replica answers", replica_pid, 30)
    degraded = platform.scrape().total(DEGRADED)
    with platform.load():
        os.kill(killed, signal.SIGKILL)
        eventually("scoring is degraded", lambda: platform.scrape().total(DEGRADED) > degraded, 30)
        eventually("another replica answers", lambda: replica_pid() not in (None, killed), 60)

        def closed_again() -> bool:
            """Much is scored from one scrape to a later one, and all of it through Serve."""
            first = platform.scrape()

            def later() -> tuple[float, float] | None:
                scrape = platform.scrape()
                rows = scrape.total(SCORED) - first.total(SCORED)
                return (rows, scrape.total(DEGRADED) - first.total(DEGRADED)) if rows > 200 else None

            return eventually("scoring goes on", later, 30)[1] == 0

        eventually("every circuit is closed again", closed_again, 60)
    platform.assert_exact()
    assert_scores_equal_the_replay(platform)
