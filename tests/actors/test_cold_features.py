"""The lake folded beside a running hot path, and what it learns handed back to the owners."""

import time
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import pyarrow.compute as pc
import ray

from actors.config import NAMESPACE, SUPERVISOR
from batch.features.run import feature_tables_of
from cluster.local.cold_path_client import run_batch
from ray_fraud.domain import metrics
from ray_fraud.domain.alert import RuleName, Source
from ray_fraud.domain.feature_tables import HOURS, FeatureTables, ProfileTable
from ray_fraud.domain.timeline import EventKind, FeatureRefresh, content_of
from ray_fraud.stores.feature_tables.encoding import TableFacts
from ray_fraud.stores.feature_tables.lake import LakeFeatureTables
from ray_fraud.stores.feature_tables.memory import MemoryFeatureTables
from ray_fraud.stores.feature_tables.parts import TableReader, put_tables
from ray_fraud.stores.feature_tables.postgres import PostgresFeatureRefreshes
from ray_fraud.stores.lake import lake_filesystem
from ray_fraud.stores.ledger.postgres_queries import PostgresAlertQueries
from ray_fraud.stores.ledger.queries import AlertFilter, Verdict
from ray_fraud.stores.log.kafka_writer import KafkaLogWriter
from ray_fraud.stores.review_data.postgres import PostgresReviewData
from ray_fraud.stores.tables.delta import DeltaTransactions
from ray_fraud.telemetry.meter import Snapshot
from tests.actors.platform import Platform, eventually
from tests.actors.scrape import counted
from tests.domain.samples import record, transaction

MERCHANT = "judged-shop"
PATIENCE_SECONDS = 110.0
"""Batches run at the lowest priority: beside other work they take their time."""


def pay(platform: Platform, name: str, user_id: int, amount: float) -> None:
    connections = platform.config.connections
    writer = KafkaLogWriter(connections.kafka)
    now = time.time()
    made = record(0, transaction(name, user_id=user_id, amount=amount, merchant_id=MERCHANT))
    writer.send(
        connections.topics.transactions,
        key=made.key,
        value=made.value.replace(b"1700000000.0", f"{now:.3f}".encode()) if made.value else None,
        timestamp_ms=round(now * 1000),
    ).wait(timedelta(seconds=20))
    writer.close()


def refreshed_to(platform: Platform, digest: str) -> bool | None:
    """Whether every partition's timeline has the tables."""
    for own in platform.partitions.values():
        events = [each for each in platform.ledger.events(own) if each.kind is EventKind.FEATURES]
        contents = [content_of(event) for event in events[-1:]]
        if not any(isinstance(each, FeatureRefresh) and each.tables == digest for each in contents):
            return None
    return True


def newest_tables(platform: Platform) -> str | None:
    refreshes = PostgresFeatureRefreshes(platform.config.connections.postgres)
    try:
        return refreshes.newest()
    finally:
        refreshes.close()


def publish(platform: Platform, digest: str) -> None:
    refreshes = PostgresFeatureRefreshes(platform.config.connections.postgres)
    refreshes.publish(digest)
    refreshes.close()


def with_merchants(platform: Platform) -> str | None:
    """The newest tables, once a verdict is in them."""
    digest = newest_tables(platform)
    if digest is None:
        return None
    files = LakeFeatureTables(*lake_filesystem(platform.config.connections.lake))
    return digest if TableReader(files).risks(digest).merchants.merchant_ids else None


@dataclass(frozen=True)
class Figures:
    """What the batch actor tells, and what the stores hold."""

    told: Snapshot
    to_read: int
    """Offsets of the log that are not in the lake."""
    transactions: int
    feature_rows: int
    hot_alerts: int

    @classmethod
    def of(cls, platform: Platform) -> "Figures":
        connections = platform.config.connections
        transactions = DeltaTransactions(connections.lake)
        features = feature_tables_of(connections.lake).features
        transactions.create()
        features.create()
        view = transactions.view()
        read = {number: view.position(place) or 0 for number, place in platform.partitions.items()}
        with closing(PostgresAlertQueries(connections.postgres)) as queries:
            return cls(
                platform.batch_metrics(),
                sum(platform.log_ends().values()) - sum(read.values()),
                transactions.rows(),
                features.rows(),
                len(queries.uids(AlertFilter(source=Source.HOT))),
            )


def assert_told(before: Figures, after: Figures) -> None:
    """What a batch of everything that is new counted is what the stores have more."""
    offsets = counted(metrics.BATCH_OFFSETS, before.told, after.told)
    assert offsets["accepted",] == after.transactions - before.transactions > 0
    assert sum(offsets.values()) == after.told.gauges[metrics.BATCH_LAG.name, ()] == before.to_read
    rows = counted(metrics.FEATURE_ROWS, before.told, after.told)
    assert rows == {(): after.feature_rows - before.feature_rows}
    alerts = counted(metrics.FOLDED_ALERTS, before.told, after.told)
    folded_before = before.told.counters[metrics.FOLDED_ALERTS.name, ("equal",)]
    assert alerts == {("equal",): after.hot_alerts - folded_before}
    assert 0 <= after.told.gauges[metrics.BATCH_AGE.name, ()] < PATIENCE_SECONDS


