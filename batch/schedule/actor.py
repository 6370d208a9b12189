"""The Ray actor that runs the cold path: detached, named, one at a time.

Never: work of its own (the job does it); being needed by the hot path.
"""

import logging
import threading
import time
import uuid
from contextlib import closing
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec

from batch.care.daily import DailyCare
from batch.care.run import care_for_feature_tables
from batch.drift.run import ScheduledDrift
from batch.features.job import FeatureReport
from batch.features.newest_profiles import newest_profiles
from batch.features.refresh import RefreshReport
from batch.features.run import open_refresher, run_features
from batch.ingest.job import IngestReport
from batch.ingest.run import run_ingest
from batch.patterns.dataset import look_by_ray
from batch.patterns.earlier import BusiestInLake, earlier_in_lake
from batch.patterns.job import Memory, PatternReport, search
from batch.promotion.run import ScheduledKeeper
from batch.schedule.config import BatchConfig, settings_in
from batch.schedule.gap_alarm import losses_told
from batch.schedule.scheduler import Scheduler
from batch.schedule.warm_up import warm_up
from ray_fraud.domain import metrics
from ray_fraud.domain.loss_metrics import ROWS_TAKEN_BACK
from ray_fraud.domain.place_metrics import SHARED_PLACE_ROWS
from ray_fraud.stores.connections import from_json
from ray_fraud.stores.errors import StoreError
from ray_fraud.stores.findings.postgres import PostgresFindings
from ray_fraud.stores.log.kafka_admin import KafkaLogAdmin
from ray_fraud.stores.runs.port import Run
from ray_fraud.stores.runs.postgres import PostgresBatchRuns
from ray_fraud.stores.tables.delta import DeltaTransactions
from ray_fraud.telemetry.meter import Meter

logger = logging.getLogger(__name__)

LONGEST_PAUSE_SECONDS = 5.0
"""Between two looks at the clock."""
OUTCOMES = ("accepted", "rejected", "hole")
FOLD_OUTCOMES = ("equal", "missed", "unexpected", "without_model")


