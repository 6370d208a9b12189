"""The generator against the real broker: what was asked for is in the log."""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from ray_fraud.cli.generate import generate
from ray_fraud.domain.record import PartitionId, Record
from ray_fraud.generator.handbook import HandbookSettings, handbook_transactions
from ray_fraud.generator.prepared import prepare
from ray_fraud.stores.connections import (
    Connections,
    KafkaConnection,
    LakeLocation,
    PostgresConnection,
    RedisConnection,
    Topics,
)
from ray_fraud.stores.log.kafka_admin import KafkaLogAdmin
from ray_fraud.stores.log.kafka_reader import KafkaLogReader
from ray_fraud.stores.log.partitioning import partition_of


@pytest.fixture
def topics(kafka_server: KafkaConnection, request: pytest.FixtureRequest) -> Iterator[Topics]:
    name = request.node.name.replace("[", "-").replace("]", "")
    topics = Topics(f"{name}.t", f"{name}.dlq", f"{name}.alerts", f"{name}.labels")
    admin = KafkaLogAdmin(kafka_server)
    try:
        admin.ensure_topics(topics)
        yield topics
    finally:
        admin.close()


def read_all(connection: KafkaConnection, topic: str) -> list[tuple[int, Record]]:
    admin, found = KafkaLogAdmin(connection), []
    identity = (admin.cluster_id(), admin.topic_id(topic))
    admin.close()
    for partition in range(3):
        reader = KafkaLogReader(connection, topic, PartitionId(*identity, partition))
        end = reader.bounds().end
        reader.seek(0)
        while reader.position() < end:
            found += [(partition, record) for record in reader.poll(5000, timedelta(seconds=1))]
        reader.close()
    return found


def connections_file(folder: Path, kafka: KafkaConnection, topics: Topics) -> Path:
    nowhere = Connections(
        kafka,
        RedisConnection("redis://x"),
        PostgresConnection("postgresql://x"),
        LakeLocation("file:///x"),
        topics,
    )
    file = folder / "connections.json"
    file.write_bytes(msgspec.json.encode(nowhere, enc_hook=str))
    return file


def load(connections: Path, prepared: Path, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "ray_fraud.generator.load", "--connections-file", str(connections)]
    done = subprocess.run(
        [*command, "--prepared", str(prepared), *arguments],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_the_command_sends_transactions_and_labels(
    kafka_server: KafkaConnection, topics: Topics, tmp_path: Path
) -> None:
    connections = str(connections_file(tmp_path, kafka_server, topics))
    arguments = ["--connections-file", connections, "--count", "3000", "--tps", "0", "--output", "json"]
    result = CliRunner().invoke(generate, arguments)
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)["data"]
    records = read_all(kafka_server, topics.transactions)
    assert len(records) == data["transactions"] == 3000
    for partition, record in records:
        value = json.loads(record.value or b"")
        assert record.key == str(value["user_id"]).encode()
        assert partition_of(record.key, 3) == partition
        assert value["timestamp"] * 1000 <= record.timestamp_ms + 1
    assert len(read_all(kafka_server, topics.labels)) == data["labels"] > 0


def test_the_handbooks_data_arrive_with_a_label_each(
    kafka_server: KafkaConnection, topics: Topics, tmp_path: Path
) -> None:
    connections = str(connections_file(tmp_path, kafka_server, topics))
    arguments = ["--scenario", "handbook", "--days", "2", "--count", "3000", "--labels", "all"]
    command = ["--connections-file", connections, "--tps", "20000", "--output", "json"]
    result = CliRunner().invoke(generate, arguments + command)
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)["data"]
    made = handbook_transactions(HandbookSettings(days=2))
    values = [json.loads(record.value or b"") for _, record in read_all(kafka_server, topics.transactions)]
    assert sorted(int(value["transaction_id"]) for value in values) == list(range(3000))
    for value in values:
        row = int(value["transaction_id"])
        assert (value["user_id"], value["merchant_id"]) == (made.user_id[row], str(made.merchant_id[row]))
        assert (value["amount"], value["timestamp"]) == (made.amount[row], made.timestamp[row])
    labels = [json.loads(record.value or b"") for _, record in read_all(kafka_server, topics.labels)]
    assert {int(label["transaction_id"]) for label in labels if label["is_fraud"]} == set(
        np.flatnonzero(made.fraud[:3000]).tolist()
    )
    assert len(labels) == data["labels"] == data["transactions"] == 3000


@pytest.mark.parametrize(("tps", "length"), [("0", ("--count", "60000")), ("1000", ("--seconds", "2"))])
def test_a_prepared_load_arrives_complete(
    kafka_server: KafkaConnection, topics: Topics, tmp_path: Path, tps: str, length: tuple[str, str]
) -> None:
    prepared = tmp_path / "prepared.jsonl"
    with prepared.open("wb") as file:
        prepare(file, seed=1, users=1000, count=5000)
    connections = connections_file(tmp_path, kafka_server, topics)
    report = load(connections, prepared, "--tps", tps, *length)
    assert report["sent"] == report["acknowledged"] > 1500
    assert report["failed"] == 0
    records = read_all(kafka_server, topics.transactions)
    assert len(records) == report["sent"]
    values = [json.loads(record.value or b"") for _, record in records]
    assert len({value["transaction_id"] for value in values}) == len(values)
    for (partition, record), value in zip(records, values, strict=True):
        assert round(value["timestamp"] * 1000) == record.timestamp_ms
        assert record.key == str(value["user_id"]).encode()
        assert partition_of(record.key, 3) == partition
    if tps == "0":
        assert report["tps"] > 20_000
