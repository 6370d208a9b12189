"""`ray-fraud alerts tail` against a real database: each alert is an answer of its own."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cluster.local.paths import StackPaths
from cluster.local.stack_record import StackRecord, write_record
from ray_fraud.cli import main
from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.connections import (
    Connections,
    KafkaConnection,
    LakeLocation,
    PostgresConnection,
    RedisConnection,
)
from ray_fraud.stores.ledger.migrate import migrate
from ray_fraud.stores.ledger.postgres import PostgresLedger
from tests.stores.ledger_world import example_alert

PARTITION = PartitionId("cluster", "topic", 1)
INTERVAL_SECONDS = 0.05
PATIENCE_SECONDS = 60.0


@pytest.fixture
def data_dir(tmp_path: Path, fresh_database: PostgresConnection) -> Path:
    """The folder of a stack of which only PostgreSQL runs."""
    migrate(fresh_database)
    connections = Connections(
        kafka=KafkaConnection("nowhere.invalid:9092"),
        redis=RedisConnection("redis://nowhere.invalid:6379/0"),
        postgres=fresh_database,
        lake=LakeLocation("file:///nowhere"),
    )
    paths = StackPaths(tmp_path / "stack")
    paths.prepare()
    write_record(paths, StackRecord(connections=connections))
    return paths.data_dir


@contextmanager
def alerts_arriving(database: PostgresConnection) -> Iterator[None]:
    """One new alert after the other while the block runs, because a tail shows only what is new."""
    ended = threading.Event()

    def store() -> None:
        ledger = PostgresLedger(database)
        try:
            with ledger.take_over(PARTITION) as turn:
                own = turn.confirm(1, "token", 0)
            # So many at most: a tail that shows none of them hangs, and the test's own limit ends it.
            for offset in range(int(PATIENCE_SECONDS / INTERVAL_SECONDS)):
                ledger.insert_hot_alerts(own, [example_alert(offset)])
                if ended.wait(INTERVAL_SECONDS):
                    return
        finally:
            ledger.close()

    storing = threading.Thread(target=store, name="storing")
    storing.start()
    try:
        yield
    finally:
        ended.set()
        storing.join(PATIENCE_SECONDS)


def tail(data_dir: Path, database: PostgresConnection, *options: str) -> Result:
    with alerts_arriving(database):
        return CliRunner().invoke(main, ["alerts", "tail", "--data-dir", str(data_dir), *options])


def test_each_line_is_the_envelope_of_every_command(
    data_dir: Path, fresh_database: PostgresConnection
) -> None:
    result = tail(data_dir, fresh_database, "--count", "3", "--output", "json")
    assert result.exit_code == 0, result.output
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(answers) == 3
    for answer in answers:
        assert set(answer) == {"schema_version", "command", "status", "data"}
        assert (answer["schema_version"], answer["command"], answer["status"]) == (1, "alerts tail", "ok")
    shown = [answer["data"]["offset"] for answer in answers]
    assert shown == list(range(shown[0], shown[0] + 3))
    assert answers[0]["data"]["partition_id"][0] == PARTITION.cluster_id


def test_text_is_one_line_for_each_alert(data_dir: Path, fresh_database: PostgresConnection) -> None:
    result = tail(data_dir, fresh_database, "--count", "2")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert len(lines) == 2
    assert all("HIGH_AMOUNT" in line.upper() and "4,812.00" in line for line in lines)
