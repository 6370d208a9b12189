"""One care of the lake: open deletions are finished, then each table is looked after in turn.

    plan → rewrite place by place → vacuum → checkpoint → clean the log; feature tables behind the last one

What fails is in the report and does not keep the rest from being done; the next care does it again.

Never: a change of rows, but for deletions that were requested; an error for whoever runs it beside other
work.
"""

import logging
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import msgspec

from batch.care.config import CareConfig
from batch.care.deletion import finish_open
from batch.care.feature_tables import FeatureTablesReport, LeftAlone
from ray_fraud.domain.timeline import TimelineError
from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.errors import StoreError
from ray_fraud.stores.tables.care import Rewrite, TableCare, TableFacts, Vacuumed, checked_retention
from ray_fraud.stores.tables.lake_tables import CARE, present_tables
from ray_fraud.stores.tables.records import RecordTable
from ray_fraud.stores.tables.retry import patiently

logger = logging.getLogger(__name__)

PruneFeatureTables = Callable[[timedelta, float, bool], FeatureTablesReport]
"""By retention, unix seconds of now, and whether it is a dry run.

Raises: StoreError, TimelineError, LeftAlone."""


class TableReport(msgspec.Struct):
    """What was done to one table."""

    table: str
    before: TableFacts
    after: TableFacts
    rewritten: list[Rewrite] = []
    """In a dry run: what would be."""
    vacuumed: Vacuumed = Vacuumed(0, 0)
    log_cleaned: bool = False
    seconds: float = 0.0


class CareReport(msgspec.Struct):
    """What one care did."""

    run_id: str
    dry_run: bool
    retention_days: float
    deletions: list[str] = []
    """Requests that an earlier process had left unfinished and this one finished."""
    tables: list[TableReport] = []
    feature_tables: FeatureTablesReport | None = None
    """None: not looked at, or not done."""
    feature_tables_left: str | None = None
    """Why they were not looked at, if nothing went wrong: who says what is needed was not there."""
    failed: list[str] = []
    """What was not done, and why; empty: the care is complete."""
    seconds: float = 0.0


class Care:
    """One care. Its outside is given: the clock, and how to wait."""

    def __init__(
        self,
        location: LakeLocation,
        config: CareConfig,
        who: str,
        *,
        feature_tables: PruneFeatureTables | None = None,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`who` runs it, for the record; `feature_tables`: None leaves them alone.

        Raises: StoreRefused if a retention is too short.
        """
        checked_retention(config.retention)
        checked_retention(config.feature_tables_retention)
        self._feature_tables = feature_tables
        self._location = location
        self._config = config
        self._who = who
        self._now = now
        self._sleep = sleep

    def run(self, *, dry_run: bool = False) -> CareReport:
        """Does it all, and puts it on record in `lake_care`; a dry run changes nothing.

        Raises:
            StoreError: the lake does not answer at all.
        """
        began = self._now()
        days = self._config.retention.total_seconds() / 86_400
        report = CareReport(uuid.uuid4().hex, dry_run, days)
        if not dry_run:
            self._try(report, "deletions", lambda: self._finish(report))
        for name in present_tables(self._location):
            self._try(report, name, partial(self._table, name, report))
        self._try(report, "feature tables", lambda: self._prune(report))
        report.seconds = self._now() - began
        if not dry_run:
            self._try(report, "record", lambda: self._record(report, began))
        return report

    def _try(self, report: CareReport, what: str, action: Callable[[], None]) -> None:
        try:
            action()
        except (StoreError, TimelineError) as error:
            logger.warning("care: %s: %s", what, error)
            report.failed.append(f"{what}: {error}")

    def _finish(self, report: CareReport) -> None:
        for deletion in finish_open(self._location, now=self._now, sleep=self._sleep):
            report.deletions.append(deletion.deletion_id)

    def _prune(self, report: CareReport) -> None:
        if self._feature_tables is not None:
            retention, now = self._config.feature_tables_retention, self._now()
            try:
                report.feature_tables = self._feature_tables(retention, now, report.dry_run)
            except LeftAlone as reason:
                report.feature_tables_left = str(reason)

    def _table(self, name: str, report: CareReport) -> None:
        began = self._now()
        care = TableCare(self._location, name)
        before = care.facts()
        done = TableReport(name, before, before)
        report.tables.append(done)
        planned = care.plan(sort=self._config.sort)
        retention = self._config.retention
        if report.dry_run:
            done.rewritten = planned
            done.vacuumed = care.vacuum(retention, dry_run=True)
            return
        for rewrite in planned:
            self._try(report, name, partial(self._rewrite, care, rewrite, done, report.run_id))

        def vacuum() -> None:
            done.vacuumed = patiently(lambda: care.vacuum(retention), self._sleep)

        def shorten() -> None:
            care.checkpoint()
            done.log_cleaned = care.clean_log(datetime.fromtimestamp(self._now(), UTC))

        self._try(report, name, vacuum)
        self._try(report, name, shorten)
        done.after = care.facts()
        done.seconds = self._now() - began

    def _rewrite(self, care: TableCare, rewrite: Rewrite, done: TableReport, run_id: str) -> None:
        patiently(lambda: care.rewrite(rewrite, run_id), self._sleep)
        done.rewritten.append(rewrite)

    def _record(self, report: CareReport, began: float) -> None:
        row = {
            "run_id": report.run_id,
            "started": datetime.fromtimestamp(began, UTC),
            "ended": datetime.fromtimestamp(self._now(), UTC),
            "who": self._who,
            "complete": not report.failed,
            "report": msgspec.json.encode(report).decode(),
        }
        patiently(lambda: RecordTable(self._location, CARE).add(report.run_id, row), self._sleep)
