"""What every record of runs promises: run on the memory one and on PostgreSQL."""

import uuid
from collections.abc import Iterator

import msgspec
import pytest

from ray_fraud.domain.metrics import RunStatus
from ray_fraud.stores.runs.memory import MemoryBatchRuns
from ray_fraud.stores.runs.port import BatchRuns, Run
from ray_fraud.stores.runs.postgres import PostgresBatchRuns


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.servers)])
def runs(request: pytest.FixtureRequest) -> Iterator[BatchRuns]:
    made: BatchRuns
    if request.param == "memory":
        made = MemoryBatchRuns()
    else:
        made = PostgresBatchRuns(request.getfixturevalue("migrated_database"))
    yield made
    made.close()


def run(started: float, status: RunStatus = RunStatus.RUNNING) -> Run:
    return Run(uuid.uuid4(), started, "schedule", status)


def test_a_run_is_saved_and_then_ends(runs: BatchRuns) -> None:
    begun = run(1_790_000_000.25)
    runs.save(begun)
    assert list(runs.last(5)) == [begun]
    ended = msgspec.structs.replace(
        begun,
        status=RunStatus.DONE,
        ended=1_790_000_010.5,
        report={"ingest": {"accepted": 3, "new_gaps": []}},
    )
    runs.save(ended)
    runs.save(ended)
    assert list(runs.last(5)) == [ended]


def test_the_newest_come_first(runs: BatchRuns) -> None:
    saved = [run(1_790_000_000.0 + number) for number in range(4)]
    for one in saved:
        runs.save(one)
    assert list(runs.last(2)) == [saved[3], saved[2]]


def test_the_last_good_run_is_found_behind_others(runs: BatchRuns) -> None:
    assert runs.last_good() is None
    for started, status in enumerate((RunStatus.DONE, RunStatus.DONE, RunStatus.FAILED), 1_790_000_000):
        error = "away" if status is RunStatus.FAILED else None
        ended = {"status": status, "ended": started + 0.25, "error": error}
        runs.save(msgspec.structs.replace(run(started), **ended))
    runs.save(run(1_790_000_003.0))
    assert runs.last_good() == 1_790_000_001.25


def test_what_was_left_open_is_closed_once(runs: BatchRuns) -> None:
    done = msgspec.structs.replace(run(1_790_000_000.0), status=RunStatus.DONE, ended=1_790_000_001.0)
    left = run(1_790_000_002.0)
    runs.save(done)
    runs.save(left)
    assert runs.fail_unfinished(1_790_000_009.0, "interrupted") == 1
    assert runs.fail_unfinished(1_790_000_010.0, "again") == 0
    closed, untouched = runs.last(2)
    assert untouched == done
    assert (closed.status, closed.ended, closed.error) == (RunStatus.FAILED, 1_790_000_009.0, "interrupted")
