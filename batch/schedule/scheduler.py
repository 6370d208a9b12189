"""Runs a job every so often, one at a time, and remembers how each run ended.

The next run is due one interval after the last one *began*; a run that takes longer is followed at once by
the next. After a downtime one run catches up, however many were missed: it reads everything that is new.

Never: two runs at once; a failure that ends the schedule.
"""

import logging
import threading
import uuid
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import msgspec

from ray_fraud.domain import metrics
from ray_fraud.domain.metrics import RunMeters, RunStatus
from ray_fraud.stores.errors import StoreError
from ray_fraud.stores.runs.port import BatchRuns, Run
from ray_fraud.telemetry.meter import Meter

logger = logging.getLogger(__name__)

Job = Callable[[], dict[str, Any]]
"""Does the work; what it did, as plain data."""

SCHEDULE, REQUEST, CATCH_UP = "schedule", "request", "catch-up"


class Scheduler:
    """`recover` and `step` are for one thread; all else is for any."""

    def __init__(
        self,
        job: Job,
        runs: BatchRuns,
        interval: timedelta,
        meter: Meter,
        now: Callable[[], float],
        settle: timedelta = timedelta(0),
        meters: RunMeters = metrics.BATCH_METERS,
    ) -> None:
        """`now`: unix seconds. `settle`: no run begins sooner after this moment, unless it is asked for."""
        self._meters = meters
        self._made = now()
        self._not_before = self._made + settle.total_seconds()
        self._job = job
        self._runs = runs
        self._interval = interval.total_seconds()
        self._meter = meter
        self._now = now
        self._changed = threading.Condition()
        self._requested = 0
        """Requests so far; the run that begins next serves them all."""
        self._served = 0
        self._why = REQUEST
        self._last_began: float | None = None
        self._last_good: float | None = None
        self._running: Run | None = None
        self._newest: Run | None = None
        self._caught_up = False
        for status in RunStatus:
            if status is not RunStatus.RUNNING:
                meter.count(meters.runs, 0, status=status)

    @property
    def running(self) -> Run | None:
        """The run that is under way."""
        return self._running

    def recover(self) -> None:
        """Closes what an earlier process left open and takes over its rhythm and its last good run; once.

        Raises:
            StoreError: the record of runs cannot be read; call again.
        """
        open_runs = self._runs.fail_unfinished(self._now(), "interrupted: its process ended")
        if open_runs:
            logger.warning("batch: %d runs of an ended process closed", open_runs)
        newest = next(iter(self._runs.last(1)), None)
        if newest is not None:
            self._last_began = newest.started
        self._caught_up = open_runs == 0
        good = self._runs.last_good()
        if self._last_good is None:
            # Where none ever succeeded, it is since our beginning that none does.
            self._last_good = self._made if good is None else good

    def request(self, cause: str = REQUEST) -> int:
        """Asks for a run that begins after this moment; a ticket for `wait`."""
        with self._changed:
            self._requested += 1
            self._why = cause
            self._changed.notify_all()
            return self._requested

    def wait(self, ticket: int, timeout: timedelta) -> Run | None:
        """The run that served the ticket, once it has ended; None after the timeout."""
        with self._changed:
            self._changed.wait_for(lambda: self._served >= ticket, timeout.total_seconds())
            return self._newest if self._served >= ticket else None

    def seconds_to_wait(self) -> float:
        """Until the next run is due; 0 if one is."""
        if self._requested > self._served:
            return 0.0
        due = self._not_before
        if self._last_began is not None:
            due = max(due, self._last_began + self._interval)
        return max(0.0, due - self._now())

    def pause(self, longest: float) -> None:
        """Waits until a run is due or asked for, at most so long."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._requested > self._served, min(longest, self.seconds_to_wait())
            )

    def step(self) -> Run | None:
        """Runs the job if it is due; the run, or None."""
        if self.seconds_to_wait() > 0:
            return None
        with self._changed:
            serves = self._requested
        run = Run(uuid.uuid4(), self._now(), self._cause(serves), RunStatus.RUNNING)
        self._last_began = run.started
        self._running = run
        self._save(run)
        ended = self._ended(run)
        self._save(ended)
        self._record(ended)
        with self._changed:
            self._running, self._newest, self._served = None, ended, serves
            self._changed.notify_all()
        return ended

    def _cause(self, serves: int) -> str:
        if serves > self._served:
            return self._why
        late = self._last_began is not None and self._now() - self._last_began > 2 * self._interval
        caught_up, self._caught_up = self._caught_up, True
        return CATCH_UP if late or not caught_up else SCHEDULE

    def _ended(self, run: Run) -> Run:
        try:
            report = self._job()
        except Exception as error:
            # Whatever it was: the next run reads the same again, and the schedule has to live on.
            logger.exception("batch: run %s failed", run.run_id)
            return msgspec.structs.replace(
                run, status=RunStatus.FAILED, ended=self._now(), error=f"{type(error).__name__}: {error}"
            )
        return msgspec.structs.replace(run, status=RunStatus.DONE, ended=self._now(), report=report)

    def _save(self, run: Run) -> None:
        try:
            self._runs.save(run)
        except StoreError as error:
            # The lake is what counts; a run without a record is a run.
            logger.warning("batch: run %s is not on record: %s", run.run_id, error)

    def _record(self, run: Run) -> None:
        self._meter.count(self._meters.runs, status=run.status)
        if run.ended is not None:
            self._meter.observe(self._meters.seconds, (run.ended - run.started,))
            if run.status is RunStatus.DONE:
                self._last_good = run.ended

    def tell_age(self) -> None:
        """Sets the age of the last good run, as of now: a run that hangs must not keep it from growing."""
        if self._last_good is not None:
            self._meter.set(self._meters.age, max(0.0, self._now() - self._last_good))

    def last(self, count: int) -> Sequence[Run]:
        """The newest runs on record, newest first.

        Raises:
            StoreError: the record of runs cannot be read.
        """
        return self._runs.last(count)
