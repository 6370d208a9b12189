"""`ray-fraud lake import`: a file into a real Delta table by real worker processes, and what it answers."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from deltalake import DeltaTable

from ray_fraud.cli import main
from tests.batch.import_samples import as_json, write_csv, write_lines
from tests.domain.samples import NOW_S

CARD = "4111111111111111"
HEADER, ROW = ["ID", "user_id", "amount", "timestamp"], ["a", "1", "2", "2024-01-01"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(here: Path, file: Path, *arguments: str) -> Result:
    command = ("lake", "import", str(file), "--lake", (here / "lake").as_uri(), "--workers", "1", *arguments)
    return CliRunner().invoke(main, [*command, "--data-dir", str(here / "none"), "--output", "json"])


def answer(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def row(number: int, **changes: Any) -> dict[str, Any]:
    return {"transaction_id": f"t{number}", "user_id": 7, "amount": 1.5, "timestamp": NOW_S, **changes}


def stored(here: Path) -> list[str]:
    return sorted(DeltaTable(here / "lake" / "transactions").to_pyarrow_table()["transaction_id"].to_pylist())


def test_good_rows_go_to_the_lake_bad_ones_to_the_side_file_and_a_second_run_adds_nothing(
    here: Path,
) -> None:
    lines = [row(0), row(1, amount=-1, card_number=CARD), row(2, note="x"), row(3, card_number=CARD)]
    file = write_lines(here / "past.jsonl", [*map(as_json, lines), b"{"])
    (here / "key").write_text("ab" * 32)
    (here / "key").chmod(0o600)
    first = answer(run(here, file, "--card-key-file", str(here / "key")))
    assert (first["command"], first["status"]) == ("lake import", "rejected")
    data = first["data"]
    assert (data["rows"], data["accepted"], data["already_there"], data["version"]) == (5, 3, 0, 1)
    assert (data["rejected"], data["refunds"]) == ({"not_json": 1, "refund": 1}, 1)
    assert data["ignored_columns"] == ["note"]
    assert data["rejected_file"] == "past.jsonl.rejected.jsonl"
    told = [json.loads(line) for line in (here / data["rejected_file"]).read_text().splitlines()]
    assert [(line["row"], line["code"], line["field"]) for line in told] == [
        (1, "refund", "amount"),
        (4, "not_json", ""),
    ]
    assert "amount: -1 is below 0" in told[0]["reason"]
    assert json.loads(told[0]["original"])["card_number"] == "411111******1111"
    assert stored(here) == ["t0", "t2", "t3"]

    second = answer(run(here, file, "--card-key-file", str(here / "key")))
    assert second["status"] == "ok"
    data = second["data"]
    assert (data["rows"], data["already_there"], data["version"]) == (0, 5, None)
    assert stored(here) == ["t0", "t2", "t3"]


def test_a_file_with_other_names_once_more_under_another_mapping_only_if_asked(here: Path) -> None:
    file = write_csv(here / "past.csv", HEADER, [ROW])
    data = answer(run(here, file, "--map", "transaction_id=ID"))["data"]
    assert (data["accepted"], data["rejected"], data["rejected_file"]) == (1, {}, None)
    other = ("--map", "transaction_id=ID", "--map", "merchant_id=ID")
    refused = run(here, file, *other)
    assert refused.exit_code == 1
    assert "--again" in refused.stderr
    assert answer(run(here, file, *other, "--again"))["data"]["accepted"] == 1
    assert answer(run(here, file, *other, "--again"))["data"]["accepted"] == 0
    assert stored(here) == ["a", "a"]


@pytest.mark.parametrize(
    ("name", "arguments", "hint"),
    [
        ("past.csv", (), "no column for transaction_id"),
        ("past.csv", ("--map", "transaction_id=ID", "--map", "amuont=A"), "there is no field amuont"),
        ("past.txt", (), "--format"),
        ("past.csv", ("--map", "transaction_id=ID", "--rejected", "no/where"), "name another side file"),
        ("past.csv", ("--map", "transaction_id=ID", "--card-key-file", "past.csv"), "card key: "),
        ("past.csv", ("--map", "transaction_id=ID", "--lake", "s3://key:hunter2@bucket"), "password"),
    ],
)
def test_mistakes_are_explained_before_anything_is_written(
    here: Path, name: str, arguments: tuple[str, ...], hint: str
) -> None:
    file = write_csv(here / name, HEADER, [ROW])
    result = run(here, file, *arguments)
    assert result.exit_code == 1
    assert hint in result.stderr
    assert "Traceback" not in result.output
    assert "hunter2" not in result.output
    assert [each.name for each in here.iterdir()] == [name]


def test_without_a_stack_and_without_a_lake_it_says_how_to_start_one(here: Path) -> None:
    file = write_lines(here / "past.jsonl", [as_json(row(0))])
    result = CliRunner().invoke(main, ["lake", "import", str(file), "--data-dir", str(here / "none")])
    assert result.exit_code == 1
    assert "ray-fraud up" in result.stderr


def test_a_file_that_is_not_there_is_a_wrong_command_line(here: Path) -> None:
    assert run(here, here / "none.csv").exit_code == 2


def features(here: Path, *arguments: str) -> Result:
    command = ("lake", "features", "--lake", (here / "lake").as_uri(), "--workers", "2", *arguments)
    return CliRunner().invoke(main, [*command, "--data-dir", str(here / "none"), "--output", "json"])


def test_features_of_an_import_are_made_once(here: Path) -> None:
    lines = [row(number, user_id=number % 3, timestamp=NOW_S - 9000 + 60 * number) for number in range(40)]
    answer(run(here, write_lines(here / "past.jsonl", [as_json(line) for line in [*lines, lines[5]]])))
    first = answer(features(here))
    assert (first["command"], first["status"]) == ("lake features", "ok")
    data = first["data"]
    assert (data["imports"], data["rows"], data["written"], data["duplicates"]) == (1, 41, 40, 1)
    table = DeltaTable(here / "lake" / "ml_features").to_pyarrow_table().sort_by("offset")
    assert table["transaction_id"].to_pylist() == [f"t{number}" for number in range(40)]
    counts = table["user_tx_count_1h"].to_pylist()
    assert counts[:6] == [1, 1, 1, 2, 2, 2]

    again = answer(features(here))
    assert (again["status"], again["data"]["version"]) == ("unchanged", None)
    assert DeltaTable(here / "lake" / "ml_features").to_pyarrow_table().num_rows == 40


def test_features_of_a_lake_that_is_not_there_are_an_error(here: Path) -> None:
    result = features(here)
    assert result.exit_code == 1
    assert "Traceback" not in result.output
