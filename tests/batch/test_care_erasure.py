"""A deleted user outside of the lake's tables: what goes, and one list of what remains."""

from datetime import UTC, datetime, timedelta

import numpy as np

from batch.care.erasure import NOT_ASKED, Outside, erase_outside
from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.errors import StoreUnavailable
from ray_fraud.stores.ledger.memory import MemoryDatabase
from ray_fraud.stores.review_data.memory import MemoryReviewData
from ray_fraud.stores.review_data.port import NewestFeatures, ReviewData

NOW = datetime(2026, 12, 1, tzinfo=UTC)
PLACES = ("PostgreSQL", "Kafka", "Redis", "snapshots", "feature_tables", "hold_outs", "quarantine")


def review_data() -> MemoryReviewData:
    """Has features of user 7."""
    made = MemoryReviewData(MemoryDatabase(now_ms=lambda: 10_000))
    one = np.array([1])
    newest = NewestFeatures(("a",), np.array([7]), one, one, np.array([[1.0]], np.float32))
    made.save_features(PartitionId("cluster", "topic", 0), newest)
    return made


def outside(review: ReviewData) -> Outside:
    kept = {"transactions": timedelta(days=7), "fraud_alerts": None}
    return Outside(lambda: review, kept.__getitem__, list(kept))


def test_features_go_and_topics_are_listed_with_the_moment_their_retention_ends() -> None:
    review = review_data()
    erasure = erase_outside(outside(review), 7, NOW)
    assert erasure.deleted == {"user_features": 1}
    assert review.features_of(7) is None
    until = {one.where: one.until for one in erasure.remains}
    assert until["Kafka: transactions"] == NOW + timedelta(days=7)
    assert until["Kafka: fraud_alerts"] is None
    assert "PostgreSQL: fraud_alerts" not in until, "no row there names the user"
    assert erasure.failed == []


def test_a_lake_alone_lists_every_place_that_was_not_asked() -> None:
    erasure = erase_outside(None, 7, NOW)
    places = " ".join(one.where for one in erasure.remains)
    assert [place for place in PLACES if place not in places] == []
    assert any(NOT_ASKED in one.why for one in erasure.remains if "user_features" in one.where)


def test_a_database_that_does_not_answer_is_told_as_not_done_and_may_be_asked_again() -> None:
    def away() -> ReviewData:
        raise StoreUnavailable("postgres", "connection refused")

    kept = outside(review_data())
    erasure = erase_outside(Outside(away, kept.retention, kept.topics), 7, NOW)
    assert erasure.failed == ["user_features in PostgreSQL: postgres: connection refused"]
    assert erasure.deleted == {}
    assert {"PostgreSQL: fraud_alerts", "Kafka: all topics"} <= {one.where for one in erasure.remains}
    assert erase_outside(kept, 7, NOW).deleted == {"user_features": 1}
