"""`ray-fraud generate`, run as a user runs it, into files."""

import json
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ray_fraud.cli import main


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["generate", *arguments])


def lines(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_file_gets_transactions_and_its_neighbour_the_labels(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    result = run("--to", str(file), "--start", "2026-01-01", "--days", "20", "--output", "json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert (answer["schema_version"], answer["command"], answer["status"]) == (1, "generate", "ok")
    data, made, labels = answer["data"], lines(file), lines(tmp_path / "history.labels.jsonl")
    assert data["transactions"] == len(made) == pytest.approx(100 * 4 * 20, rel=0.1)
    assert data["frauds"] == data["labels"] == len(labels) > 50
    assert data["frauds_by_scenario"] == dict(Counter(str(label["scenario"]) for label in labels))
    assert {label["transaction_id"] for label in labels} <= {each["transaction_id"] for each in made}
    assert data["first_event_time"] >= 1_767_225_600


def test_the_same_command_writes_the_same_file(tmp_path: Path) -> None:
    for name in ("one", "two"):
        arguments = ("--to", str(tmp_path / name), "--start", "2026-01-01", "--count", "500", "--seed", "3")
        assert run(*arguments).exit_code == 0
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_the_summary_is_text_unless_asked_otherwise(tmp_path: Path) -> None:
    result = run("--to", str(tmp_path / "f.jsonl"), "--count", "100", "--scenario", "card_testing")
    assert result.exit_code == 0
    assert "transactions" in result.stdout
    assert result.stderr == ""


def test_labels_of_all_transactions_on_request(tmp_path: Path) -> None:
    file = tmp_path / "f.jsonl"
    run("--to", str(file), "--count", "200", "--labels", "all")
    assert len(lines(tmp_path / "f.labels.jsonl")) == len(lines(file)) == 200


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("--to", "{}"), "--count"),
        (("--to", "{}", "--count", "0"), "--count"),
        (("--to", "{}", "--scenario", "nonsense"), "stolen_card"),
        (("--to", "{}", "--start", "2999-01-01"), "future"),
        (("--to", "{}", "--prepared", __file__), "choose one"),
        (("--prepared", __file__, "--kafka", "127.0.0.1:1"), "prepared layout"),
        (("--prepared", __file__, "--days", "3", "--kafka", "127.0.0.1:1"), "--days"),
        (("--count", "1", "--connections-file", __file__), "Expected `object`"),
        (("--speed", "3", "--kafka", "127.0.0.1:1"), "--start"),
        (("--to", "{}", "--count", "9", "--seed-shift", "1"), "--scenario handbook only"),
    ],
)
def test_mistakes_are_explained(tmp_path: Path, arguments: tuple[str, ...], hint: str) -> None:
    result = run(*(part.format(tmp_path / "f.jsonl") for part in arguments))
    assert result.exit_code in (1, 2)
    assert hint in result.stderr
    assert "Traceback" not in result.stderr
