"""Fixtures of the ledger's tests: the same clients on both databases."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import cache
from urllib.parse import urlsplit, urlunsplit

import msgspec
import psycopg2
import pytest

from cluster.local.paths import StackPaths
from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.connections import PostgresConnection, RedisConnection, read_secret
from ray_fraud.stores.ledger.memory import MemoryDatabase
from ray_fraud.stores.ledger.migrate import migrate
from ray_fraud.stores.ledger.postgres_session import PATIENT, Session
from tests.stores.ledger_world import LedgerWorld
from tests.stores.pgbouncer import pooled
from tests.stores.valkey_nodes import ValkeyCluster, valkey_nodes

RESET = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend';
DROP SCHEMA public CASCADE;
CREATE SCHEMA public
"""


@pytest.fixture(scope="session")
def ledger_database(postgres_server: PostgresConnection) -> PostgresConnection:
    """A database for the ledger's tests, which empty it: faster than one database for each test."""
    assert postgres_server.password_file is not None
    operator = psycopg2.connect(postgres_server.url, password=read_secret(postgres_server.password_file))
    operator.autocommit = True  # CREATE DATABASE refuses to run in a transaction
    with closing(operator), operator.cursor() as cursor:
        cursor.execute("CREATE DATABASE ledger_tests")
    url = urlunsplit(urlsplit(postgres_server.url)._replace(path="/ledger_tests"))
    return msgspec.structs.replace(postgres_server, url=url)


@pytest.fixture
def migrated_database(ledger_database: PostgresConnection) -> PostgresConnection:
    """An empty database with the schema of this release."""
    operator = Session(ledger_database, name="test set-up", limits=PATIENT)
    operator.rows("set up", RESET)
    operator.close()
    migrate(ledger_database)
    return ledger_database


@pytest.fixture(scope="session")
def valkey_cluster(server_paths: StackPaths) -> Iterator[ValkeyCluster]:
    """Six processes, three masters and a replica of each, which no test may change for another."""
    with valkey_nodes(server_paths) as nodes:
        yield ValkeyCluster(nodes)


@pytest.fixture
def fresh_redis_cluster(valkey_cluster: ValkeyCluster) -> RedisConnection:
    """The cluster, emptied."""
    for master in valkey_cluster.nodes[:3]:
        master.ask("FLUSHALL")
    return valkey_cluster.where


@pytest.fixture(scope="session")
def pooled_database(
    server_paths: StackPaths, ledger_database: PostgresConnection
) -> Iterator[Callable[[str], PostgresConnection]]:
    """The ledger's database through a PgBouncer in the named mode of pooling."""
    with ExitStack() as stack:

        @cache
        def of(mode: str) -> PostgresConnection:
            folder = server_paths.data_dir / f"pgbouncer-{mode}"
            return stack.enter_context(pooled(ledger_database, folder, mode))

        yield of


@pytest.fixture(
    params=[
        "memory",
        pytest.param("postgres", marks=pytest.mark.servers),
        pytest.param("session", marks=pytest.mark.servers, id="session-pooling"),
        pytest.param("transaction", marks=pytest.mark.servers, id="transaction-pooling"),
    ]
)
def ledger_world(request: pytest.FixtureRequest) -> Iterator[LedgerWorld]:
    """One in memory, a real one, and that one behind a pooler in either mode."""
    if request.param == "memory":
        yield LedgerWorld(MemoryDatabase())
        return
    if request.param == "postgres":
        where = request.getfixturevalue("migrated_database")
    else:
        # The pooler first: where there is none, nothing needs to be emptied.
        where = request.getfixturevalue("pooled_database")(request.param)
        request.getfixturevalue("migrated_database")
    world = LedgerWorld(where, listens=request.param != "transaction")
    yield world
    world.close()


@pytest.fixture
def partition() -> PartitionId:
    """A partition that no other test knows."""
    return PartitionId("cluster-1", f"topic-{uuid.uuid4().hex}", 1)
