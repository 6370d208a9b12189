"""PostgreSQL that is read-only or replaced for a moment: a session ends, and the platform goes on."""

import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from urllib.parse import urlsplit, urlunsplit

import msgspec
import pytest

from cluster.local.health import postgres_answers
from ray_fraud.domain.metrics import RunStatus
from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.connections import PostgresConnection
from ray_fraud.stores.errors import StoreRefused, StoreUnavailable
from ray_fraud.stores.ledger.port import SinkProgress
from ray_fraud.stores.ledger.postgres import PostgresLedger
from ray_fraud.stores.ledger.postgres_queries import PostgresAlertQueries
from ray_fraud.stores.ledger.postgres_registry import PostgresRegistry
from ray_fraud.stores.ledger.postgres_session import Limits, Session
from ray_fraud.stores.ledger.queries import Verdict
from ray_fraud.stores.ledger.registry import NewModel
from ray_fraud.stores.review_data.postgres import PostgresReviewData
from ray_fraud.stores.runs.port import Run
from ray_fraud.stores.runs.postgres import PostgresBatchRuns
from tests.stores.ledger_world import example_alert

PARTITION = PartitionId("cluster-1", "topic-of-a-fail-over", 1)
HASTY = Limits(connect_seconds=0.5, statement_seconds=2.0)


class Writer:
    """A client with one connection, and something that it writes."""

    def __init__(self, client: object, write: Callable[[], object], close: Callable[[], None]) -> None:
        self.client = client
        self.write = write
        self.close = close


def ledger_writer(where: PostgresConnection) -> Writer:
    ledger = PostgresLedger(where)
    return Writer(
        ledger, lambda: ledger.insert_from_topic([], SinkProgress(PARTITION, time.time_ns())), ledger.close
    )


def registry_writer(where: PostgresConnection) -> Writer:
    registry = PostgresRegistry(where)
    model = NewModel("trees", "trees/1", uuid.uuid4().hex * 2, 0.5)
    return Writer(registry, lambda: registry.register(model), registry.close)


def runs_writer(where: PostgresConnection) -> Writer:
    runs = PostgresBatchRuns(where)
    run = Run(uuid.uuid4(), 1.0, "schedule", RunStatus.RUNNING)
    return Writer(runs, lambda: runs.save(run), runs.close)


def review_writer(where: PostgresConnection) -> Writer:
    review = PostgresReviewData(where)
    return Writer(review, lambda: review.add_cold(PARTITION, [example_alert()]), review.close)


@pytest.fixture
def read_only(migrated_database: PostgresConnection) -> Iterator[Callable[[bool], None]]:
    """Makes new sessions of the database read-only, as those of a replica are, or writable again."""
    name = urlsplit(migrated_database.url).path[1:]
    operator = Session(migrated_database, name="operator")
    operator.rows("open", "SELECT 1")

    def switch(on: bool) -> None:
        operator.rows("switch", f"ALTER DATABASE {name} SET default_transaction_read_only = {on}")

    yield switch
    switch(False)
    operator.close()


@pytest.mark.parametrize("make", [ledger_writer, registry_writer, runs_writer, review_writer])
def test_a_client_that_met_a_read_only_server_writes_as_soon_as_a_new_one_would(
    migrated_database: PostgresConnection,
    read_only: Callable[[bool], None],
    make: Callable[[PostgresConnection], Writer],
) -> None:
    writer = make(migrated_database)
    read_only(True)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="25006"):
            writer.write()
    read_only(False)
    writer.write()
    writer.close()


def test_health_is_that_of_writes(
    migrated_database: PostgresConnection, read_only: Callable[[bool], None]
) -> None:
    assert postgres_answers(migrated_database)
    read_only(True)
    assert not postgres_answers(migrated_database)
    read_only(False)
    assert postgres_answers(migrated_database)


NEW_SESSION = (
    *("25006", "25P01", "25P02", "25P03", "26000", "42P05", "34000", "3B001", "53300", "57P01", "57P02"),
    *("57P03", "57P05", "08000", "08006", "08P01", "58000", "58030", "XX000", "40003"),
)
SAME_SESSION = ("40001", "40P01", "53100", "53200", "53400", "55006", "55P03", "57014", "72000")
NEVER = ("42501", "42P01", "0A000", "28000", "28P01", "3D000", "XX001", "XX002", "P0001", "F0000", "HV000")


