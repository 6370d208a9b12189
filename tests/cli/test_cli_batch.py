"""What `ray-fraud batch run` and `batch status` tell of a run whose log had lost offsets."""

import json
from typing import Any
from uuid import UUID

import msgspec
import pytest
from click.testing import CliRunner
from rich.console import Console

from batch.ingest.job import IngestReport
from cluster.local import cold_path_client
from cluster.local.stack import LocalStack
from ray_fraud.cli import main
from ray_fraud.cli.batch import run_view, shown_status, status_view
from ray_fraud.domain.batch_settings import BatchSettings
from ray_fraud.domain.metrics import RunStatus
from ray_fraud.stores.runs.port import Run
from ray_fraud.stores.tables.port import LogGapRow
from tests.stores.table_samples import FIRST, SECOND, gap


def ended(*gaps: LogGapRow, status: str = "done") -> dict[str, Any]:
    """A run as the batch actor answers."""
    done = status == "done"
    run = Run(
        UUID(int=1),
        started=1_790_000_000.0,
        cause="request",
        status=RunStatus(status),
        ended=1_790_000_002.0,
        report={"ingest": IngestReport(accepted=3, new_gaps=list(gaps))} if done else None,
        error=None if done else "the lake is away",
    )
    return dict(msgspec.json.decode(msgspec.json.encode(run)))


def shown(view: object) -> str:
    console = Console(width=120)
    with console.capture() as capture:
        console.print(view)
    return capture.get()


@pytest.mark.parametrize(
    ("run", "status", "exit_code"),
    [
        (ended(), "ok", 0),
        (ended(gap(FIRST, 5, 9)), "gaps", 0),
        (ended(status="failed"), "failed", 1),
    ],
)
def test_the_answer_of_a_run_says_whether_records_are_lost(
    monkeypatch: pytest.MonkeyPatch, run: dict[str, Any], status: str, exit_code: int
) -> None:
    monkeypatch.setattr(LocalStack, "connect_if_running", lambda _: True)
    monkeypatch.setattr(cold_path_client, "run_batch", lambda _progress, _timeout: run)
    result = CliRunner().invoke(main, ("batch", "run", "--output", "json"))
    answer = json.loads(result.stdout)
    assert (answer["command"], answer["status"], result.exit_code) == ("batch run", status, exit_code)
    assert answer["data"] == run


def test_a_run_names_what_is_lost() -> None:
    text = shown(run_view(ended(gap(FIRST, 5, 9), gap(SECOND, 3, None))))
    assert "partition 0: offsets 5 to 9: lost" in text
    assert "partition 1: offsets 3 to its end: lost" in text
    assert text.splitlines()[1].split() == ["status", "gaps"]
    assert "LOST" not in shown(run_view(ended()))


def test_the_last_runs_show_which_of_them_found_gaps() -> None:
    runs = [ended(gap(FIRST, 5, 9)), ended(), ended(status="failed")]
    assert [shown_status(run) for run in runs] == ["gaps", "done", "failed"]
    state = {
        "runs": runs,
        "running": None,
        "next_in_seconds": 3.0,
        "interval_seconds": 300.0,
        "settings": msgspec.to_builtins(BatchSettings()),
    }
    lines = shown(status_view(state)).splitlines()[1:4]
    assert [line.split()[3] for line in lines] == ["gaps", "done", "failed"]
