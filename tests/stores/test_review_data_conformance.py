"""What review data promises: run on the memory one and on PostgreSQL."""

from collections.abc import Iterator
from uuid import UUID

import msgspec
import numpy as np
import pytest

from ray_fraud.domain.alert import Alert, RuleName, Severity, Source, alert_uid
from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.ledger.memory import MemoryDatabase, MemoryLedger
from ray_fraud.stores.ledger.memory_queries import MemoryAlertQueries
from ray_fraud.stores.ledger.port import Ledger
from ray_fraud.stores.ledger.postgres import PostgresLedger
from ray_fraud.stores.ledger.postgres_queries import PostgresAlertQueries
from ray_fraud.stores.ledger.queries import AlertQueries, Verdict
from ray_fraud.stores.review_data.memory import MemoryReviewData
from ray_fraud.stores.review_data.port import NewestFeatures, ReviewData
from ray_fraud.stores.review_data.postgres import PostgresReviewData

PARTITION = PartitionId("cluster", "topic", 2)
OTHER = PartitionId("cluster", "topic", 1)


class Stores:
    """The data, and the stores that share a database with it."""

    def __init__(self, review: ReviewData, ledger: Ledger, queries: AlertQueries) -> None:
        self.review = review
        self.ledger = ledger
        self.queries = queries

    def store_hot(self, partition: PartitionId, *alerts: Alert) -> None:
        with self.ledger.take_over(partition) as turn:
            own = turn.confirm(turn.last_epoch + 1, "token", 0)
        self.ledger.insert_hot_alerts(own, alerts)

    def judge(self, alert: Alert, verdict: Verdict | None) -> None:
        row = self.queries.get(alert.alert_uid)
        assert row is not None
        self.queries.add_feedback(row.alert_id, verdict, "ann")


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.servers)])
def stores(request: pytest.FixtureRequest) -> Iterator[Stores]:
    if request.param == "memory":
        database = MemoryDatabase(now_ms=lambda: 10_000)
        yield Stores(MemoryReviewData(database), MemoryLedger(database), MemoryAlertQueries(database))
        return
    where = request.getfixturevalue("migrated_database")
    review, ledger = PostgresReviewData(where), PostgresLedger(where, name="ledger")
    queries = PostgresAlertQueries(where)
    yield Stores(review, ledger, queries)
    for store in (review, ledger, queries):
        store.close()


def alert(
    name: str,
    offset: int,
    rule: RuleName = RuleName.HIGH_AMOUNT,
    merchant: str | None = None,
    source: Source = Source.HOT,
) -> Alert:
    return Alert(
        alert_uid=alert_uid(name, 4, rule, bytes(16)),
        transaction_id=name,
        user_id=4,
        rule_name=rule,
        severity=Severity.MEDIUM,
        reason="because",
        event_time=1_700_000_000.25,
        record_timestamp_ms=1_700_000_000_250,
        partition=PARTITION.partition,
        offset=offset,
        lat=None,
        lon=None,
        score=None,
        model_version=None,
        source=source,
        details={"transaction": {"merchant_id": merchant}},
    )


def test_uids_are_those_of_hot_alerts_in_the_range(stores: Stores) -> None:
    alerts = [alert(f"t{offset}", offset) for offset in (1, 2, 3)]
    stores.store_hot(PARTITION, *alerts)
    stores.store_hot(OTHER, alert("elsewhere", 2))
    stores.review.add_cold(PARTITION, [alert("cold", 2, source=Source.COLD)])
    assert stores.review.alert_uids(PARTITION, 2, 3) == {alerts[1].alert_uid}
    assert stores.review.alert_uids(PARTITION, 1, 4) == {one.alert_uid for one in alerts}


def test_cold_alerts_are_stored_once_and_change_nothing_hot(stores: Stores) -> None:
    hot = alert("hot", 1)
    stores.store_hot(PARTITION, hot)
    cold = [alert(name, 1, source=Source.COLD) for name in ("hot", "new", "newer")]
    changed = [msgspec.structs.replace(one, reason="another") for one in cold]
    assert stores.review.add_cold(PARTITION, changed) == 2
    assert stores.review.add_cold(PARTITION, cold) == 0
    rows = {name: stores.queries.get(one.alert_uid) for name, one in zip("hnw", cold, strict=True)}
    assert [row.alert.reason for row in rows.values() if row] == ["because", "another", "another"]
    assert [row.alert.source for row in rows.values() if row] == [Source.HOT, Source.COLD, Source.COLD]
    assert stores.review.add_cold(PARTITION, []) == 0