class BatchActor:
    """Runs its schedule in a thread; methods answer beside it. Ray restarts it."""

    def __init__(self, config: bytes) -> None:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._config = from_json(config, BatchConfig)
        self._meter = Meter("batch", uuid.uuid4().hex)
        for outcome in OUTCOMES:
            self._meter.count(metrics.BATCH_OFFSETS, 0, outcome=outcome)
        for rule in metrics.COLD_RULES:
            self._meter.count(metrics.FINDINGS, 0, rule_name=rule)
        self._meter.count(metrics.UNSEARCHED_ROWS, 0)
        self._runs = PostgresBatchRuns(self._config.ingest.connections.postgres)
        for outcome in FOLD_OUTCOMES:
            self._meter.count(metrics.FOLDED_ALERTS, 0, outcome=outcome)
        self._offered: list[Any] = []
        """Holds the contents of the newest feature tables in Ray's object store."""
        self._refresher, _ = open_refresher(
            self._config.ingest.connections, self._config.features, self._offered
        )
        self._care = DailyCare(
            self._config.ingest.connections.lake,
            self._config.care,
            self._meter,
            time.time,
            lambda retention, now, dry_run: care_for_feature_tables(
                self._config.ingest, retention, now, dry_run=dry_run
            ),
        )
        self._models = ScheduledKeeper(self._config.ingest.connections, self._config.promotion, self._meter)
        self._drift = ScheduledDrift(
            self._config.ingest.connections, self._config.drift, self._meter, time.time
        )
        self._progress = IngestReport()
        self._memory = Memory()
        earlier = earlier_in_lake(self._config.ingest.connections.lake)
        self._busiest = BusiestInLake(earlier, self._config.patterns.settings.coordinated)
        self._unseen = True
        """There may be rows that no search has looked at."""
        self._fresh = 0
        """Of them, that this process brought into the lake."""
        self._scheduler = Scheduler(
            self._work, self._runs, self._config.interval, self._meter, time.time, self._config.settle
        )
        self._stopping = threading.Event()
        for target in (self._loop, self._watch_verdicts):
            threading.Thread(target=target, name=f"batch {target.__name__}", daemon=True).start()

    def _loop(self) -> None:
        warm_up(
            max(part.tasks for part in (self._config.ingest, self._config.patterns, self._config.features))
        )
        recovered = False
        while not self._stopping.is_set():
            try:
                if not recovered:
                    self._scheduler.recover()
                    recovered = True
            except StoreError as error:
                # Runs go on without their record; the rhythm of an earlier process is lost meanwhile.
                logger.warning("batch: earlier runs are not known yet: %s", error)
            self._scheduler.step()
            self._scheduler.pause(LONGEST_PAUSE_SECONDS)

    def _watch_verdicts(self) -> None:
        """A verdict has to reach the features within a minute, however long a run takes."""
        while not self._stopping.wait(self._config.features.look_seconds):
            try:
                self._count(self._refresher.look_for_verdicts())
            except Exception:
                # Whatever it was: the next look reads the same verdicts, and so does the next run.
                logger.exception("batch: verdicts not looked for, again soon")

    def _work(self) -> dict[str, Any]:
        done: dict[str, Any] = {}
        with losses_told(DeltaTransactions(self._config.ingest.connections.lake), self._meter):
            done["ingest"] = msgspec.to_builtins(self._ingest())
        if self._unseen:
            done["patterns"] = msgspec.to_builtins(self._search())
            self._unseen = False
        done["features"] = msgspec.to_builtins(self._fold())
        done["refresh"] = msgspec.to_builtins(self._refresh())
        done["models"] = self._models.look()
        drift = self._drift.look_if_due()
        if drift is not None:
            done["drift"] = drift
        care = self._care.run_if_due()
        if care is not None:
            done["care"] = care
        return done

    def _ingest(self) -> IngestReport:
        self._progress = IngestReport()
        try:
            return run_ingest(self._config.ingest, self._tell)
        finally:
            # Of one that failed, too: what it committed before stays, and the next run does not read it.
            made = self._progress
            counts = (made.accepted, sum(made.rejected.values()), made.holes)
            for outcome, number in zip(OUTCOMES, counts, strict=True):
                self._meter.count(metrics.BATCH_OFFSETS, number, outcome=outcome)
            self._meter.set(SHARED_PLACE_ROWS, sum(place.rows for place in made.shared_places))
            # A commit whose reply was lost may have brought rows that nobody counted.
            self._unseen |= made.accepted > 0 or not made.complete
            self._meter.count(ROWS_TAKEN_BACK, sum(one.rows for one in made.taken_back))
            if made.taken_back:
                # Its places are other rows' now: the next search is a whole one.
                self._memory = Memory()
            self._fresh += made.accepted

    def _fold(self) -> FeatureReport:
        report = run_features(self._config.ingest.connections, self._config.features)
        self._meter.count(metrics.FEATURE_ROWS, report.rows)
        equal = report.expected - report.missed
        for outcome, number in zip(
            FOLD_OUTCOMES, (equal, report.missed, report.unexpected, report.found), strict=True
        ):
            self._meter.count(metrics.FOLDED_ALERTS, number, outcome=outcome)
        return report

    def _refresh(self) -> RefreshReport:
        return self._count(self._refresher.refresh())

    def _count(self, report: RefreshReport) -> RefreshReport:
        self._meter.count(metrics.FEATURE_REFRESHES, int(report.refreshed))
        return report

    def _search(self) -> PatternReport:
        connections, patterns = self._config.ingest.connections, self._config.patterns
        profiles = newest_profiles(connections, self._config.features)
        look_at = partial(look_by_ray, connections.lake, patterns, profiles=profiles)
        with closing(KafkaLogAdmin(connections.kafka)) as admin:
            cluster_id = admin.cluster_id()
        with closing(PostgresFindings(connections.postgres)) as store:
            report = search(
                look_at, store, cluster_id, patterns, self._memory, fresh=self._fresh, busiest=self._busiest
            )
        self._fresh = 0
        self._meter.count(metrics.UNSEARCHED_ROWS, report.unsearched)
        for rule, number in report.new.items():
            self._meter.count(metrics.FINDINGS, number, rule_name=rule)
        return report

    def _tell(self, report: IngestReport) -> None:
        self._progress = report
        self._meter.set(metrics.BATCH_LAG, report.to_read)

    def request(self) -> int:
        """Asks for a run that begins now or right after the present one; a ticket for `result`."""
        return self._scheduler.request()

    def result(self, ticket: int, timeout_seconds: float) -> bytes | None:
        """JSON of the run that served the ticket; None if it has not ended within the timeout."""
        run = self._scheduler.wait(ticket, timedelta(seconds=timeout_seconds))
        return None if run is None else msgspec.json.encode(run)

    def status(self, count: int = 10) -> bytes:
        """JSON: settings, seconds to the next run, the present run with its progress, the last runs."""
        running = self._scheduler.running
        try:
            last: list[Run] = list(self._scheduler.last(count))
            error = None
        except StoreError as failure:
            last, error = [], str(failure)
        return msgspec.json.encode(
            {
                "interval_seconds": self._config.interval.total_seconds(),
                "settings": settings_in(self._config),
                "next_in_seconds": self._scheduler.seconds_to_wait(),
                "running": running,
                "progress": None if running is None else self._progress,
                "runs": last,
                "error": error,
            }
        )

    def metrics(self) -> bytes:
        self._scheduler.tell_age()
        return self._meter.snapshot()

    def drain(self) -> None:
        """No new run; a present one goes on until its process ends, which loses nothing."""
        self._stopping.set()
