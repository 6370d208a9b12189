"""`ray-fraud verdicts simulate` on a real Kafka and a real PostgreSQL, without Ray."""

import json
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cluster.local.paths import StackPaths
from cluster.local.stack_record import StackRecord, write_record
from ray_fraud.cli import main
from ray_fraud.domain.record import PartitionId
from ray_fraud.generator.encode import encode_key, encode_label
from ray_fraud.generator.transaction import Label, Scenario
from ray_fraud.stores.connections import (
    Connections,
    KafkaConnection,
    LakeLocation,
    PostgresConnection,
    RedisConnection,
    Topics,
)
from ray_fraud.stores.ledger.migrate import migrate
from ray_fraud.stores.ledger.postgres import PostgresLedger
from ray_fraud.stores.log.kafka_admin import KafkaLogAdmin
from ray_fraud.stores.log.kafka_writer import KafkaLogWriter
from tests.stores.ledger_world import example_alert

PARTITION = PartitionId("cluster", "topic", 1)
EVENT_SECONDS = 1_750_000_000.125
USERS = 5


@pytest.fixture
def data_dir(
    tmp_path: Path,
    kafka_server: KafkaConnection,
    fresh_database: PostgresConnection,
    request: pytest.FixtureRequest,
) -> Path:
    """A stack of Kafka and PostgreSQL: transactions 0 … 19, frauds the even ones, alerts on the first ten."""
    migrate(fresh_database)
    name = request.node.name
    topics = Topics(f"{name}.t", f"{name}.dlq", f"{name}.alerts", f"{name}.labels")
    connections = Connections(
        kafka=kafka_server,
        redis=RedisConnection("redis://nowhere.invalid:6379/0"),
        postgres=fresh_database,
        lake=LakeLocation("file:///nowhere"),
        topics=topics,
    )
    with closing(KafkaLogAdmin(kafka_server)) as admin:
        admin.ensure_topics(topics)
    with closing(KafkaLogWriter(kafka_server)) as writer:
        for number in range(0, 20, 2):
            user = number % USERS
            label = Label(f"transaction-{number}", user, True, Scenario.STOLEN_CARD, EVENT_SECONDS)
            writer.send(topics.labels, key=encode_key(user), value=encode_label(label))
        writer.flush(timedelta(seconds=30))
    with closing(PostgresLedger(fresh_database)) as ledger:
        with ledger.take_over(PARTITION) as turn:
            own = turn.confirm(1, "token", 0)
        ledger.insert_hot_alerts(own, [example_alert(number, user_id=number % USERS) for number in range(10)])
    paths = StackPaths(tmp_path / "stack")
    paths.prepare()
    write_record(paths, StackRecord(connections=connections))
    return paths.data_dir


def run(data_dir: Path, *words: str) -> dict[str, Any]:
    result = CliRunner().invoke(main, ["verdicts", *words, "--data-dir", str(data_dir), "--output", "json"])
    assert result.exit_code == 0, result.output
    data: dict[str, Any] = json.loads(result.stdout)["data"]
    return data


def test_alerts_are_judged_up_to_the_capacity_then_the_rest_and_frauds_without_an_alert(
    data_dir: Path,
) -> None:
    now = ("simulate", "--seconds", "0", "--delay", "0")
    patient = ("--chargeback-delay", "1e8")
    first = run(data_dir, *now, *patient, "--capacity-per-day", "4")
    assert (first["alerts"], first["labels"]) == (10, 10)
    assert first["true_fraud"] + first["false_positive"] == 4
    assert (first["open_alerts"], first["chargebacks"]) == (6, 0)
    second = run(data_dir, *now, *patient, "--capacity-per-day", "10")
    assert second["true_fraud"] + second["false_positive"] == 6, "those of the first run count in the day"
    third = run(data_dir, *now)
    assert (third["true_fraud"], third["false_positive"], third["chargebacks"]) == (0, 0, 5)
    assert (third["open_alerts"], third["open_frauds"]) == (0, 0)
    rows = run(data_dir, "list")["verdicts"]
    assert {row["origin"] for row in rows} == {"simulated"}
    told = {int(row["transaction_id"].removeprefix("transaction-")): row["fraud"] for row in rows}
    assert told == {number: number % 2 == 0 for number in (*range(10), 10, 12, 14, 16, 18)}


def test_history_is_judged_in_its_own_time(data_dir: Path) -> None:
    words = ("--event-time", "--seconds", "0", "--delay", "0", "--chargeback-delay", "0")
    run(data_dir, "simulate", *words)
    known = {row["known_ms"] for row in run(data_dir, "list")["verdicts"]}
    assert known == {round(EVENT_SECONDS * 1000)}
