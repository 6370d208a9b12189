"""SIGKILL to a real import around its commits: each row and each refusal once, and no worker outlives it."""

import json
import multiprocessing
import signal
from pathlib import Path

import psutil
import pytest
from deltalake import DeltaTable

from tests.batch import killed_import
from tests.batch.import_samples import as_json, write_lines
from tests.domain.samples import NOW_S

ROWS = 1_000
AFTER_FIRST_COMMIT, BEFORE_SECOND_COMMIT = 5, 6
"""Half-steps of the table: create, view and append have two each."""


def row(number: int) -> bytes:
    amount = -1 if number % 10 == 0 else 2
    return as_json({"transaction_id": f"t{number}", "user_id": 7, "amount": amount, "timestamp": NOW_S})


@pytest.mark.parametrize("kill_at", [AFTER_FIRST_COMMIT, BEFORE_SECOND_COMMIT])
def test_an_import_that_is_killed_is_gone_on_with(tmp_path: Path, kill_at: int) -> None:
    write_lines(tmp_path / "past.jsonl", [row(number) for number in range(ROWS)])
    victim = multiprocessing.get_context("spawn").Process(
        target=killed_import.main, args=(str(tmp_path), kill_at)
    )
    victim.start()
    victim.join(90)
    assert victim.exitcode == -signal.SIGKILL
    workers = json.loads((tmp_path / "workers.json").read_text())
    assert workers
    _, alive = psutil.wait_procs(
        [psutil.Process(pid) for pid in workers if psutil.pid_exists(pid)], timeout=30
    )
    assert alive == []

    report = killed_import.run(tmp_path)
    assert (report.already_there, report.rows) == (300, ROWS - 300)
    offsets = DeltaTable(tmp_path / "lake" / "transactions").to_pyarrow_table()["offset"].to_pylist()
    assert sorted(offsets) == [number for number in range(ROWS) if number % 10]
    lines = (tmp_path / "rejected.jsonl").read_text().splitlines()
    assert [json.loads(line)["row"] for line in lines] == list(range(0, ROWS, 10))
    # What the killed one had staged is gone, too.
    assert list(tmp_path.glob("ray-fraud-import-*")) == []
