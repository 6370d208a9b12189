"""One look at drift: the live versions against the last day, and whether verdicts come in time.

Never: a change of the registry; what follows from an alarm is the operator's to decide.
"""

import logging
from typing import NamedTuple

import msgspec

from batch.drift.measure import ModelDrift, Subject, measure_drift
from ray_fraud.domain.batch_settings import DriftSettings
from ray_fraud.domain.live_comparison import Role
from ray_fraud.domain.verdicts import VerdictRates
from ray_fraud.domain.windows import DAY_MS
from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.ledger.queries import AlertQueries
from ray_fraud.stores.ledger.registry import LIVE, ModelStatus, Registry
from ray_fraud.stores.models.port import ModelFiles

logger = logging.getLogger(__name__)

VERDICT_PERIOD_DAYS = 30
"""Alerts and verdicts of so many days count; what was before says nothing about now."""


class LiveDrift(msgspec.Struct, frozen=True):
    role: Role
    drift: ModelDrift


class DriftReport(msgspec.Struct, frozen=True):
    """What one look found."""

    models: tuple[LiveDrift, ...]
    """The live versions, production first; only production with its features."""
    alarms: tuple[str, ...]
    """What is above the bound, in words."""
    verdicts: VerdictRates


class DriftPorts(NamedTuple):
    registry: Registry
    alerts: AlertQueries
    models: ModelFiles
    lake: LakeLocation


def look_at_drift(ports: DriftPorts, settings: DriftSettings, now_ms: int) -> DriftReport:
    """Looks once; values above the bound are told in the log, too. `now_ms`: unix milliseconds.

    Raises:
        StoreError: a store does not answer; the next look does it.
        ModelRefused: the files of a live version are damaged.
    """
    live = [row for row in ports.registry.versions() if row.status in LIVE]
    live.sort(key=lambda row: (row.status is not ModelStatus.PRODUCTION, row.model_name, row.version))
    subjects = [
        Subject(
            row.label,
            row.model_digest,
            ports.models.load(row.model_digest).manifest,
            with_features=row.status is ModelStatus.PRODUCTION,
        )
        for row in live
    ]
    found = measure_drift(ports.lake, subjects, settings)
    alarms = tuple(alarm for each in found for alarm in _alarms(each))
    if alarms:
        logger.warning("drift: above %g: %s; see `ray-fraud models show`", settings.alarm, ", ".join(alarms))
    rates = ports.alerts.verdict_rates(
        now_ms, late_ms=round(settings.verdict_days * DAY_MS), period_ms=VERDICT_PERIOD_DAYS * DAY_MS
    )
    models = tuple(LiveDrift(Role(row.status.value), each) for row, each in zip(live, found, strict=True))
    return DriftReport(models, alarms, rates)


def _alarms(found: ModelDrift) -> list[str]:
    values = [*found.features, *(() if found.score is None else (found.score,))]
    return [f"{each.name} of {found.model} {each.psi:.3f}" for each in values if each.alarm]
