"""What the schema does with verdicts by itself, for every writer; and with those of an earlier release."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.connections import PostgresConnection
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.ledger.migrate import migrate, packaged_migrations
from ray_fraud.stores.ledger.postgres import PostgresLedger
from ray_fraud.stores.ledger.postgres_session import Rows, Session
from ray_fraud.stores.verdicts.port import NewVerdict
from ray_fraud.stores.verdicts.postgres import PostgresVerdicts
from tests.stores.ledger_world import example_alert

PARTITION = PartitionId("cluster-1", "topic-1", 1)
Run = Callable[[str], Rows]


@pytest.fixture
def run(migrated_database: PostgresConnection) -> Iterator[Run]:
    """Runs SQL as an operator would."""
    session = Session(migrated_database, name="test")
    yield lambda sql: session.rows("test", sql)
    session.close()


def store_alert(where: PostgresConnection, offset: int = 1, **changes: Any) -> None:
    ledger = PostgresLedger(where)
    with ledger.take_over(PARTITION) as turn:
        own = turn.confirm(turn.last_epoch + 1, "owner", 0)
    ledger.insert_hot_alerts(own, [example_alert(offset, **changes)])
    ledger.close()


def add(where: PostgresConnection, *rows: NewVerdict) -> None:
    verdicts = PostgresVerdicts(where)
    verdicts.add(rows)
    verdicts.close()


ALERT_OF_AN_EARLIER_RELEASE = """
INSERT INTO fraud_alerts (
    alert_uid, transaction_id, user_id, reason, details, rule_name, severity, source, event_time,
    schema_version, cluster_id, topic_id, topic_partition, kafka_offset, record_time, epoch)
VALUES (
    '00000000-0000-5000-8000-000000000001', 'transaction-1', 7, 'high', '{}', 'high_amount', 'medium', 'hot',
    to_timestamp(1750000000.125), 1, 'c', 't', 0, 1, to_timestamp(1750000000.5), 1)
"""
"""Written out: today's owners need columns that the tables of that release did not have."""
ON_THE_ALERT = """
INSERT INTO alert_feedback (alert_id, verdict) SELECT alert_id, 'false_positive' FROM fraud_alerts
"""
ANY_VERDICT = "INSERT INTO alert_feedback (alert_id, transaction_id, user_id, origin, known_at) VALUES"
CHARGEBACK = NewVerdict(transaction_id="transaction-1", user_id=7, fraud=True)


def test_a_direct_update_after_a_chargeback_becomes_a_verdict_on_the_alert(
    run: Run, migrated_database: PostgresConnection
) -> None:
    add(migrated_database, CHARGEBACK)
    store_alert(migrated_database)
    assert run("SELECT feedback FROM fraud_alerts") == [("true_fraud",)]
    assert run("SELECT count(*) FROM alert_feedback") == [(1,)], "the alert's insert adds none"
    run("UPDATE fraud_alerts SET feedback = 'true_fraud'")
    run("UPDATE fraud_alerts SET feedback = 'false_positive'")
    rows = run("SELECT alert_id IS NULL, verdict, origin FROM alert_feedback ORDER BY feedback_id")
    assert rows == [(True, "true_fraud", "chargeback"), (False, "false_positive", "analyst")]
    assert run("SELECT feedback FROM fraud_alerts") == [("false_positive",)]


def test_a_chargeback_of_one_transaction_is_no_verdict_on_a_group(
    run: Run, migrated_database: PostgresConnection
) -> None:
    add(migrated_database, CHARGEBACK)
    store_alert(migrated_database, details={"members": 3, "transactions": []})
    assert run("SELECT feedback FROM fraud_alerts") == [(None,)]
    run("UPDATE fraud_alerts SET feedback = 'true_fraud'")
    rows = run("SELECT alert_id IS NULL, transaction_id FROM alert_feedback ORDER BY feedback_id")
    assert rows == [(True, "transaction-1"), (False, None)]


def test_two_that_judge_one_alert_at_once_leave_what_counts(
    run: Run, migrated_database: PostgresConnection
) -> None:
    store_alert(migrated_database)
    first = Session(migrated_database, name="first")
    with first.transaction("first"):
        first.rows("first", "INSERT INTO alert_feedback (transaction_id, user_id, verdict)"
                   " VALUES ('transaction-1', 7, 'true_fraud')")  # fmt: skip
        run("SET lock_timeout = '200ms'")
        with pytest.raises(Exception, match="lock timeout"):
            run(ON_THE_ALERT)
    run(ON_THE_ALERT)
    assert run("SELECT feedback FROM fraud_alerts") == [("false_positive",)]
    first.close()


@pytest.mark.parametrize(
    "values",
    [
        "(NULL, NULL, NULL, 'analyst', NULL)",
        "(NULL, 't', NULL, 'analyst', NULL)",
        "(NULL, '', 1, 'analyst', NULL)",
        "(NULL, 't', -1, 'analyst', NULL)",
        "(NULL, 't', 1, 'rumour', NULL)",
        "(NULL, 't', 1, 'analyst', clock_timestamp() + interval '1 second')",
        "(99, 't', 1, 'analyst', NULL)",
    ],
)
def test_a_verdict_on_nothing_or_of_the_future_is_refused(run: Run, values: str) -> None:
    with pytest.raises(StoreRefused):
        run(f"{ANY_VERDICT} {values}")
    assert run("SELECT count(*) FROM alert_feedback") == [(0,)]


def test_an_alerts_verdict_names_the_alerts_transaction_whatever_it_says(
    run: Run, migrated_database: PostgresConnection
) -> None:
    store_alert(migrated_database)
    run(
        "INSERT INTO alert_feedback (alert_id, transaction_id, user_id)"
        " SELECT alert_id, 'x', 1 FROM fraud_alerts"
    )
    assert run("SELECT transaction_id, user_id FROM alert_feedback") == [("transaction-1", 7)]


def test_verdicts_of_an_earlier_release_are_known_since_they_were_given(
    fresh_database: PostgresConnection,
) -> None:
    migrate(fresh_database, packaged_migrations()[:6])
    session = Session(fresh_database, name="test")
    session.rows("test", ALERT_OF_AN_EARLIER_RELEASE)
    session.rows("test", "UPDATE fraud_alerts SET feedback = 'true_fraud'")
    migrate(fresh_database)
    ((transaction, user, origin, event_time, given_at, known_at),) = session.rows(
        "test", "SELECT transaction_id, user_id, origin, event_time, given_at, known_at FROM alert_feedback"
    )
    assert (transaction, user, origin) == ("transaction-1", 7, "analyst")
    assert event_time.timestamp() == 1_750_000_000.125
    assert timedelta() <= given_at - known_at < timedelta(milliseconds=1)
    with pytest.raises(StoreRefused, match="append-only"):
        session.rows("test", "UPDATE alert_feedback SET note = 'x'")
    session.rows("test", "UPDATE fraud_alerts SET feedback = NULL")
    assert session.rows("test", "SELECT count(*) FROM alert_feedback") == [(2,)]
    session.close()
