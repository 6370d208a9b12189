"""Numbered migrations against a real server."""

import json
import threading

import pytest

from ray_fraud.stores.connections import PostgresConnection
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.ledger.migrate import Migration, check_schema, migrate, packaged_migrations
from ray_fraud.stores.ledger.postgres_session import Session
from ray_fraud.stores.review_data.postgres import PostgresReviewData

FIRST = Migration(1, "0001_first.sql", "CREATE TABLE first (id integer)")
SECOND = Migration(2, "0002_second.sql", "CREATE TABLE second (id integer)")


def tables(where: PostgresConnection) -> set[str]:
    session = Session(where, name="test")
    rows = session.rows(
        "tables", "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
    )
    session.close()
    return {name for (name,) in rows}


def test_each_file_is_applied_once(fresh_database: PostgresConnection) -> None:
    assert migrate(fresh_database, [FIRST]) == ["0001_first.sql"]
    assert migrate(fresh_database, [FIRST, SECOND]) == ["0002_second.sql"]
    assert migrate(fresh_database, [FIRST, SECOND]) == []
    assert tables(fresh_database) == {"first", "second", "schema_migration"}


def test_a_changed_file_is_refused(fresh_database: PostgresConnection) -> None:
    migrate(fresh_database, [FIRST])
    changed = Migration(1, "0001_first.sql", FIRST.sql + " ")
    with pytest.raises(StoreRefused, match=r"0001_first\.sql was applied with SHA-256"):
        migrate(fresh_database, [changed, SECOND])
    assert "second" not in tables(fresh_database)


def test_a_newer_database_is_refused(fresh_database: PostgresConnection) -> None:
    migrate(fresh_database, [FIRST, SECOND])
    with pytest.raises(StoreRefused, match=r"newer than this release: it has 0002_second\.sql"):
        migrate(fresh_database, [FIRST])


def test_a_failing_file_leaves_nothing(fresh_database: PostgresConnection) -> None:
    broken = Migration(2, "0002_broken.sql", "CREATE TABLE half (id integer); SELECT 1 / 0")
    with pytest.raises(StoreRefused, match=r"0002_broken\.sql"):
        migrate(fresh_database, [FIRST, broken])
    assert tables(fresh_database) == {"first", "schema_migration"}
    assert migrate(fresh_database, [FIRST, SECOND]) == ["0002_second.sql"]


def test_processes_that_migrate_at_once_wait_for_each_other(fresh_database: PostgresConnection) -> None:
    applied: list[str] = []
    workers = [threading.Thread(target=lambda: applied.extend(migrate(fresh_database))) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=30)
    assert sorted(applied) == [migration.name for migration in packaged_migrations()]


def test_the_schema_is_checked_before_use(fresh_database: PostgresConnection) -> None:
    with pytest.raises(StoreRefused, match="no schema yet"):
        check_schema(fresh_database)
    migrate(fresh_database, packaged_migrations()[:1])
    with pytest.raises(StoreRefused, match="lacks 0002_"):
        check_schema(fresh_database)
    migrate(fresh_database)
    check_schema(fresh_database)


def test_newest_features_of_earlier_releases_are_kept_and_shown_by_name(
    fresh_database: PostgresConnection,
) -> None:
    migrate(fresh_database, [each for each in packaged_migrations() if each.version < 10])
    session = Session(fresh_database, name="test")
    session.rows(
        "two users",
        "INSERT INTO user_features VALUES "
        "(7, now(), '{\"amount\": 30.100000381469727, \"lat\": null}', 'c', 't', 1, 5), "
        "(8, now(), '{\"lat\": 48.5, \"amount\": null}', 'c', 't', 1, 6)",
    )
    migrate(fresh_database)
    shown = session.rows("by name", "SELECT user_id, features::text, kafka_offset FROM user_features")
    assert [(user, json.loads(features), offset) for user, features, offset in sorted(shown)] == [
        (7, {"amount": 30.1, "lat": None}, 5),
        (8, {"amount": None, "lat": 48.5}, 6),
    ]
    session.close()
    review = PostgresReviewData(fresh_database)
    assert review.features_of(7) == {"amount": 30.100000381469727, "lat": None}
    review.close()
