"""`ray-fraud generate --scenario handbook`, run as a user runs it, into files."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from click.testing import CliRunner, Result

from ray_fraud.cli import main
from ray_fraud.generator.handbook import HandbookSettings, handbook_transactions
from ray_fraud.generator.transaction import HandbookScenario


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["generate", "--scenario", "handbook", *arguments])


def answer(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    assert (found["schema_version"], found["command"], found["status"]) == (1, "generate", "ok")
    data: dict[str, Any] = found["data"]
    return data


def test_a_file_gets_the_data_of_the_shift_and_the_answer_tells_what_they_are(tmp_path: Path) -> None:
    file = tmp_path / "handbook.parquet"
    data = answer(run("--to", str(file), "--days", "3", "--seed-shift", "7", "--output", "json"))
    made = handbook_transactions(HandbookSettings(seed_shift=7, days=3))
    rows = pyarrow.parquet.read_table(file)
    assert rows.column_names == list(vars(made))
    assert data["digest"] == made.digest()
    assert data["transactions"] == rows.num_rows == len(made) > 20_000
    assert data["frauds"] == sum(data["frauds_by_scenario"].values()) == int(made.fraud.sum()) > 10
    assert data["frauds_by_scenario"] == {
        scenario.value: int((made.scenario == number).sum())
        for number, scenario in enumerate(HandbookScenario, 1)
    }
    assert (data["target"], data["seed_shift"]) == (str(file), 7)
    assert data["first_event_time"] == made.timestamp[0]
    assert data["last_event_time"] == made.timestamp[-1]


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_lake_import_takes_every_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    monkeypatch.chdir(tmp_path)
    made = answer(run("--to", f"handbook.{ending}", "--days", "1", "--output", "json"))
    command = (
        "lake",
        "import",
        f"handbook.{ending}",
        "--lake",
        (tmp_path / "lake").as_uri(),
        "--workers",
        "1",
    )
    result = CliRunner().invoke(main, [*command, "--data-dir", str(tmp_path / "none"), "--output", "json"])
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)["data"]
    assert (data["accepted"], data["rejected"]) == (made["transactions"], {})
    assert data["ignored_columns"] == ["fraud", "scenario"]


def test_the_summary_is_text_unless_asked_otherwise(tmp_path: Path) -> None:
    result = run("--to", str(tmp_path / "f.csv"), "--days", "1")
    assert result.exit_code == 0, result.output
    assert "handbook_compromised_terminal 0" in result.stdout
    assert "2018-04-01" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("--to", "{}.xlsx"), "the ending must be one of .parquet, .csv, .jsonl"),
        (("--to", "{}.csv", "--tps", "5"), "--tps means nothing with --scenario handbook to a file"),
        (("--to", "{}.csv", "--seed", "5"), "--seed means nothing"),
        (("--users", "5", "--kafka", "127.0.0.1:1"), "--users means nothing with --scenario handbook:"),
        (("--prepared", __file__), "--prepared means nothing"),
        (("--tps", "5", "--speed", "5", "--kafka", "127.0.0.1:1"), "leave one of them out"),
        (("--scenario", "card_testing"), "leave the other scenarios out"),
        (("--to", "{}.csv", "--days", "1.5"), "--days 1.5: the data of --scenario handbook have whole days"),
        (("--to", "{}.csv", "--days", "inf"), "inf is not in the range"),
        (("--to", "{}.csv", "--days", "367"), "--days: 367 must be at most 366"),
        (("--to", "{}.csv", "--seed-shift", "4294967296"), "--seed-shift: 4294967296 must be at most"),
        (("--data-dir", "{}"), "ray-fraud up"),
    ],
)
def test_mistakes_are_explained_before_anything_is_made(
    tmp_path: Path, arguments: tuple[str, ...], hint: str
) -> None:
    result = run(*(part.format(tmp_path / "f") for part in arguments))
    assert result.exit_code in (1, 2)
    assert hint in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []
