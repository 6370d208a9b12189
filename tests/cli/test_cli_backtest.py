"""`ray-fraud backtest`: a labelled file through real processes, and what it answers to what it cannot do."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from ray_fraud.cli import main
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.transaction import Transaction
from tests.batch.import_samples import write_csv
from tests.batch.labelled_world import labelled_records

COLUMNS = ["TRANSACTION_ID", "TX_DATETIME", "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT", "TX_FRAUD"]
TRAINING = """
alerts_per_day = 5
gradient_boosting = [{trees = 10, leaves = 4, min_leaf = 5}]
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty days, called as in the handbook, and a row that no platform takes."""
    rows = []
    for record, fraud in labelled_records(1_200, days=20, seed=8):
        made = Decoder(None).decode(record.value)
        assert isinstance(made, Transaction)
        cells = (
            made.transaction_id,
            made.timestamp,
            made.user_id,
            made.merchant_id or "",
            made.amount,
            int(fraud),
        )
        rows.append([str(cell) for cell in cells])
    rows.append(["bad", "2026-01-02", "1", "", "-5", "0"])
    return write_csv(tmp_path_factory.mktemp("labelled") / "past.csv", COLUMNS, rows)


def run(*arguments: str | Path, output: str = "json") -> Result:
    command = ["backtest", *map(str, arguments), "--data-dir", "nothing-here", "--workers", "1"]
    return CliRunner().invoke(main, [*command, "--output", output])


def test_a_file_is_trained_on_and_judged(file: Path, tmp_path: Path) -> None:
    training = tmp_path / "training.toml"
    training.write_text(TRAINING)
    alerts = tmp_path / "alerts.parquet"
    result = run(
        file,
        *("--train-start", "2026-01-02", "--train-end", "2026-01-12"),
        *("--test-start", "2026-01-14", "--test-end", "2026-01-18"),
        *("--label-delay", "2d", "--feature-delay", "12h", "--exclude-known-compromised"),
        *("--known-from", "2026-01-11"),
        *("--model", "gradient_boosting", "--training", training, "--top-k", "5", "--alerts", alerts),
    )
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert {name: answer[name] for name in ("schema_version", "command", "status")} == {
        "schema_version": 1,
        "command": "backtest",
        "status": "ok",
    }
    data = answer["data"]
    (model,) = data["models"]
    assert (model["model"], model["version"], model["k"], model["days"]) == ("gradient_boosting", 1, 5, 4.0)
    measures = ("auc_roc", "average_precision", "card_precision_at_k", "precision", "recall", "f1")
    assert all(0 <= model[name] <= 1 for name in measures)
    assert model["alerts_per_day"] == model["alerts"] / 4
    assert [rule["rule"] for rule in data["rules"]] == ["high_amount", "geo_velocity", "ml_anomaly"]
    assert data["delays_seconds"] == {"features": 43_200, "training": 172_800, "filter": 172_800}
    assert data["periods"]["test"]["end"] - data["periods"]["test"]["start"] == 4 * 86_400
    assert data["rows"]["history"] == 1_200
    assert data["rows"]["excluded"] > 0
    assert data["refused"] == {"refund": 1}
    assert pq.read_table(alerts).num_rows == sum(rule["alerts"] for rule in data["rules"])


def test_without_a_training_the_models_of_a_first_start_are_judged(file: Path) -> None:
    result = run(file, "--rules", "high_amount", output="text")
    assert result.exit_code == 0, result.output
    for shown in ("isolation_forest:1", "isolation_forest:2", "high_amount", "card precision@100", "1,200"):
        assert shown in result.stdout
    assert "amount: -5" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--train-start", "2026-01-02"), "--train-end is missing"),
        (("--test-start", "2026-01-03", "--test-end", "2026-01-03"), "--test-start must be earlier"),
        (("--label-delay", "0d"), "is no duration above 0"),
        (("--label-delay", "soon"), "is no duration above 0"),
        (("--rules", "high_amount,no_such"), "there is no rule no_such"),
        (("--model", "random_forest"), "give --train-start and --train-end"),
        (("--model", "nonsense"), "give one of isolation_forest"),
        (("--test-start", "yesterday", "--test-end", "2026-01-03"), "is no date or time"),
    ],
)
def test_a_wrong_command_line_is_told(file: Path, arguments: tuple[str, ...], said: str) -> None:
    result = run(file, *arguments)
    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "isolation_forest:1"), "nothing-here"),
        (("--test-start", "2020-01-01", "--test-end", "2020-01-02"), "the test period has no row"),
        (("--map", "fraud=NO_SUCH"), "the file has no such column"),
    ],
)
def test_what_cannot_be_done_is_told(file: Path, arguments: tuple[str, ...], said: str) -> None:
    result = run(file, *arguments)
    assert result.exit_code == 1
    assert said in result.stderr


def test_a_period_of_the_lake_needs_a_stack(file: Path) -> None:
    assert run("2026-01-01..2026-01-05").exit_code == 1
    assert "must be earlier" in run("2026-01-05..2026-01-05").stderr
    assert "no such file" in run("nowhere.csv").stderr
