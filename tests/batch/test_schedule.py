"""The schedule of the cold path: when runs begin, that none overlap, what is remembered."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from batch.schedule.scheduler import CATCH_UP, REQUEST, SCHEDULE, Job, Scheduler
from ray_fraud.domain import metrics
from ray_fraud.domain.metrics import RunStatus
from ray_fraud.stores.errors import StoreUnavailable
from ray_fraud.stores.runs.memory import MemoryBatchRuns
from ray_fraud.stores.runs.port import Run
from ray_fraud.telemetry.meter import Meter, read_snapshot

INTERVAL = timedelta(minutes=5)
PATIENCE = timedelta(seconds=20)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> dict[str, Any]:
        """An empty report, so that it can be a job."""
        self.now += seconds
        return {}


@pytest.fixture
def clock() -> Clock:
    return Clock()


class ForgetfulRuns(MemoryBatchRuns):
    """The database is away."""

    away = True

    def save(self, run: Run) -> None:
        if self.away:
            raise StoreUnavailable("postgres", f"run {run.run_id}: away")
        super().save(run)


def scheduler(
    clock: Clock, job: Job = dict, runs: MemoryBatchRuns | None = None, settle: float = 0.0
) -> tuple[Scheduler, Meter]:
    meter = Meter("batch", "test")
    runs = MemoryBatchRuns() if runs is None else runs
    made = Scheduler(job, runs, INTERVAL, meter, clock, timedelta(seconds=settle))
    made.recover()
    return made, meter


def failing() -> dict[str, Any]:
    raise StoreUnavailable("lake", "away")


def ran(run: Run | None) -> Run:
    assert run is not None
    return run


def test_a_run_begins_every_interval_counted_from_the_beginning_of_the_last(clock: Clock) -> None:
    made, _ = scheduler(clock, lambda: clock.pass_(100))
    assert ran(made.step()).cause == SCHEDULE
    assert made.step() is None
    assert made.seconds_to_wait() == 200
    clock.pass_(199)
    assert made.step() is None
    clock.pass_(1)
    run = ran(made.step())
    assert (run.cause, run.status, run.ended) == (SCHEDULE, RunStatus.DONE, clock.now)


def test_a_run_that_takes_longer_than_the_interval_is_followed_by_one(clock: Clock) -> None:
    made, _ = scheduler(clock, lambda: clock.pass_(400))
    made.step()
    assert made.seconds_to_wait() == 0
    assert ran(made.step()).cause == SCHEDULE


def test_a_platform_that_comes_up_is_left_alone_for_a_while(clock: Clock) -> None:
    made, _ = scheduler(clock, settle=60)
    assert made.step() is None
    clock.pass_(60)
    assert made.step() is not None


def test_a_request_does_not_wait(clock: Clock) -> None:
    made, _ = scheduler(clock, settle=60)
    ticket = made.request()
    assert ran(made.step()).cause == REQUEST
    assert ran(made.wait(ticket, timedelta(0))).cause == REQUEST
    assert made.step() is None


def test_one_run_serves_all_who_asked_before_it_began_and_nobody_who_asks_later(clock: Clock) -> None:
    later: list[int] = []

    def job() -> dict[str, Any]:
        if not later:
            later.append(made.request())
        return {}

    made, _ = scheduler(clock, job)
    tickets = [made.request(), made.request()]
    first = ran(made.step())
    assert [made.wait(ticket, timedelta(0)) for ticket in tickets] == [first, first]
    assert made.wait(later[0], timedelta(0)) is None
    second = ran(made.step())
    assert made.wait(later[0], timedelta(0)) == second


def test_a_failure_is_remembered_and_the_next_run_comes(clock: Clock) -> None:
    answers: list[dict[str, Any]] = []
    runs = MemoryBatchRuns()
    made, meter = scheduler(clock, lambda: answers.pop(0), runs)
    failed = ran(made.step())
    assert (failed.status, failed.report) == (RunStatus.FAILED, None)
    assert "IndexError" in (failed.error or "")
    answers.append({"rows": 3})
    clock.pass_(300)
    assert ran(made.step()).report == {"rows": 3}
    assert [run.status for run in runs.last(5)] == [RunStatus.DONE, RunStatus.FAILED]
    counters = read_snapshot(meter.snapshot()).counters
    assert counters[metrics.BATCH_RUNS.name, ("failed",)] == counters[metrics.BATCH_RUNS.name, ("done",)] == 1


def test_after_a_downtime_one_run_catches_up(clock: Clock) -> None:
    runs = MemoryBatchRuns()
    before, _ = scheduler(clock, runs=runs)
    before.step()
    clock.pass_(3_600)
    after, _ = scheduler(clock, runs=runs)
    assert ran(after.step()).cause == CATCH_UP
    assert after.step() is None


def test_a_new_process_keeps_the_rhythm(clock: Clock) -> None:
    runs = MemoryBatchRuns()
    before, _ = scheduler(clock, runs=runs)
    before.step()
    clock.pass_(120)
    after, _ = scheduler(clock, runs=runs)
    assert after.step() is None
    assert after.seconds_to_wait() == 180


def test_a_run_whose_process_ended_is_closed_and_caught_up(clock: Clock) -> None:
    runs = MemoryBatchRuns()
    before, _ = scheduler(clock, runs=runs)
    run = msgspec.structs.replace(ran(before.step()), status=RunStatus.RUNNING, ended=None)
    runs.save(run)
    clock.pass_(300)
    after, _ = scheduler(clock, runs=runs)
    (closed,) = runs.last(1)
    assert (closed.status, closed.ended) == (RunStatus.FAILED, clock.now)
    assert "interrupted" in (closed.error or "")
    assert ran(after.step()).cause == CATCH_UP


def test_a_run_without_a_record_is_a_run(clock: Clock) -> None:
    made, _ = scheduler(clock, lambda: {"rows": 1}, ForgetfulRuns())
    assert ran(made.step()).report == {"rows": 1}


def test_no_two_runs_overlap_and_the_present_one_can_be_seen(clock: Clock) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def job() -> dict[str, Any]:
        begun.set()
        assert go_on.wait(PATIENCE.total_seconds())
        return {}

    made, _ = scheduler(clock, job)
    with ThreadPoolExecutor(1) as pool:
        stepping = pool.submit(made.step)
        assert begun.wait(PATIENCE.total_seconds())
        running = ran(made.running)
        ticket = made.request()
        assert made.wait(ticket, timedelta(0)) is None
        go_on.set()
        assert ran(stepping.result(PATIENCE.total_seconds())).run_id == running.run_id
    assert made.running is None
    assert ran(made.step()).cause == REQUEST


def age(made: Scheduler, meter: Meter) -> float | None:
    """As the actor tells it when it is asked for its metrics."""
    made.tell_age()
    return read_snapshot(meter.snapshot()).gauges.get((metrics.BATCH_AGE.name, ()))


def test_the_age_of_the_last_good_run_grows_until_the_next_one_has_ended(clock: Clock) -> None:
    ages: list[float | None] = []

    def job() -> dict[str, Any]:
        for _ in range(2):
            clock.pass_(400)
            ages.append(age(made, meter))
        return {}

    made, meter = scheduler(clock, job)
    made.step()
    assert age(made, meter) == 0
    clock.pass_(40)
    assert age(made, meter) == 40
    made.request()
    made.step()
    assert ages[2:] == [440, 840]
    assert age(made, meter) == 0


def test_a_failed_run_does_not_end_the_growth_of_the_age(clock: Clock) -> None:
    answers: list[dict[str, Any]] = [{}]
    made, meter = scheduler(clock, lambda: answers.pop(0))
    made.step()
    clock.pass_(300)
    assert ran(made.step()).status is RunStatus.FAILED
    assert age(made, meter) == 300


def test_a_new_process_knows_the_last_good_run_behind_any_number_of_failures(clock: Clock) -> None:
    runs = MemoryBatchRuns()
    before, _ = scheduler(clock, runs=runs)
    before.step()
    second, _ = scheduler(clock, failing, runs)
    for _ in range(20):
        clock.pass_(300)
        assert ran(second.step()).status is RunStatus.FAILED
    after, meter = scheduler(clock, runs=runs)
    assert age(after, meter) == 20 * 300


def test_before_the_first_good_run_the_age_is_that_of_the_process(clock: Clock) -> None:
    made, meter = scheduler(clock, failing)
    clock.pass_(300)
    made.step()
    assert age(made, meter) == 300


def test_an_age_is_told_once_the_last_good_run_is_known(clock: Clock) -> None:
    runs, meter = ForgetfulRuns(), Meter("batch", "test")
    runs.away = False
    scheduler(clock, runs=runs)[0].step()
    runs.away = True
    clock.pass_(300)
    made = Scheduler(dict, runs, INTERVAL, meter, clock)
    assert age(made, meter) is None
    made.step()
    made.recover()
    assert age(made, meter) == 0
