"""The command line of `ray-fraud batch score`: what it takes, what it refuses, what it shows."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from ray_fraud.cli import main
from ray_fraud.cli.batch_score import report_view

PERIOD = ("--from", "2026-11-01", "--to", "2026-11-25T12:00:00+02:00")


def _run(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ("batch", "score", *arguments, "--data-dir", str(folder / "none")))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (PERIOD, "--live"),
        (("--from", "2026-11-02", "--to", "2026-11-02", "--live"), "must be earlier"),
        (("--from", "yesterday", "--to", "2026-11-02", "--live"), "'yesterday' is no date or time"),
        ((*PERIOD, "--model", "forest"), "NAME:VERSION"),
        ((*PERIOD, "--model", "forest:0"), "NAME:VERSION"),
        ((*PERIOD, "--live", "--job", "../x"), "letters, digits"),
        (("--to", "2026-11-02", "--live"), "--from"),
    ],
)
def test_a_wrong_command_line_is_refused(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    result = _run(tmp_path, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_without_a_platform_it_says_so(tmp_path: Path) -> None:
    result = _run(tmp_path, *PERIOD, "--live", "--model", "isolation_forest:1", "--job", "november")
    assert result.exit_code == 1
    assert "no platform runs here; start one with `ray-fraud up`" in result.stderr
    assert not (tmp_path / "none").exists()


def shown(report: dict[str, Any]) -> str:
    console = Console(width=80)
    with console.capture() as capture:
        console.print(report_view(report))
    return capture.get()


REPORT: dict[str, Any] = {
    "job": "november",
    "since_ms": 1_793_491_200_000,
    "until_ms": 1_793_577_600_000,
    "source_version": 3,
    "rows": 2_000,
    "without_features": 0,
    "models": [
        {
            "model": "forest:1",
            "rows": 2_000,
            "anomalies": 30,
            "threshold": 0.9,
            "mean": 0.25,
            "least": 0.1,
            "greatest": 0.99,
            "quantiles": {"p50": 0.2, "p90": 0.5, "p99": 0.91, "p999": 0.98},
            "anomalies_by_day": {"2026-11-01": 30},
        }
    ],
    "files": 1,
    "version": 7,
    "scored_at_ms": 1_793_577_600_000,
    "finished_before": False,
    "seconds": 3.21,
}


def test_the_result_for_people_has_versions_and_days() -> None:
    text = shown(REPORT)
    assert "1.500%" in text
    assert "2026-11-01 00:00:00 UTC" in text
    assert ["2026-11-01", "30"] in [line.split() for line in text.splitlines()]
    assert ["p99.9", "0.9800"] in [line.split() for line in text.splitlines()]
    assert "…" not in text
    assert "nothing was written" not in text


def test_a_finished_or_empty_job_says_that_nothing_was_written() -> None:
    assert "finished before" in shown(REPORT | {"finished_before": True})
    assert "no rows of features" in shown(REPORT | {"rows": 0, "models": [], "version": None})


def test_imported_rows_that_have_no_features_are_told_with_what_to_do() -> None:
    assert "lake features" not in shown(REPORT)
    text = shown(REPORT | {"without_features": 1_200})
    assert "1,200" in text
    assert "ray-fraud lake features" in text
