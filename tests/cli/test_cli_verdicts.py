"""`ray-fraud verdicts import | list` and `ray-fraud alerts verdict | show` against a real database."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, fresh_database: PostgresConnection, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command on a stack of which only PostgreSQL runs, with one alert, in an empty folder."""
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
    ledger = PostgresLedger(fresh_database)
    with ledger.take_over(PARTITION) as turn:
        own = turn.confirm(1, "token", 0)
    ledger.insert_hot_alerts(own, [example_alert(1)])
    ledger.close()
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(main, [*words, "--data-dir", str(paths.data_dir)])


def answer(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def as_json(run: Run, *words: str) -> dict[str, Any]:
    data: dict[str, Any] = answer(run(*words, "--output", "json"))["data"]
    return data


def test_an_alert_is_judged_judged_again_and_the_verdict_taken_back(run: Run) -> None:
    first = as_json(run, "alerts", "verdict", "1", "true_fraud", "--note", "called", "--reviewer", "ana")
    assert (first["feedback"], first["verdict"], first["reviewer"], first["origin"]) == (
        "true_fraud", "true_fraud", "ana", "analyst",
    )  # fmt: skip
    uid = str(example_alert(1).alert_uid)
    assert as_json(run, "alerts", "verdict", uid, "false_positive")["feedback"] == "false_positive"
    last = as_json(run, "alerts", "verdict", uid, "--take-back")
    assert (last["feedback"], last["verdict"]) == (None, "taken_back")
    given = as_json(run, "alerts", "show", "1")["verdicts"]
    assert [row["verdict"] for row in given] == ["true_fraud", "false_positive", "taken_back"]
    assert given[0]["note"] == "called"


def test_an_alert_is_shown_whole(run: Run) -> None:
    run("alerts", "verdict", "1", "true_fraud", "--note", "called [the] customer")
    shown = run("alerts", "show", "1").stdout
    for words in ("transaction-1", "amount 4,812.00", "Köln", "true_fraud", "called [the] customer"):
        assert words in shown


def test_mistakes_are_explained(run: Run) -> None:
    for words in (("1",), ("1", "true_fraud", "--take-back"), ("1", "maybe")):
        assert run("alerts", "verdict", *words).exit_code == 2
    result = run("alerts", "verdict", "99", "true_fraud")
    assert result.exit_code == 1
    assert "there is no alert 99" in result.stderr


CSV = """\
transaction_id,user_id,verdict,merchant_id,known_at
transaction-1,7,true_fraud,,2025-11-01
never-alerted,8,true_fraud,shop,2025-11-02T08:00:00
never-alerted,8,maybe,shop,2025-11-03
"""


def test_chargebacks_come_from_a_file_once_and_are_listed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "back.csv").write_text(CSV)
    first = answer(run("verdicts", "import", "back.csv", "--output", "json"))
    assert (first["command"], first["status"]) == ("verdicts import", "rejected")
    assert first["data"] == {
        "rows": 3,
        "added": 2,
        "already_there": 0,
        "rejected": {"out_of_range": 1},
        "rejected_file": "back.csv.rejected.jsonl",
    }
    again = as_json(run, "verdicts", "import", "back.csv")
    assert (again["added"], again["already_there"]) == (0, 2)
    (line,) = (tmp_path / "back.csv.rejected.jsonl").read_text().splitlines()
    assert (json.loads(line)["row"], json.loads(line)["field"]) == (2, "verdict")
    assert as_json(run, "alerts", "show", "1")["feedback"] == "true_fraud"
    rows = as_json(run, "verdicts", "list")["verdicts"]
    assert [(row["transaction_id"], row["verdict"], row["origin"]) for row in rows] == [
        ("transaction-1", "true_fraud", "chargeback"),
        ("never-alerted", "true_fraud", "chargeback"),
    ]
    assert as_json(run, "verdicts", "list", "--since", "2025-11-02")["verdicts"] == rows[1:]
    assert as_json(run, "verdicts", "list", "--limit", "1") == {"verdicts": rows[1:], "more": True}
    assert "never-alerted" in run("verdicts", "list").stdout


def test_a_file_that_is_none_leaves_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("a,b\n")
    result = run("verdicts", "import", "f.csv")
    assert result.exit_code == 1
    assert "no column transaction_id" in result.stderr
    assert not (tmp_path / "f.csv.rejected.jsonl").exists()
    assert run("verdicts", "import", "absent.csv").exit_code == 2