def test_the_fold_of_the_lake_is_the_hot_path_again(platform: Platform) -> None:
    with platform.load(300):
        pass
    platform.settle()
    audit = platform.assert_exact()
    before = Figures.of(platform)
    done = run_batch(lambda _: None, PATIENCE_SECONDS)
    assert done["status"] == "done", done
    features = done["report"]["features"]
    assert (features["missed"], features["unexpected"], features["behind"]) == (0, 0, 0)
    tables = feature_tables_of(platform.config.connections.lake)
    rows = tables.features.read([], ["partition", "offset"])
    places = set(zip(*rows.to_pydict().values(), strict=True))
    assert len(places) == rows.num_rows == audit.processed
    scores = tables.scores.read([], ["model", "live"])
    assert scores.num_rows == 2 * audit.processed
    assert pc.sum(scores["live"]).as_py() == audit.processed
    assert_told(before, Figures.of(platform))


def test_a_verdict_reaches_the_owners_and_the_next_rows(platform: Platform) -> None:
    connections = platform.config.connections
    name = f"judged-{time.time()}"
    pay(platform, name, 777, 4_321.0)
    platform.settle()
    queries = PostgresAlertQueries(connections.postgres)
    rows = queries.list(AlertFilter(user_id=777, rule_name=RuleName.HIGH_AMOUNT), limit=50)
    (stored,) = [row for row in rows if row.alert.transaction_id == name]
    queries.add_feedback(stored.alert_id, Verdict.TRUE_FRAUD, "ann")
    digest = eventually("tables with the verdict", lambda: with_merchants(platform), 60)
    eventually("the tables in every timeline", lambda: refreshed_to(platform, digest), 60)

    pay(platform, f"{name}-again", 778, 5.0)
    epoch = platform.epochs()[0]
    platform.kill(0)
    platform.await_owner_after(epoch, 0, 60)
    pay(platform, f"{name}-once-more", 779, 5_000.0)
    platform.settle()
    platform.assert_exact()
    again = run_batch(lambda _: None, PATIENCE_SECONDS)
    features = again["report"]["features"]
    assert (features["missed"], features["unexpected"]) == (0, 0)
    assert again["report"]["refresh"]["merchants"] == 1
    review = PostgresReviewData(connections.postgres)
    for user_id in (778, 779):
        newest = review.features_of(user_id)
        assert newest is not None
        assert (newest["merchant_frauds_30d"], newest["merchant_fraud_run"]) == (1.0, 1.0)
    (judged,) = [
        row.alert
        for row in queries.list(AlertFilter(user_id=779, rule_name=RuleName.HIGH_AMOUNT), limit=50)
        if row.alert.transaction_id == f"{name}-once-more"
    ]
    assert judged.details["features"]["merchant_frauds_30d"] == 1.0
    review.close()
    queries.close()


def test_a_search_knows_users_by_the_profiles_that_were_published(platform: Platform) -> None:
    """A user whose profile has nothing within eleven hours of now."""
    connections = platform.config.connections
    files = LakeFeatureTables(*lake_filesystem(connections.lake))
    user_id, now_hour = 901, int(time.time()) // 3600 % HOURS
    hours = np.zeros((1, HOURS), np.int32)
    hours[0, (now_hour + 12) % HOURS] = 50
    habits = replace(
        ProfileTable(), user_ids=np.array([user_id]), counts=np.array([50]), means=np.ones(1), hours=hours,
        deviations=np.ones(1), largest=np.ones(1), home_lat=np.full(1, np.nan), home_lon=np.full(1, np.nan),
    )  # fmt: skip
    digest = newest_tables(platform)
    tables = FeatureTables() if digest is None else TableReader(files).load(digest)
    facts = TableFacts() if digest is None else TableReader(files).risks(digest).facts
    made = put_tables(files, replace(tables, profiles=habits), facts)
    publish(platform, made.digest)
    for number in range(3):
        pay(platform, f"odd-{time.time()}-{number}", user_id, 5.0)
    platform.settle()
    done = run_batch(lambda _: None, PATIENCE_SECONDS)
    assert done["status"] == "done", done
    assert done["report"]["patterns"]["new"].get("unusual_hours") == 1


def test_owners_take_tables_from_the_object_store(platform: Platform) -> None:
    """The lake has no such files: only what was offered can have reached them."""
    lake = LakeFeatureTables(*lake_filesystem(platform.config.connections.lake))
    made = put_tables(MemoryFeatureTables(), FeatureTables(), TableFacts(as_of_ms=round(time.time())))
    supervisor = ray.get_actor(SUPERVISOR, namespace=NAMESPACE)
    contents = [ray.put(np.frombuffer(content, np.uint8)) for content in made.contents.values()]
    ray.get(supervisor.offer_features.remote(made.digest, contents), timeout=20)
    publish(platform, made.digest)
    eventually("the tables in every timeline", lambda: refreshed_to(platform, made.digest), 60)
    assert made.digest not in lake.digests()
    for content in made.contents.values():
        lake.put(content)
