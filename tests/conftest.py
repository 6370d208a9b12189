"""Fixtures that start the embedded servers: each at most once per session, in a folder that goes at the end.

A test that uses one of them is marked `servers` by itself. The server modules are imported by the fixtures,
so that tests without a server do not wait for the clients' imports.
"""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import psycopg2.errors
import pytest
import redis
import tenacity
from hypothesis import settings
from psycopg2 import sql

from cluster.local.ledger import Ledger
from cluster.local.paths import StackPaths
from cluster.local.ports import Ports
from ray_fraud.stores.connections import (
    KafkaConnection,
    LakeLocation,
    PostgresConnection,
    RedisConnection,
    read_secret,
)
from tests import s3_program

if TYPE_CHECKING:
    from tests.s3_server import S3Server

# OpenMP's threads wait for each other by spinning: with two of them and two busy cores a fit of a second
# takes minutes. It is read when the first library with OpenMP is imported; the tests' processes inherit it.
for _library in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_library, "1")

# An error that nobody thought of ends as a sentence; its trace is what a failing test must show.
os.environ.setdefault("RAY_FRAUD_TRACEBACK", "1")

# Hypothesis gives each example 200 ms unless told otherwise, which a busy machine exceeds; tests have limits
# of their own. What else a profile says (in CI: the same examples every time) stays.
settings.register_profile("patient", settings(), deadline=None)
settings.load_profile("patient")

SERVER_FIXTURES = {
    "kafka_server",
    "postgres_server",
    "redis_server",
    "fresh_database",
    "fresh_redis",
    "s3_server",
}


OWN_PLATFORM = "own_platform"
"""Marks tests that start a platform of their own. A process can be connected to one Ray only, and the shared
platform runs from its first test to its last one, so that such a test could not start between them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what needs servers; tests with a platform of their own go before all others."""
    for item in items:
        if SERVER_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.servers)
    items.sort(key=lambda item: item.get_closest_marker(OWN_PLATFORM) is None)


@pytest.fixture(scope="session")
def server_paths() -> Iterator[StackPaths]:
    """A data folder for the session's servers.

    Not pytest's own temporary folder: as root PostgreSQL runs as another user, who cannot enter that one.
    """
    with tempfile.TemporaryDirectory(prefix="ray-fraud-tests-", ignore_cleanup_errors=True) as folder:
        paths = StackPaths(Path(folder))
        paths.prepare()
        yield paths


@pytest.fixture(scope="session")
def _server_ledger(server_paths: StackPaths) -> tuple[Ledger, Ports]:
    return Ledger(server_paths), Ports(server_paths)


@pytest.fixture(scope="session")
def kafka_server(server_paths: StackPaths, _server_ledger: tuple[Ledger, Ports]) -> Iterator[KafkaConnection]:
    """The embedded Kafka, without topics."""
    from cluster.local.kafka import EmbeddedKafka

    server = EmbeddedKafka(server_paths, *_server_ledger)
    with contextlib.ExitStack() as stack:
        stack.callback(server.stop)
        yield server.start()


@pytest.fixture(scope="session")
def postgres_server(
    server_paths: StackPaths, _server_ledger: tuple[Ledger, Ports]
) -> Iterator[PostgresConnection]:
    """The embedded PostgreSQL with an empty database."""
    from cluster.local.postgres import EmbeddedPostgres

    server = EmbeddedPostgres(server_paths, *_server_ledger)
    with contextlib.ExitStack() as stack:
        stack.callback(server.stop)
        connection = server.start()
        # Its data need not outlive the machine, and dropping a database takes a fifth of the time.
        with (server_paths.postgres / "postgresql.conf").open("a") as settings:
            settings.write("\nfsync = off\n")
        os.kill(int((server_paths.postgres / "postmaster.pid").read_text().split()[0]), signal.SIGHUP)
        yield connection


@pytest.fixture(scope="session")
def redis_server(server_paths: StackPaths, _server_ledger: tuple[Ledger, Ports]) -> Iterator[RedisConnection]:
    """The embedded Valkey."""
    from cluster.local.valkey import EmbeddedValkey

    server = EmbeddedValkey(server_paths, *_server_ledger)
    with contextlib.ExitStack() as stack:
        stack.callback(server.stop)
        yield server.start()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """A real S3 server with an empty bucket; without its program the test is skipped."""
    from tests.s3_server import running_s3_server

    found = s3_program.program()
    if found is None and os.environ.get(s3_program.REQUIRED_VARIABLE):
        pytest.fail(f"{s3_program.HOW_TO_GET_IT}; {s3_program.REQUIRED_VARIABLE} asks for it")
    if found is None:
        pytest.skip(s3_program.HOW_TO_GET_IT)
    with running_s3_server(found) as server:
        yield server


@pytest.fixture
def s3_lake(s3_server: S3Server) -> LakeLocation:
    """A lake on S3 that no other test knows."""
    return s3_server.lake(uuid.uuid4().hex)


@pytest.fixture
def fresh_database(postgres_server: PostgresConnection) -> Iterator[PostgresConnection]:
    """A new, empty database for this test, dropped after it."""
    name = f"test_{uuid.uuid4().hex}"
    with _administration(postgres_server) as cursor:
        cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    parts = urlsplit(postgres_server.url)
    yield PostgresConnection(
        url=urlunsplit(parts._replace(path=f"/{name}")),
        password_file=postgres_server.password_file,
        sslmode=postgres_server.sslmode,
    )
    # An autovacuum worker in the database may not be ended by us; it leaves by itself.
    for attempt in tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(psycopg2.errors.InsufficientPrivilege),
        stop=tenacity.stop_after_attempt(20),
        wait=tenacity.wait_fixed(0.5),
        reraise=True,
    ):
        with attempt, _administration(postgres_server) as cursor:
            cursor.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def fresh_redis(redis_server: RedisConnection) -> RedisConnection:
    """The embedded Valkey, emptied."""
    with _redis(redis_server) as client:
        client.flushall()
    return redis_server


@contextlib.contextmanager
def _administration(connection: PostgresConnection) -> Iterator[psycopg2.extensions.cursor]:
    assert connection.password_file is not None
    database = psycopg2.connect(
        connection.url, password=read_secret(connection.password_file), connect_timeout=10
    )
    database.autocommit = True  # CREATE DATABASE refuses to run in a transaction
    try:
        with database.cursor() as cursor:
            yield cursor
    finally:
        database.close()


def _redis(connection: RedisConnection) -> redis.Redis:
    assert connection.password_file is not None
    return redis.Redis.from_url(connection.url, password=read_secret(connection.password_file))
