"""Fixtures of the ledger's tests: the same clients on both databases."""

import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import msgspec
import pytest

from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.connections import PostgresConnection
from ray_fraud.stores.ledger.memory import MemoryDatabase
from ray_fraud.stores.ledger.migrate import migrate
from ray_fraud.stores.ledger.postgres_session import PATIENT, Session
from tests.stores.ledger_world import LedgerWorld

RESET = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend';
DROP SCHEMA public CASCADE;
CREATE SCHEMA public
"""


@pytest.fixture(scope="session")
def ledger_database(postgres_server: PostgresConnection) -> PostgresConnection:
    """A database for the ledger's tests, which empty it: faster than one database for each test."""
    operator = Session(postgres_server, name="test set-up", limits=PATIENT)
    operator.rows("set up", "CREATE DATABASE ledger_tests")
    operator.close()
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


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.servers)])
def ledger_world(request: pytest.FixtureRequest) -> Iterator[LedgerWorld]:
    """Both databases, one after the other."""
    if request.param == "memory":
        yield LedgerWorld(MemoryDatabase())
    else:
        world = LedgerWorld(request.getfixturevalue("migrated_database"))
        yield world
        world.close()


@pytest.fixture
def partition() -> PartitionId:
    """A partition that no other test knows."""
    return PartitionId("cluster-1", f"topic-{uuid.uuid4().hex}", 1)