def test_a_later_hot_insert_turns_a_cold_alert_hot(stores: Stores) -> None:
    stores.review.add_cold(PARTITION, [alert("t", 1, source=Source.COLD)])
    stores.store_hot(PARTITION, alert("t", 1))
    assert stores.review.alert_uids(PARTITION, 0, 9) == {alert("t", 1).alert_uid}


def features(
    *rows: tuple[int, int, float | None], names: tuple[str, ...] = ("amount", "lat")
) -> NewestFeatures:
    """Of (user, offset, amount) each, without a place."""
    users, offsets, amounts = zip(*rows, strict=True)
    values = np.full((len(rows), len(names)), np.nan, np.float32)
    values[:, names.index("amount")] = [np.nan if amount is None else amount for amount in amounts]
    at_ms = 1_700_000_000_000 + np.array(offsets)
    return NewestFeatures(names, np.array(users), np.array(offsets), at_ms, values)


def test_each_users_newest_features_are_kept(stores: Stores) -> None:
    stores.review.save_features(PARTITION, features((2, 7, 1.5), (1, 8, 2.5)))
    stores.review.save_features(PARTITION, features((2, 9, None), (1, 5, 99.0)))
    assert stores.review.features_of(1) == {"amount": 2.5, "lat": None}
    assert stores.review.features_of(2) == {"amount": None, "lat": None}
    assert stores.review.features_of(3) is None


def test_a_new_life_of_the_topic_begins_at_offset_nought(stores: Stores) -> None:
    stores.review.save_features(PARTITION, features((1, 1_000, 1.0)))
    stores.review.save_features(PARTITION._replace(topic_id="again"), features((1, 3, 2.0)))
    assert stores.review.features_of(1) == {"amount": 2.0, "lat": None}


def test_many_users_at_once(stores: Stores) -> None:
    stores.review.save_features(PARTITION, features(*((user, user, float(user)) for user in range(5_000))))
    for user in (0, 1_999, 2_000, 4_999):
        assert stores.review.features_of(user) == {"amount": float(user), "lat": None}


@pytest.mark.parametrize("value", [0.1, 30.1, 1 / 3, -0.0, 3.4e38, 1e-45, 16_777_217.0])
def test_features_are_the_same_to_the_last_bit(stores: Stores, value: float) -> None:
    stores.review.save_features(PARTITION, features((1, 1, value)))
    found = stores.review.features_of(1)
    assert found is not None
    assert np.float32(found["amount"] or 0.0) == np.float32(value)
    assert found["amount"] == float(np.float32(value))


def test_features_of_a_later_release_have_its_names(stores: Stores) -> None:
    stores.review.save_features(PARTITION, features((1, 1, 2.5), (2, 2, 3.5)))
    stores.review.save_features(PARTITION, features((2, 9, 4.5), names=("lat", "lon", "amount")))
    assert stores.review.features_of(1) == {"amount": 2.5, "lat": None}
    assert stores.review.features_of(2) == {"amount": 4.5, "lat": None, "lon": None}


def test_uids_survive_the_way_through_the_store(stores: Stores) -> None:
    one = alert("t", 5)
    stores.store_hot(PARTITION, one)
    (uid,) = stores.review.alert_uids(PARTITION, 0, 10)
    assert isinstance(uid, UUID)
    assert uid == one.alert_uid


def test_a_forgotten_user_has_no_features_and_what_else_names_the_user_is_counted(stores: Stores) -> None:
    for user in (4, 5):
        newest = NewestFeatures(
            ("a",), np.array([user]), np.array([1]), np.array([1_000]), np.array([[1.0]], np.float32)
        )
        stores.review.save_features(PARTITION, newest)
    stores.store_hot(PARTITION, alert("t1", 1), alert("t2", 2))
    stores.judge(alert("t1", 1), Verdict.TRUE_FRAUD)
    assert [stores.review.forget(4), stores.review.forget(4)] == [1, 0]
    assert stores.review.features_of(4) is None
    assert stores.review.features_of(5) == {"a": 1.0}
    named = {"fraud_alerts": 2, "alert_feedback": 1, "pattern_finding_members": 0}
    assert stores.review.naming(4) == named
    assert set(stores.review.naming(5).values()) == {0}
