"""What the ledger's conformance suite, which runs behind PgBouncer as well, does not say about poolers."""

import shutil
import threading
import time
from collections.abc import Callable
from contextlib import closing
from urllib.parse import urlsplit, urlunsplit

import msgspec
import pytest

from cluster.local.health import postgres_answers
from cluster.local.paths import StackPaths
from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.connections import PostgresConnection
from ray_fraud.stores.errors import StoreRefused, StoreUnavailable
from ray_fraud.stores.ledger.migrate import check_schema, migrate, packaged_migrations
from ray_fraud.stores.ledger.postgres import PostgresLedger
from ray_fraud.stores.ledger.postgres_session import Limits, Session
from tests.stores.pgbouncer import pooled

Pooled = Callable[[str], PostgresConnection]


@pytest.fixture
def transactions(pooled_database: Pooled, migrated_database: PostgresConnection) -> PostgresConnection:
    """The database behind a pooler that gives each transaction another server process."""
    assert migrated_database
    return pooled_database("transaction")


def with_query(where: PostgresConnection, query: str) -> PostgresConnection:
    return msgspec.structs.replace(where, url=urlunsplit(urlsplit(where.url)._replace(query=query)))


def test_a_start_up_parameter_that_a_pooler_refuses_is_no_outage(
    transactions: PostgresConnection, partition: PartitionId
) -> None:
    """Ours send none; a user's URL or PGOPTIONS may."""
    ledger = PostgresLedger(with_query(transactions, "options=-c%20geqo%3Doff"))
    with pytest.raises(StoreRefused, match="ignore_startup_parameters"):
        ledger.events(partition)
    ledger.close()


def test_statement_pooling_is_refused_by_the_name_of_its_setting(
    server_paths: StackPaths, migrated_database: PostgresConnection, partition: PartitionId
) -> None:
    with pooled(migrated_database, server_paths.data_dir / "pgbouncer-statement", "statement") as where:
        ledger = PostgresLedger(where)
        with pytest.raises(StoreRefused, match="pool_mode = transaction"), ledger.take_over(partition):
            pass
        ledger.close()


def test_those_who_migrate_at_once_behind_a_pooler_strand_no_lock(
    server_paths: StackPaths, fresh_database: PostgresConnection
) -> None:
    folder = server_paths.data_dir / "pgbouncer-migrate"
    with pooled(fresh_database, folder, "transaction", server_round_robin=1) as where:
        applied: list[str] = []
        workers = [threading.Thread(target=lambda: applied.extend(migrate(where))) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(timeout=60)
        assert sorted(applied) == [migration.name for migration in packaged_migrations()]
        check_schema(where)
        with closing(Session(fresh_database, name="test")) as direct:
            locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
            assert direct.rows("locks", locks) == [(0,)]


def test_limits_hold_behind_a_pooler_and_stay_with_their_transaction(
    transactions: PostgresConnection, migrated_database: PostgresConnection
) -> None:
    with (
        closing(Session(migrated_database, name="holder")) as holder,
        closing(Session(transactions, name="hasty", limits=Limits(1.0, 0.3, 0.1))) as hasty,
        closing(Session(transactions, name="other", limits=Limits(1.0, 7.0, 3.0))) as other,
    ):
        holder.begin("hold")
        holder.rows("hold", "LOCK TABLE fraud_alerts IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StoreUnavailable, match="55P03"):
            hasty.rows("locked", "SELECT count(*) FROM fraud_alerts")
        with pytest.raises(StoreUnavailable, match="57014"):
            hasty.rows("slow", "SELECT pg_sleep(3)")
        holder.rows("hold", "ROLLBACK")
        shown = "SELECT current_setting('statement_timeout'), current_setting('lock_timeout')"
        assert other.rows("show", shown) == [("7s", "3s")]
        assert hasty.rows("show", shown) == [("300ms", "100ms")]
        with other.transaction("show"):
            assert other.rows("show", shown) == [("7s", "3s")]


def test_a_take_over_that_stopped_midway_behind_a_pooler_gives_its_lock_back(
    transactions: PostgresConnection, partition: PartitionId
) -> None:
    abandoned = PostgresLedger(transactions, limits=Limits(idle_transaction_seconds=0.3))
    other = PostgresLedger(transactions, limits=Limits(lock_seconds=5.0))
    with abandoned.take_over(partition) as turn:
        with other.take_over(partition) as later:
            later.confirm(1, "other", 0)
        with pytest.raises(StoreUnavailable):
            turn.confirm(1, "too late", 0)
    assert [row.token for row in other.epochs(partition)] == ["other"]
    other.close()
    abandoned.close()


def test_a_pooler_that_lost_its_server_is_an_outage_of_one_call(
    transactions: PostgresConnection, migrated_database: PostgresConnection, partition: PartitionId
) -> None:
    ledger = PostgresLedger(transactions)
    assert ledger.events(partition) == []
    with closing(Session(migrated_database, name="operator")) as operator:
        operator.rows(
            "end",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'",
        )
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            assert ledger.events(partition) == []
            break
        except StoreUnavailable:
            time.sleep(0.05)
    else:
        pytest.fail("the ledger stayed away")
    ledger.close()


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_health_behind_a_pooler(
    pooled_database: Pooled, migrated_database: PostgresConnection, mode: str
) -> None:
    assert migrated_database
    assert postgres_answers(pooled_database(mode))


def test_the_program_is_asked_for_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is required, its absence is a failure and no skip."""
    from tests.stores import pgbouncer

    monkeypatch.setattr(shutil, "which", lambda *_args, **_options: None)
    monkeypatch.setenv(pgbouncer.REQUIRED_VARIABLE, "1")
    with pytest.raises(pytest.fail.Exception, match="apt-get install pgbouncer"):
        pgbouncer.program()
    monkeypatch.delenv(pgbouncer.REQUIRED_VARIABLE)
    with pytest.raises(pytest.skip.Exception, match="apt-get install pgbouncer"):
        pgbouncer.program()
