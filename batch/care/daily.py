"""Care once a day, between other runs of the cold path.

When the last one ended is asked of the lake, so that neither a restart nor a care by hand is missed.

Never: an error for the run that it is a part of.
"""

import logging
from collections.abc import Callable
from typing import Any

import msgspec

from batch.care.config import CareConfig
from batch.care.job import Care, PruneFeatureTables
from ray_fraud.domain import metrics
from ray_fraud.domain.metrics import RunStatus
from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.tables.care import TableCare
from ray_fraud.stores.tables.columns import TRANSACTIONS
from ray_fraud.stores.tables.lake_tables import CARE, open_table, present_tables
from ray_fraud.stores.tables.records import RecordTable
from ray_fraud.telemetry.meter import Meter

logger = logging.getLogger(__name__)

WHO = "ray-fraud batch"


def last_care(location: LakeLocation) -> float | None:
    """When the last complete care ended, unix seconds; before the first one, when the lake began.

    None: there is no lake yet. Raises: StoreUnavailable if it does not answer.
    """
    ended = [row["ended"].timestamp() for row in RecordTable(location, CARE).rows() if row["complete"]]
    if ended:
        return float(max(ended))
    if TRANSACTIONS not in present_tables(location):
        return None
    created = open_table(location, TRANSACTIONS).metadata().created_time
    return None if created is None else created / 1000


class DailyCare:
    """For one thread: whoever calls it every few minutes has a care a day."""

    def __init__(
        self,
        location: LakeLocation,
        config: CareConfig,
        meter: Meter,
        now: Callable[[], float],
        feature_tables: PruneFeatureTables | None = None,
    ) -> None:
        """`now`: unix seconds; `feature_tables`: see `Care`."""
        self._feature_tables = feature_tables
        self._location = location
        self._config = config
        self._meter = meter
        self._now = now
        self._tried: float | None = None
        for status in (RunStatus.DONE, RunStatus.FAILED):
            meter.count(metrics.CARE_RUNS, 0, status=status)

    def run_if_due(self) -> dict[str, Any] | None:
        """The report of a care, or `{"failed": […]}`; None if none was due. Also tells the lake's figures."""
        report: dict[str, Any] | None = None
        try:
            if self._due():
                report = self._run()
            self._tell()
        except Exception as error:
            # Whatever it was: rows are as they were, and the run that this is a part of did its work.
            logger.exception("care: failed, or its figures")
            return report or {"failed": [f"{type(error).__name__}: {error}"]}
        return report

    def _due(self) -> bool:
        if self._tried is not None and self._now() - self._tried < self._config.retry.total_seconds():
            return False
        last = last_care(self._location)
        return last is not None and self._now() - last >= self._config.interval.total_seconds()

    def _run(self) -> dict[str, Any]:
        self._tried = self._now()
        status = RunStatus.FAILED
        try:
            report = self._care().run()
            status = RunStatus.FAILED if report.failed else RunStatus.DONE
        finally:
            self._meter.count(metrics.CARE_RUNS, status=status)
        self._meter.set(metrics.CARE_SECONDS, report.seconds)
        plain: dict[str, Any] = msgspec.to_builtins(report)
        return plain

    def _care(self) -> Care:
        return Care(self._location, self._config, WHO, feature_tables=self._feature_tables, now=self._now)

    def _tell(self) -> None:
        last = last_care(self._location)
        if last is not None:
            self._meter.set(metrics.CARE_AGE, self._now() - last)
        for name in present_tables(self._location):
            facts = TableCare(self._location, name).facts()
            self._meter.set(metrics.LAKE_FILES, facts.files, table=name)
            self._meter.set(metrics.LAKE_BYTES, facts.bytes, table=name)
