"""The Ray actor that trains: daily, when enough new verdicts have come, or when it is asked to.

Never: work of its own (the job does it); a change of the split (the rules of promotion do that); two
trainings at once.
"""

import logging
import threading
import time
import uuid
from datetime import timedelta
from typing import Any

import msgspec

from batch.schedule.scheduler import Scheduler
from batch.training.config import TrainingConfig
from batch.training.run import run_training
from ray_fraud.domain import metrics
from ray_fraud.stores.connections import from_json
from ray_fraud.stores.errors import StoreError
from ray_fraud.stores.ledger.model_events import Cause
from ray_fraud.stores.runs.port import Run, RunKind
from ray_fraud.stores.runs.postgres import PostgresBatchRuns
from ray_fraud.stores.verdicts.postgres import PostgresVerdicts
from ray_fraud.telemetry.meter import Meter

logger = logging.getLogger(__name__)

VERDICTS = "newest_verdict"
"""In a run's report: the number of the last verdict that it could know."""


class TrainingActor:
    """Runs its schedule in a thread; methods answer beside it. Ray restarts it."""

    def __init__(self, config: bytes) -> None:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._config = from_json(config, TrainingConfig)
        self._meter = Meter("training", uuid.uuid4().hex)
        postgres = self._config.connections.postgres
        self._verdicts = PostgresVerdicts(postgres, name="ray-fraud training schedule")
        self._runs = PostgresBatchRuns(postgres, kind=RunKind.TRAINING)
        self._progress: tuple[int, int] | None = None
        self._scheduler = Scheduler(
            self._train,
            self._runs,
            self._config.interval,
            self._meter,
            time.time,
            self._config.least_pause,
            metrics.TRAINING_METERS,
        )
        self._stopping = threading.Event()
        threading.Thread(target=self._loop, name="training", daemon=True).start()

    def _loop(self) -> None:
        recovered = False
        while not self._stopping.is_set():
            try:
                if not recovered:
                    self._scheduler.recover()
                    recovered = True
                if self._enough_verdicts():
                    self._scheduler.request(cause="verdicts")
            except StoreError as error:
                logger.warning("training: schedule not read, again soon: %s", error)
            self._scheduler.step()
            self._scheduler.pause(self._config.look.total_seconds())

    def _enough_verdicts(self) -> bool:
        """Whether verdicts bring the next training forward."""
        last = next(iter(self._runs.last(1)), None)
        if last is not None and time.time() - last.started < self._config.least_pause.total_seconds():
            return False
        seen = 0 if last is None or last.report is None else int(last.report.get(VERDICTS, 0))
        wanted = self._config.new_verdicts
        return len(self._verdicts.since(seen, wanted)) >= wanted

    def _train(self) -> dict[str, Any]:
        newest = self._newest_verdict()
        self._progress = None
        running = self._scheduler.running
        cause = Cause(why=f"training, by {running.cause if running else 'request'}")
        report = run_training(self._config, cause, self._tell)
        return report | {VERDICTS: newest}

    def _newest_verdict(self) -> int:
        newest = self._verdicts.known(0, round(time.time() * 1000) + 1, newest=1)
        return newest[-1].number if newest else 0

    def _tell(self, done: int, in_all: int) -> None:
        self._progress = done, in_all

    def request(self) -> int:
        """Asks for a training that begins now or right after the present one; a ticket for `result`."""
        return self._scheduler.request()

    def result(self, ticket: int, timeout_seconds: float) -> bytes | None:
        """JSON of the run that served the ticket; None if it has not ended within the timeout."""
        run = self._scheduler.wait(ticket, timedelta(seconds=timeout_seconds))
        return None if run is None else msgspec.json.encode(run)

    def status(self, count: int = 10) -> bytes:
        """JSON: seconds to the next training, progress, and the last trainings."""
        try:
            last: list[Run] = list(self._scheduler.last(count))
            error = None
        except StoreError as failure:
            last, error = [], str(failure)
        return msgspec.json.encode(
            {
                "interval_seconds": self._config.interval.total_seconds(),
                "new_verdicts": self._config.new_verdicts,
                "next_in_seconds": self._scheduler.seconds_to_wait(),
                "running": self._scheduler.running,
                "progress": self._progress,
                "runs": last,
                "error": error,
            }
        )

    def metrics(self) -> bytes:
        self._scheduler.tell_age()
        return self._meter.snapshot()

    def drain(self) -> None:
        """No new training; a present one goes on until its process ends, which registers nothing half."""
        self._stopping.set()
