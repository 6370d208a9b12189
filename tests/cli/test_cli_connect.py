"""`ray-fraud connect`: what it prints is run as it is printed, and the record lies where its user belongs."""

import json
import stat
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from kafka.admin import KafkaAdminClient, UserScramCredentialUpsertion

from cluster.local.client_config import Client
from cluster.local.paths import StackPaths
from cluster.local.secret_files import write_private
from cluster.local.stack_record import StackRecord, write_record
from ray_fraud.cli import main
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.record import Record
from ray_fraud.domain.transaction import Transaction
from ray_fraud.stores.connections import (
    Connections,
    KafkaConnection,
    KafkaSecurity,
    LakeLocation,
    PostgresConnection,
    RedisConnection,
    Topics,
    read_secret,
)
from ray_fraud.stores.log.kafka_admin import KafkaLogAdmin
from ray_fraud.stores.log.kafka_client import opening
from ray_fraud.stores.log.kafka_reader import KafkaLogReader
from ray_fraud.stores.partition_facts import partition_id
from tests.tls_kafka import TlsKafka

PARTITIONS = 5
AWKWARD = 'p"a\\s\\\\s$w ö=#!:€'
"""Each character means something in a properties file, a JAAS configuration, a shell or a Latin-1 file."""


def _connections(kafka: KafkaConnection) -> Connections:
    own = uuid.uuid4().hex[:8]
    topics = Topics(f"{own}-transactions", f"{own}-dlq", f"{own}-alerts", f"{own}-labels", PARTITIONS)
    return Connections(
        kafka, RedisConnection(""), PostgresConnection(""), LakeLocation("file:///none"), topics
    )


def _stack(data_dir: Path, kafka: KafkaConnection) -> Connections:
    connections = _connections(kafka)
    paths = StackPaths(data_dir)
    paths.prepare()
    write_record(paths, StackRecord(connections=connections))
    return connections


def _connect(data_dir: Path, client: Client) -> tuple[dict[str, Any], str]:
    """The data, and all that was printed in either form."""
    arguments = ["connect", "--client", client.value, "--data-dir", str(data_dir)]
    text = CliRunner().invoke(main, arguments)
    answer = CliRunner().invoke(main, [*arguments, "--output", "json"])
    assert (text.exit_code, answer.exit_code) == (0, 0), answer.output
    return json.loads(answer.stdout)["data"], text.output + answer.output


def _run_example(client: Client, example: str) -> str:
    shell = client in (Client.CONSOLE, Client.JAVA)
    command = ["sh", "-c", example] if shell else [sys.executable, "-c", example]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def _records(connections: Connections) -> dict[int, list[Record]]:
    admin = KafkaLogAdmin(connections.kafka)
    found = {}
    try:
        for number in range(PARTITIONS):
            own = partition_id(admin, connections.topics.transactions, number)
            reader = KafkaLogReader(connections.kafka, connections.topics.transactions, own)
            try:
                end = reader.bounds().end
                records: list[Record] = []
                while len(records) < end:
                    records += reader.poll(10, timedelta(seconds=5))
                found[number] = records
            finally:
                reader.close()
    finally:
        admin.close()
    return {number: records for number, records in found.items() if records}


def _assert_sends(data_dir: Path, connections: Connections, client: Client) -> None:
    admin = KafkaLogAdmin(connections.kafka)
    try:
        admin.ensure_topics(connections.topics)
    finally:
        admin.close()
    data, printed = _connect(data_dir, client)
    said = _run_example(client, data["example"])
    ((partition, (record,)),) = _records(connections).items()
    assert partition == data["example_partition"]
    assert record.key == str(data["example_user"]).encode()
    decoded = Decoder(None).decode(record.value)
    assert isinstance(decoded, Transaction)
    assert decoded.user_id == data["example_user"]
    if connections.kafka.password_file is not None:
        assert read_secret(connections.kafka.password_file) not in printed + said
    if data["file"] is not None:
        assert stat.S_IMODE(Path(data["file"]).stat().st_mode) == 0o600


@pytest.mark.parametrize("client", Client)
def test_the_printed_example_sends_a_record_to_its_users_partition(
    kafka_server: KafkaConnection, tmp_path: Path, client: Client
) -> None:
    connections = _stack(tmp_path, kafka_server)
    _assert_sends(tmp_path, connections, client)


