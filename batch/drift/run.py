"""Drift as a part of the runs of the cold path, at most once an hour, with the real stores.

Never: an error for the run that it is a part of.
"""

import logging
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import msgspec

from batch.drift.job import DriftPorts, DriftReport, look_at_drift
from ray_fraud.domain import drift_metrics as metrics
from ray_fraud.domain.batch_settings import DriftSettings
from ray_fraud.domain.live_comparison import Role
from ray_fraud.stores.connections import Connections
from ray_fraud.stores.lake import lake_filesystem
from ray_fraud.stores.ledger.postgres_queries import PostgresAlertQueries
from ray_fraud.stores.ledger.postgres_registry import PostgresRegistry
from ray_fraud.stores.ledger.postgres_session import PATIENT
from ray_fraud.stores.models.lake import LakeModelFiles
from ray_fraud.telemetry.meter import Meter

logger = logging.getLogger(__name__)

NAME = "ray-fraud drift"
LOOK_SECONDS = 3_600.0
"""Between two looks at least; a day moves by a twenty-fourth meanwhile."""


class ScheduledDrift:
    """For one thread. Keeps its connections from one look to the next."""

    def __init__(
        self, connections: Connections, settings: DriftSettings, meter: Meter, now: Callable[[], float]
    ) -> None:
        """Opens nothing yet. `now`: unix seconds."""
        self._connections = connections
        self._settings = settings
        self._meter = meter
        self._now = now
        self._looked: float | None = None
        self._ports: DriftPorts | None = None

    def look_if_due(self) -> dict[str, Any] | None:
        """What was found, as plain data, or `{"failed": …}`; None: not due yet. Also tells metrics."""
        now = self._now()
        if self._looked is not None and now - self._looked < LOOK_SECONDS:
            return None
        self._looked = now
        try:
            report = look_at_drift(self._opened(), self._settings, round(now * 1000))
            tell_drift(self._meter, report)
        except Exception as error:
            # Whatever it was: nothing depends on it, and the run that this is a part of did its work.
            logger.exception("drift: not looked at")
            return {"failed": f"{type(error).__name__}: {error}"}
        done: dict[str, Any] = msgspec.to_builtins(report)
        return done

    def _opened(self) -> DriftPorts:
        if self._ports is None:
            with ExitStack() as closing:
                postgres, lake = self._connections.postgres, self._connections.lake
                registry = PostgresRegistry(postgres, name=NAME, limits=PATIENT)
                closing.callback(registry.close)
                alerts = PostgresAlertQueries(postgres, name=NAME, limits=PATIENT)
                closing.callback(alerts.close)
                self._ports = DriftPorts(registry, alerts, LakeModelFiles(*lake_filesystem(lake)), lake)
                closing.pop_all()
        return self._ports


def tell_drift(meter: Meter, report: DriftReport) -> None:
    """Features of production, the biggest drift of a role's scores, alarms, verdicts.

    What is not known is not told, also where an earlier look knew it.
    """
    for metric in (
        metrics.FEATURE_DRIFT,
        metrics.SCORE_DRIFT,
        metrics.VERDICTS_MISSING,
        metrics.VERDICTS_LATE,
    ):
        meter.forget(metric)
    for role in Role:
        mine = [each.drift for each in report.models if each.role is role]
        for feature in (one for each in mine for one in each.features):
            meter.set(metrics.FEATURE_DRIFT, feature.psi, feature=feature.name)
        scores = [each.score.psi for each in mine if each.score is not None]
        if scores:
            meter.set(metrics.SCORE_DRIFT, max(scores), role=role)
    meter.set(metrics.DRIFT_ALARMS, len(report.alarms))
    if report.verdicts.missing_ratio is not None:
        meter.set(metrics.VERDICTS_MISSING, report.verdicts.missing_ratio)
    if report.verdicts.late_ratio is not None:
        meter.set(metrics.VERDICTS_LATE, report.verdicts.late_ratio)
