"""`ray-fraud lake …` on a lake without a platform: answers, envelopes, refusals in words."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cluster.local.paths import StackPaths
from cluster.local.stack_record import StackRecord, write_record
from ray_fraud.cli import main
from ray_fraud.stores.connections import (
    Connections,
    KafkaConnection,
    LakeLocation,
    PostgresConnection,
    RedisConnection,
)
from tests.batch.care_lake import CareLake


@pytest.fixture
def lake(tmp_path: Path) -> CareLake:
    return CareLake(tmp_path / "lake")


def run(lake: CareLake, *arguments: str, asked: str | None = None) -> Result:
    return CliRunner().invoke(main, ["lake", *arguments, "--lake", lake.location.url], input=asked)


def data(lake: CareLake, *arguments: str, status: str = "ok") -> Any:
    """The data of the envelope."""
    result = run(lake, *arguments, "--output", "json")
    assert result.exit_code == (0 if status == "ok" else 1), result.output
    answer = json.loads(result.stdout)
    assert (answer["command"], answer["status"]) == (f"lake {arguments[0]}", status)
    return answer["data"]


def refused(lake: CareLake, *arguments: str) -> str:
    result = run(lake, *arguments)
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.stderr
    return result.stderr


def corrections(lake: CareLake, *lines: dict[str, Any]) -> str:
    file = lake.folder.parent / "corrections.jsonl"
    place = {"topic_id": "topic-id", "partition": 0}
    file.write_text("\n".join(json.dumps(place | line) for line in lines))
    return str(file)


def test_a_query_answers_with_rows_columns_and_the_version_it_read(lake: CareLake) -> None:
    found = data(lake, "query", "select user_id, count(*) as n from transactions group by 1 order by 1")
    assert found["columns"] == ["user_id", "n"]
    assert found["rows"] == [[7, 6], [8, 6], [9, 6]]
    assert (found["more"], found["versions"]) == (False, {"transactions": 6})


def test_values_of_every_kind_of_column_can_be_shown(lake: CareLake) -> None:
    (row,) = data(lake, "query", "select * from transactions where \"offset\" = 4 and topic_id = 'topic-id'")[
        "rows"
    ]
    assert row[:4] == ["topic-id", 0, 4, "2026-11-25T12:30:15.123000Z"]
    assert row[-3:] == ["00" * 16, "2026-11-24", None]
    text = run(lake, "query", "select event_time, city, sum(amount) over () from transactions limit 1")
    assert "2026-11-25 12:30:15.123" in text.stdout
    assert "225" in text.stdout


def test_the_row_limit_is_told(lake: CareLake) -> None:
    found = data(lake, "query", "select * from transactions", "--limit", "4")
    assert (len(found["rows"]), found["more"]) == (4, True)
    assert "there is more" in run(lake, "query", "select 1 from transactions", "--limit", "4").stdout
    assert not data(lake, "query", "select * from transactions", "--limit", "18")["more"]


def test_the_table_as_it_was(lake: CareLake) -> None:
    count = "select count(*) from transactions"
    assert data(lake, "query", count, "--as-of", "2")["rows"] == [[6]]
    times = {commit["version"]: commit["time"] for commit in data(lake, "history")["commits"]}
    assert data(lake, "query", count, "--as-of", times[3])["rows"] == [[9]]
    assert data(lake, "query", count, "--as-of", "2100-01-01")["rows"] == [[18]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("select * from transactions", "--as-of", "99"), "no version 99; the newest is 6"),
        (("select * from transactions", "--as-of", "2020-01-01T00:00:00Z"), "history begins"),
        (("select * from transactions, log_gaps", "--as-of", "1"), "a version number is of one table"),
        (("selekt 1",), "syntax error"),
        (("select nothing from transactions",), "nothing"),
        (("select * from scores",), "scores"),
        (("select 1; select 2",), "one statement at a time"),
        (("drop view transactions",), "only SELECT"),
        (("set enable_external_access = true",), "only SELECT"),
        (("copy transactions to '{folder}/stolen.csv'",), "only SELECT"),
        (("attach '{folder}/other.db'",), "only SELECT"),
        (("select * from read_text('{folder}/secret')",), "disabled"),
        (("select * from glob('{folder}/*')",), "disabled"),
        (("select * from read_parquet('{folder}/lake/transactions/*/*.parquet')",), "disabled"),
        (("select * from '{folder}/secret'",), "there is no table"),
        (("select * from sql",), "sql"),
    ],
)
def test_what_a_query_may_not_or_cannot_do_is_said(
    lake: CareLake, arguments: tuple[str, ...], message: str
) -> None:
    folder = lake.folder.parent
    (folder / "secret").write_text("hunter2")
    said = refused(lake, "query", *(part.format(folder=folder) for part in arguments))
    assert message in said
    assert "hunter2" not in said
    assert {file.name for file in folder.iterdir()} == {"lake", "secret"}


def test_a_version_whose_files_are_gone_is_explained(lake: CareLake) -> None:
    data(lake, "delete-user", "8", "--reason", "asked", "--yes", "--purge")
    assert "vacuumed" in refused(lake, "query", "select * from transactions", "--as-of", "6")


def test_the_history_tells_what_each_version_did(lake: CareLake) -> None:
    data(lake, "correct", corrections(lake, {"offset": 4, "amount": 3}), "--reason", "wrong till")
    data(lake, "delete-user", "8", "--reason", "asked for it", "--yes")
    commits = data(lake, "history", "-n", "4")["commits"]
    assert [(one["operation"], one["rows"]) for one in commits] == [
        ("DELETE", 6), ("MERGE", 1), ("WRITE", 3), ("WRITE", 3)
    ]  # fmt: skip
    assert [one["note"].split("@")[-1].split(": ")[-1] for one in commits[:2]] == [
        "asked for it",
        "wrong till",
    ]
    assert commits[2]["note"] == "0: 15–18"
    assert commits[2]["ranges"][0]["to_offset"] == 18
    text = run(lake, "history").stdout
    assert "MERGE" in text
    assert "0: 15–18" in text
    assert data(lake, "history", "--table", "lake_deletions")["commits"]


def test_care_says_what_it_did_and_a_dry_run_what_it_would(lake: CareLake) -> None:
    planned = data(lake, "care", "--dry-run")
    assert planned["dry_run"]
    assert [one["files"] for one in planned["tables"][0]["rewritten"]] == [3, 3]
    text = run(lake, "care", "--dry-run").stdout
    assert "nothing was" in text
    assert "feature tables are left alone: a lake alone does not say" in text
    done = data(lake, "care")
    assert (done["tables"][0]["before"]["files"], done["tables"][0]["after"]["files"]) == (6, 2)
    assert "6 → 2" not in run(lake, "care", "--retention-days", "30").stdout
    assert "at least 1 day" in refused(lake, "care", "--retention-days", "0.5")


def test_a_care_by_hand_keeps_what_the_platform_was_told_to_keep(lake: CareLake, tmp_path: Path) -> None:
    servers = (KafkaConnection(""), RedisConnection(""), PostgresConnection(""))
    paths = StackPaths(tmp_path / "data")
    paths.prepare()
    write_record(paths, StackRecord(connections=Connections(*servers, lake.location)))
    (paths.data_dir / "batch-settings.toml").write_text("[care]\nretention_days = 30\n")
    command = ["lake", "care", "--dry-run", "--output", "json", "--data-dir", str(paths.data_dir)]

    def days(*more: str) -> float:
        answer = CliRunner().invoke(main, [*command, *more])
        assert answer.exit_code == 0, answer.output
        return float(json.loads(answer.stdout)["data"]["retention_days"])

    assert days() == 30
    answer = CliRunner().invoke(main, command)
    assert "postgres: " in json.loads(answer.stdout)["data"]["feature_tables_left"]
    assert days("--retention-days", "2") == 2
    deletion = ["lake", "delete-user", "8", "--reason", "asked", "--yes", "--output", "json"]
    answer = CliRunner().invoke(main, [*deletion, "--data-dir", str(paths.data_dir)])
    until = datetime.fromisoformat(json.loads(answer.stdout)["data"]["bytes_until"])
    assert timedelta(days=29) < until - datetime.now(UTC) <= timedelta(days=30)
    assert days("--lake", lake.location.url) == 7


def test_a_care_that_was_not_complete_fails(lake: CareLake) -> None:
    for commit in (lake.folder / "log_gaps" / "_delta_log").glob("*.json"):
        commit.write_text("no commit")
    assert data(lake, "care", status="failed")["failed"]
    assert "log_gaps" in run(lake, "care").stdout


def test_corrections_are_done_or_the_rows_that_are_not_there_are_named(lake: CareLake) -> None:
    file = corrections(lake, {"offset": 4, "amount": 3}, {"offset": 99, "amount": 3})
    missing = data(lake, "correct", file, "--reason", "wrong", status="failed")
    assert missing["unknown"] == [{"topic_id": "topic-id", "partition": 0, "offset": 99}]
    assert missing["corrected"] == 0
    assert "offset 99" in run(lake, "correct", file, "--reason", "wrong").stdout
    assert data(lake, "correct", file, "--reason", "wrong", "--partial")["corrected"] == 1
    wrong = corrections(lake, {"offset": 4, "amount": -3})
    assert "line 1: " in refused(lake, "correct", wrong, "--reason", "wrong")
    amount = 'select amount from transactions where "offset" = 4'
    assert data(lake, "query", amount)["rows"] == [[3.0]]


def test_a_deletion_asks_first_and_says_when_the_bytes_go(lake: CareLake) -> None:
    assert "nothing was deleted" in run(lake, "delete-user", "8", "--reason", "asked", asked="n\n").stderr
    assert lake.users() == {7, 8, 9}
    text = run(lake, "delete-user", "8", "--reason", "asked", asked="y\n").stdout
    assert "until the first care after" in text
    assert lake.users() == {7, 9}
    done = data(lake, "delete-user", "9", "--reason", "asked", "--yes", "--purge")
    assert (done["rows"], done["bytes_until"]) == ({"transactions": 6}, None)
    assert done["purged_files"] > 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("delete-user", "8", "--yes"),
        ("delete-user", "8", "--yes", "--reason", " "),
        ("delete-user", "-8", "--yes", "--reason", "asked"),
        ("query", "select 1", "--as-of", "yesterday"),
        ("query", "select 1", "--limit", "0"),
        ("history", "--table", "nothing"),
        ("correct", "/no/such/file", "--reason", "wrong"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2(lake: CareLake, arguments: tuple[str, ...]) -> None:
    assert run(lake, *arguments).exit_code == 2


def test_the_lake_is_that_of_the_data_folder_unless_one_is_named(lake: CareLake, tmp_path: Path) -> None:
    nothing = CliRunner().invoke(main, ["lake", "history", "--data-dir", str(tmp_path / "none")])
    assert nothing.exit_code == 1
    assert "ray-fraud up" in nothing.stderr
    paths = StackPaths(tmp_path / "stack")
    paths.prepare()
    servers = (KafkaConnection(""), RedisConnection(""), PostgresConnection(""))
    write_record(paths, StackRecord(connections=Connections(*servers, LakeLocation(lake.location.url))))
    found = CliRunner().invoke(
        main, ["lake", "history", "--data-dir", str(paths.data_dir), "--output", "json"]
    )
    assert len(json.loads(found.stdout)["data"]["commits"]) == 7
    named = tmp_path / "servers.json"
    named.write_text(json.dumps({"lake": {"url": lake.location.url}}))
    found = CliRunner().invoke(main, ["lake", "history", "--connections", str(named)])
    assert found.exit_code == 0
    wrong = CliRunner().invoke(main, ["lake", "history", "--lake", "ftp://lake"])
    assert wrong.exit_code == 1
    assert "must start with" in wrong.stderr
    empty = CliRunner().invoke(main, ["lake", "history", "--lake", f"file://{tmp_path}/empty"])
    assert "no table transactions" in empty.stderr


def test_what_no_python_type_holds_is_told_as_text(lake: CareLake) -> None:
    sql = (
        "select timestamp 'infinity' a, timestamp_ns '2026-01-02 03:04:05.123456789' b, date '-infinity' c,"
        " timestamp '0044-03-15 (BC) 10:00:00' d, [timestamp '-infinity'] e, {'x': date 'infinity'} f,"
        " 'infinity'::timestamptz g, 1e308::double * 10 h, 170141183460469231731687303715884105727::hugeint"
        " i, interval 3000000 years j, map {1: timestamp 'infinity'} k,"
        " timestamptz '2026-01-02 03:04:05+00' l,"
        " timestamp_ns '2026-01-02 03:04:05' m, '[/][a-z]' \"[/]\""
    )
    ((a, b, c, d, e, f, g, *rest),) = data(lake, "query", sql)["rows"]
    assert (a, b, c, d) == (
        "infinity", "2026-01-02T03:04:05.123456789", "-infinity", "-0043-03-15T10:00:00.000000",
    )  # fmt: skip
    assert (e, f, g) == (["-infinity"], {"x": "infinity"}, "infinity")
    assert rest[1:2] == ["170141183460469231731687303715884105727"]
    assert rest[3:5] == [[[1, "infinity"]], "2026-01-02T03:04:05Z"]
    for form in ("text", "csv"):
        told = run(lake, "query", sql, "--output", form)
        assert told.exit_code == 0, told.stderr
        assert "[/][a-z]" in told.stdout
        assert "2026-01-02T03:04:05.123456789" in told.stdout


def test_tables_can_be_listed_described_and_pivoted(lake: CareLake) -> None:
    assert ["transactions"] in data(lake, "query", "show tables")["rows"]
    assert [
        row[0] for row in data(lake, "query", "describe transactions")["rows"] if row[0] == "user_id"
    ] == ["user_id"]
    found = data(lake, "query", "pivot transactions on user_id using count(*) group by topic_id")
    assert found["columns"] == ["topic_id", "7", "8", "9"]
    assert found["rows"] == [["topic-id", 6, 6, 6]]


def test_a_table_that_is_not_there_is_answered_with_those_that_are(lake: CareLake) -> None:
    said = refused(lake, "query", "select * from transaction")
    assert "there is no table 'transaction'; its tables are transactions" in said
    assert "Did you mean" not in said


@pytest.mark.parametrize("days", ["nan", "inf", "-inf", "1e12", "-1", "", "seven"])
def test_days_that_are_no_number_of_days_are_refused(lake: CareLake, days: str) -> None:
    result = run(lake, "care", "--retention-days", days)
    assert result.exit_code == 2
    assert "--retention-days" in result.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("delete-user", "8", "--yes", "--reason", "asked"),
        ("query", "select 1"),
        ("history",),
        ("history", "--table", "lake_deletions"),
        ("care",),
        ("care", "--dry-run"),
        ("features",),
    ],
)
@pytest.mark.parametrize("kind", ["missing", "empty", "other files"])
def test_what_is_no_lake_is_refused_and_nothing_is_made_there(
    command: tuple[str, ...], kind: str, tmp_path: Path
) -> None:
    folder = tmp_path / "lakee"
    if kind != "missing":
        folder.mkdir()
    if kind == "other files":
        (folder / "transactions").mkdir()
        (folder / "transactions" / "photo.jpg").write_text("x")
    before = sorted(tmp_path.rglob("*"))
    for output in ("text", "json"):
        answer = CliRunner().invoke(main, ["lake", *command, "--lake", folder.as_uri(), "--output", output])
        assert answer.exit_code == 1, answer.output
        assert f"{folder.as_uri()} is no lake" in answer.output
        assert "check the address" in answer.output
    assert sorted(tmp_path.rglob("*")) == before


def test_a_correction_of_what_is_no_lake_is_refused(lake: CareLake, tmp_path: Path) -> None:
    file = corrections(lake, {"offset": 4, "amount": 3})
    command = ["lake", "correct", file, "--reason", "wrong", "--lake", (tmp_path / "lakee").as_uri()]
    answer = CliRunner().invoke(main, command)
    assert answer.exit_code == 1
    assert "is no lake" in answer.stderr
    assert not (tmp_path / "lakee").exists()


def test_a_deletion_lists_what_remains_where(lake: CareLake) -> None:
    done = data(lake, "delete-user", "8", "--reason", "asked", "--yes")
    places = " ".join(one["where"] for one in done["remains"])
    for place in ("PostgreSQL: user_features", "Kafka", "Redis", "snapshots", "hold_outs"):
        assert place in places
    assert "Redis" in run(lake, "delete-user", "7", "--reason", "asked", "--yes").stdout