@pytest.fixture(scope="module")
def tls_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaConnection]:
    """A Kafka that asks for TLS, a client's certificate and a password."""
    server = TlsKafka(tmp_path_factory.mktemp("tls-kafka"))
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.mark.servers
@pytest.mark.parametrize("client", Client)
def test_the_printed_example_reaches_a_server_with_tls(
    tls_kafka: KafkaConnection, tmp_path: Path, client: Client
) -> None:
    connections = _stack(tmp_path, tls_kafka)
    _assert_sends(tmp_path, connections, client)


@pytest.mark.parametrize("client", [Client.JAVA, Client.LIBRDKAFKA, Client.KAFKA_PYTHON])
def test_a_password_of_any_characters_logs_in(
    kafka_server: KafkaConnection, tmp_path: Path, client: Client
) -> None:
    kafka = _with_awkward_user(kafka_server, tmp_path / "password")
    connections = _stack(tmp_path / "a folder's name", kafka)
    _assert_sends(tmp_path / "a folder's name", connections, client)


def _with_awkward_user(kafka: KafkaConnection, password_file: Path) -> KafkaConnection:
    write_private(password_file, AWKWARD + "\n")
    with opening(kafka) as settings:
        admin = KafkaAdminClient(**settings)
    try:
        user = UserScramCredentialUpsertion("o'user #1", "SCRAM-SHA-512", AWKWARD)
        admin.alter_user_scram_credentials([user])
    finally:
        admin.close()
    return msgspec.structs.replace(kafka, username="o'user #1", password_file=password_file)


def test_behind_re_keying_producers_send_to_their_own_topic(tmp_path: Path) -> None:
    connections = _stack(tmp_path, KafkaConnection("127.0.0.1:9"))
    topics = Topics(transactions="transactions.keyed", rekey_from="payments")
    write_record(
        StackPaths(tmp_path), StackRecord(connections=msgspec.structs.replace(connections, topics=topics))
    )
    data, printed = _connect(tmp_path, Client.LIBRDKAFKA)
    assert data["topic"] == "payments"
    assert data["key"].startswith("any")
    assert "produce('payments'" in data["example"]
    assert "send to      topic payments\n" in printed


def test_a_stack_that_was_never_started_says_so(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["connect", "--data-dir", str(tmp_path / "none")])
    assert result.exit_code == 1
    assert "ray-fraud up" in result.output


def _awkward(tmp_path: Path) -> KafkaConnection:
    for name, text in (("password", AWKWARD + "\n"), ("cert.pem", "CERT\nCHAIN\n"), ("key.pem", "KEY\n")):
        file = tmp_path / name
        file.write_text(text)
        file.chmod(0o600)
    return KafkaConnection(
        "broker.example:9093,other.example:9093",
        KafkaSecurity.SASL_SSL,
        "PLAIN",
        "o'user",
        tmp_path / "password",
        Path("/etc/ca.pem"),
        tmp_path / "cert.pem",
        tmp_path / "key.pem",
    )


def test_servers_of_the_users_own_with_tls(tmp_path: Path) -> None:
    _stack(tmp_path / "data", _awkward(tmp_path))
    java, printed = _connect(tmp_path / "data", Client.JAVA)
    assert java["settings"]["ssl.truststore.location"] == "/etc/ca.pem"
    content = Path(java["file"]).read_text("ascii")
    assert "ssl.keystore.certificate.chain=CERT\\nCHAIN\\n\n" in content
    assert "PlainLoginModule required username=" in content
    assert AWKWARD not in printed
    rdkafka, printed = _connect(tmp_path / "data", Client.LIBRDKAFKA)
    lines = Path(rdkafka["file"]).read_text().splitlines()
    settings = dict(line.split("=", 1) for line in lines)
    assert settings["sasl.password"] == AWKWARD
    assert settings["partitioner"] == "murmur2_random"
    assert (settings["ssl.ca.location"], settings["ssl.key.location"]) == (
        "/etc/ca.pem",
        str(tmp_path / "key.pem"),
    )
    assert AWKWARD not in printed
    python, printed = _connect(tmp_path / "data", Client.KAFKA_PYTHON)
    assert python["settings"]["ssl_cafile"] == "'/etc/ca.pem'"
    compile(python["example"], "example", "exec")
    assert AWKWARD not in printed


def test_a_connection_that_contradicts_itself_says_what_is_missing(tmp_path: Path) -> None:
    kafka = msgspec.structs.replace(_awkward(tmp_path), username=None)
    _stack(tmp_path / "data", kafka)
    result = CliRunner().invoke(main, ["connect", "--data-dir", str(tmp_path / "data")])
    assert result.exit_code == 1
    assert "needs sasl_mechanism, username and password_file" in result.output
