"""A training with its real outside: the lake, PostgreSQL, Ray.

Never: logic.
"""

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import msgspec

from batch.training.config import TrainingConfig
from batch.training.job import History, LabelledHistory, TrainingJob, TrainingPorts
from batch.training.labelled import NotEnoughHistory
from batch.training.lake_rows import COLUMNS, labelled_rows
from batch.training.on_ray import OnRay
from batch.training.pipeline import Facts
from batch.training.search import Tell
from batch.training.settings import TrainingSettings
from ray_fraud.domain.verdicts import labels_at
from ray_fraud.domain.windows import DAY_MS
from ray_fraud.stores.connections import Connections
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.hold_outs.lake import LakeHoldOuts
from ray_fraud.stores.lake import lake_filesystem
from ray_fraud.stores.ledger.model_events import Cause
from ray_fraud.stores.ledger.postgres_registry import PostgresRegistry
from ray_fraud.stores.ledger.postgres_session import PATIENT
from ray_fraud.stores.models.lake import LakeModelFiles
from ray_fraud.stores.tables.delta import DeltaTransactions
from ray_fraud.stores.tables.feature_columns import ML_FEATURES
from ray_fraud.stores.tables.period import PeriodRows
from ray_fraud.stores.verdicts.postgres import PostgresVerdicts

logger = logging.getLogger(__name__)

BATCH_ROWS = 50_000


def run_training(config: TrainingConfig, cause: Cause, tell: Tell) -> dict[str, Any]:
    """One training as plain data; needs a connection to Ray.

    Too little history is no failure: the report says what is missing.

    Raises:
        StoreError, ExportMismatch: see `TrainingJob.run`.
    """
    connections = config.connections
    filesystem, root = lake_filesystem(connections.lake)
    with ExitStack() as closing:
        verdicts = PostgresVerdicts(connections.postgres, name="ray-fraud training", limits=PATIENT)
        closing.callback(verdicts.close)
        registry = PostgresRegistry(connections.postgres, name="ray-fraud training", limits=PATIENT)
        closing.callback(registry.close)
        ports = TrainingPorts(
            lake_history(connections, verdicts, config.label_maturity_days, time.time),
            registry,
            LakeModelFiles(filesystem, root),
            LakeHoldOuts(filesystem, root),
        )
        try:
            report = TrainingJob(ports, config.training, OnRay(), tell).run(cause)
        except NotEnoughHistory as error:
            logger.info("training: %s", error)
            return {"not_enough": str(error)}
    plain: dict[str, Any] = msgspec.to_builtins(report)
    return plain


def lake_history(
    connections: Connections, verdicts: PostgresVerdicts, maturity_days: float, now: Callable[[], float]
) -> History:
    """Reads `ml_features` of as many days as a training looks at, and all verdicts."""

    def history(settings: TrainingSettings) -> LabelledHistory:
        known_ms = round(now() * 1000)
        labels = labels_at(verdicts.known(0, known_ms + 1), known_ms)
        newest_ms = DeltaTransactions(connections.lake).newest_ms() or 0
        maturity_ms = round(maturity_days * DAY_MS)
        days = settings.holdout_days + settings.gap_days + settings.train_days
        days += settings.folds * settings.fold_days + settings.gap_days
        since_ms = newest_ms - maturity_ms - round(days * DAY_MS)
        try:
            period = PeriodRows(connections.lake, ML_FEATURES, max(since_ms, 0), newest_ms + 1)
        except StoreRefused as error:
            raise NotEnoughHistory(f"the lake has no features yet: {error}") from error
        paths = [file.path for file in period.files()]
        tables = (table for _, table in period.read(paths, COLUMNS, BATCH_ROWS))
        rows = labelled_rows(tables, labels, newest_ms - maturity_ms, settings.max_rows)
        return LabelledHistory(rows, Facts(lake_version=period.version, labels_until=known_ms / 1000))

    return history
