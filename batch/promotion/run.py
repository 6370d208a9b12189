"""The rules of promotion as a part of every run of the cold path, with the real stores.

Never: an error for the run that it is a part of.
"""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import msgspec

from batch.promotion.config import PromotionConfig
from batch.promotion.keeper import KeeperPorts, KeeperReport, ModelKeeper
from ray_fraud.domain import metrics
from ray_fraud.domain.live_comparison import LiveFigures, Role
from ray_fraud.domain.split import BASIS_POINTS
from ray_fraud.stores.connections import Connections
from ray_fraud.stores.hold_outs.lake import LakeHoldOuts
from ray_fraud.stores.lake import lake_filesystem
from ray_fraud.stores.ledger.postgres_queries import PostgresAlertQueries
from ray_fraud.stores.ledger.postgres_registry import PostgresRegistry
from ray_fraud.stores.ledger.postgres_session import PATIENT
from ray_fraud.stores.models.lake import LakeModelFiles
from ray_fraud.stores.tables.delta import DeltaTransactions
from ray_fraud.telemetry.meter import Meter

logger = logging.getLogger(__name__)

NAME = "ray-fraud promotion"
OUTCOMES = ("tested", "promoted", "refused", "rolled_back")


class ScheduledKeeper:
    """For one thread. Keeps its connections from one look to the next."""

    def __init__(self, connections: Connections, config: PromotionConfig, meter: Meter) -> None:
        """Opens nothing yet."""
        self._connections = connections
        self._config = config
        self._meter = meter
        self._keeper: ModelKeeper | None = None
        for outcome in OUTCOMES:
            meter.count(metrics.MODEL_DECISIONS, 0, outcome=outcome)

    def look(self) -> dict[str, Any]:
        """What was decided, as plain data, or `{"failed": …}`; also tells the figures of the versions."""
        try:
            keeper = self._opened()
            report = keeper.look()
            self._tell(report)
        except Exception as error:
            # Versions stay as they are, and the run that this is a part of did its work.
            logger.exception("promotion: not looked at")
            return {"failed": f"{type(error).__name__}: {error}"}
        done: dict[str, Any] = msgspec.to_builtins(report)
        return done

    def _opened(self) -> ModelKeeper:
        if self._keeper is None:
            with ExitStack() as closing:
                postgres = self._connections.postgres
                registry = PostgresRegistry(postgres, name=NAME, limits=PATIENT)
                closing.callback(registry.close)
                alerts = PostgresAlertQueries(postgres, name=NAME, limits=PATIENT)
                closing.callback(alerts.close)
                lake = lake_filesystem(self._connections.lake)
                table = DeltaTransactions(self._connections.lake)
                ports = KeeperPorts(
                    registry, alerts, LakeModelFiles(*lake), LakeHoldOuts(*lake), table.newest_ms
                )
                self._keeper = ModelKeeper(ports, self._config)
                closing.pop_all()
        return self._keeper

    def _tell(self, report: KeeperReport) -> None:
        for step in report.steps:
            if step.outcome in OUTCOMES:
                self._meter.count(metrics.MODEL_DECISIONS, outcome=step.outcome)
        tell_live(self._meter, report.live)


def tell_live(meter: Meter, live: Sequence[LiveFigures]) -> None:
    """Share, alerts, verdicts and precision by role. Precision stays untold until an alert is mature."""
    for role in Role:
        mine = [each for each in live if each.role is role]
        judged = sum(each.frauds + each.false_alerts for each in mine)
        mature = sum(each.mature.alerts for each in mine)
        meter.set(metrics.MODEL_SHARE, sum(each.share_bp for each in mine) / BASIS_POINTS, role=role)
        meter.set(metrics.MODEL_ALERTS, sum(each.alerts for each in mine), role=role)
        meter.set(metrics.MODEL_VERDICTS, judged, role=role)
        if mature:
            meter.set(metrics.MODEL_PRECISION, sum(each.mature.frauds for each in mine) / mature, role=role)