@pytest.fixture
def session(migrated_database: PostgresConnection) -> Iterator[Session]:
    with closing(Session(migrated_database, name="test")) as opened:
        yield opened


def server_process(session: Session) -> int:
    return int(session.rows("process", "SELECT pg_backend_pid()")[0][0])


def fail(session: Session, code: str, text: str = "so it says") -> None:
    session.rows("fail", f"DO $$ BEGIN RAISE EXCEPTION '{text}' USING ERRCODE = '{code}'; END $$")


@pytest.mark.parametrize("code", NEW_SESSION)
def test_an_error_that_a_new_session_may_mend_ends_the_session(session: Session, code: str) -> None:
    before = server_process(session)
    with pytest.raises(StoreUnavailable, match=code):
        fail(session, code)
    assert server_process(session) != before


@pytest.mark.parametrize("code", SAME_SESSION)
def test_a_passing_error_keeps_the_session(session: Session, code: str) -> None:
    before = server_process(session)
    with pytest.raises(StoreUnavailable, match=code):
        fail(session, code)
    assert server_process(session) == before


@pytest.mark.parametrize("code", NEVER)
def test_an_error_that_stays_is_a_refusal(session: Session, code: str) -> None:
    with pytest.raises(StoreRefused, match=code):
        fail(session, code)


def test_a_plan_that_changed_its_columns_is_made_anew(session: Session) -> None:
    """By its words alone: the code is that of every unsupported feature."""
    before = server_process(session)
    with pytest.raises(StoreUnavailable, match="cached plan"):
        fail(session, "0A000", "cached plan must not change result type")
    assert server_process(session) != before


def test_the_next_host_of_the_url_is_taken_when_one_is_gone(migrated_database: PostgresConnection) -> None:
    ledger = PostgresLedger(with_hosts(migrated_database, before=["127.0.0.1:1"]), limits=HASTY)
    assert ledger.sink_progress(PARTITION) is None
    ledger.close()


def test_a_host_that_never_answers_does_not_hide_the_others(migrated_database: PostgresConnection) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        where = with_hosts(migrated_database, before=[f"127.0.0.1:{silent.getsockname()[1]}"])
        ledger = PostgresLedger(where, limits=HASTY)
        with pytest.raises(StoreUnavailable, match=r"no answer within 0\.5 s"):
            ledger.sink_progress(PARTITION)
        assert ledger.sink_progress(PARTITION) is None
        ledger.close()


def test_of_several_hosts_one_that_writes_is_taken(
    migrated_database: PostgresConnection, read_only: Callable[[bool], None]
) -> None:
    where = with_hosts(migrated_database, before=["127.0.0.1:1"])
    read_only(True)
    ledger = PostgresLedger(where, limits=HASTY)
    with pytest.raises(StoreUnavailable, match="read-only"):
        ledger.sink_progress(PARTITION)
    read_only(False)
    assert ledger.sink_progress(PARTITION) is None
    ledger.close()


def test_an_alert_judged_after_a_fail_over(
    migrated_database: PostgresConnection, read_only: Callable[[bool], None]
) -> None:
    review_writer(migrated_database).write()
    queries = PostgresAlertQueries(migrated_database)
    read_only(True)
    (alert,) = queries.list()
    with pytest.raises(StoreUnavailable, match="25006"):
        queries.add_feedback(alert.alert_id, Verdict.TRUE_FRAUD, "analyst")
    read_only(False)
    queries.add_feedback(alert.alert_id, Verdict.TRUE_FRAUD, "analyst")
    queries.close()


def with_hosts(where: PostgresConnection, before: list[str]) -> PostgresConnection:
    parts = urlsplit(where.url)
    user, _, host = parts.netloc.rpartition("@")
    return msgspec.structs.replace(
        where, url=urlunsplit(parts._replace(netloc=f"{user}@{','.join([*before, host])}"))
    )
