"""What the schema holds by itself, for every writer and not only for our code."""

from collections.abc import Callable, Iterator

import pytest

from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.timeline import EventKind, inline_event
from ray_fraud.stores.connections import PostgresConnection
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.ledger.postgres import PostgresLedger
from ray_fraud.stores.ledger.postgres_queries import PostgresAlertQueries
from ray_fraud.stores.ledger.postgres_session import Rows, Session
from ray_fraud.stores.ledger.queries import Verdict
from ray_fraud.stores.ledger.registry import TRANSITIONS
from tests.stores.ledger_world import example_alert

PARTITION = PartitionId("cluster-1", "topic-1", 1)
EVENT = inline_event(1, 0, EventKind.SETTINGS, b"{}")
Run = Callable[[str], Rows]


@pytest.fixture
def run(migrated_database: PostgresConnection) -> Iterator[Run]:
    """Runs SQL as an operator would."""
    session = Session(migrated_database, name="test")
    yield lambda sql: session.rows("test", sql)
    session.close()


@pytest.fixture
def alert_id(migrated_database: PostgresConnection) -> int:
    """One stored alert of partition (c, t, 1), with one control event."""
    ledger = PostgresLedger(migrated_database)
    with ledger.take_over(PARTITION) as turn:
        own = turn.confirm(1, "owner", 0)
    ledger.append_event(own, EVENT)
    ledger.insert_hot_alerts(own, [example_alert()])
    ledger.close()
    queries = PostgresAlertQueries(migrated_database)
    row = queries.list()[0]
    queries.close()
    return row.alert_id


def test_a_direct_update_of_feedback_becomes_a_feedback_row(run: Run, alert_id: int) -> None:
    run("UPDATE fraud_alerts SET feedback = 'true_fraud'")
    run("UPDATE fraud_alerts SET feedback = 'true_fraud'")
    run("UPDATE fraud_alerts SET feedback = 'false_positive'")
    run("UPDATE fraud_alerts SET feedback = NULL")
    rows = run("SELECT verdict, reviewer, note FROM alert_feedback ORDER BY feedback_id")
    assert rows == [
        ("true_fraud", "ray_fraud", "direct update"),
        ("false_positive", "ray_fraud", "direct update"),
        (None, "ray_fraud", "direct update"),
    ]
    assert run("SELECT feedback FROM fraud_alerts") == [(None,)]


def test_feedback_mirrors_the_newest_row(
    run: Run, alert_id: int, migrated_database: PostgresConnection
) -> None:
    run(f"INSERT INTO alert_feedback (alert_id, verdict) VALUES ({alert_id}, 'true_fraud')")  # noqa: S608
    assert run("SELECT feedback FROM fraud_alerts") == [("true_fraud",)]
    queries = PostgresAlertQueries(migrated_database)
    queries.add_feedback(alert_id, Verdict.FALSE_POSITIVE, "ana")
    queries.close()
    assert run("SELECT feedback FROM fraud_alerts") == [("false_positive",)]
    assert run("SELECT count(*) FROM alert_feedback") == [(2,)]


@pytest.mark.parametrize("table", ["alert_feedback", "control_event", "partition_epoch"])
@pytest.mark.parametrize("change", ["UPDATE {} SET {} = {}", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_append_only_tables_refuse_every_change(run: Run, alert_id: int, table: str, change: str) -> None:
    run("UPDATE fraud_alerts SET feedback = 'true_fraud'")
    column = {"alert_feedback": "note", "control_event": "digest", "partition_epoch": "owner_token"}[table]
    before = run(f"SELECT * FROM {table}")  # noqa: S608
    with pytest.raises(StoreRefused, match="append-only"):
        run(change.format(table, column, column))
    assert run(f"SELECT * FROM {table}") == before != []  # noqa: S608


def test_alerts_cannot_be_cut_off_from_their_feedback(run: Run, alert_id: int) -> None:
    run("UPDATE fraud_alerts SET feedback = 'true_fraud'")
    for change in ("DELETE FROM fraud_alerts", "TRUNCATE fraud_alerts", "TRUNCATE fraud_alerts CASCADE"):
        with pytest.raises(StoreRefused):
            run(change)
    with pytest.raises(StoreRefused):
        run("UPDATE fraud_alerts SET feedback = 'maybe'")
    assert run("SELECT feedback FROM fraud_alerts") == [("true_fraud",)]


MODEL = "INSERT INTO model_registry (model_name, version, model_path, model_digest, threshold, status, traffic_percentage) VALUES "  # noqa: E501


@pytest.mark.parametrize(
    "rows",
    [
        "('m', 1, 'p', 'd1', 0, 'production', 99.99)",
        "('m', 1, 'p', 'd1', 0, 'testing', 100)",
        "('m', 1, 'p', 'd1', 0, 'production', 50), ('m', 2, 'p', 'd2', 0, 'production', 50)",
        "('m', 1, 'p', 'd1', 0, 'production', 60), ('m', 2, 'p', 'd2', 0, 'testing', 50)",
        "('m', 1, 'p', 'd1', 0, 'production', 100), ('m', 2, 'p', 'd2', 0, 'retired', 10)",
        "('m', 1, 'p', 'd1', 0, 'production', 101)",
        "('m', 1, 'p', 'd1', 0, 'unknown', 0)",
    ],
)
def test_a_wrong_split_is_refused_at_commit(run: Run, rows: str) -> None:
    with pytest.raises(StoreRefused):
        run(MODEL + rows)
    assert run("SELECT count(*) FROM model_registry") == [(0,)]


def test_a_split_is_checked_as_a_whole(run: Run) -> None:
    run(MODEL + "('m', 1, 'p', 'd1', 0, 'production', 90), ('m', 2, 'p', 'd2', 0, 'testing', 10)")
    with pytest.raises(StoreRefused, match="must be 1"):
        run("UPDATE model_registry SET status = 'testing'")
    with pytest.raises(StoreRefused, match="must be 100"):
        run("DELETE FROM model_registry WHERE version = 2")
    run("UPDATE model_registry SET traffic_percentage = 100 - traffic_percentage")
    run("DELETE FROM model_registry")


def test_the_database_has_the_same_transitions(run: Run) -> None:
    rows = run("SELECT from_status, to_status FROM model_status_transition")
    assert set(rows) == {
        (before.value, after.value) for before in TRANSITIONS for after in TRANSITIONS[before]
    }
    run(MODEL + "('m', 1, 'p', 'd1', 0, 'retired', 0)")
    with pytest.raises(StoreRefused, match="cannot go from retired to training"):
        run("UPDATE model_registry SET status = 'training'")
