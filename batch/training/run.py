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
from ray_fraud.domain.known_labels import known_labels
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
            report = TrainingJob(ports, training_settings(config), OnRay(), tell).run(cause)
        except NotEnoughHistory as error:
            logger.info("training: %s", error)
            return {"not_enough": str(error)}
    plain: dict[str, Any] = msgspec.to_builtins(report)
    return plain


def training_settings(config: TrainingConfig) -> TrainingSettings:
    """Those of the configuration; labels come no sooner than they are mature."""
    gap_days = max(config.training.gap_days, config.label_maturity_days)
    return msgspec.structs.replace(config.training, gap_days=gap_days)


def lake_history(
    connections: Connections, verdicts: PostgresVerdicts, maturity_days: float, now: Callable[[], float]
) -> History:
    """Reads `ml_features` of as many days as a training looks at, and all verdicts.

    Event time decides which days these are; `now` only which verdicts are known.
    """

    maturity_ms = round(maturity_days * DAY_MS)

    def history(settings: TrainingSettings) -> LabelledHistory:
        known_ms = round(now() * 1000)
        newest_ms = DeltaTransactions(connections.lake).newest_ms() or 0
        labels = known_labels(
            verdicts.known(0, known_ms + 1),
            newest_ms=newest_ms,
            now_ms=known_ms,
            maturity_ms=maturity_ms,
            holdout_ms=round(settings.holdout_days * DAY_MS),
        )
        days = settings.gap_days + settings.folds * settings.fold_days + settings.gap_days
        since_ms = labels.begin_ms - round((days + settings.train_days) * DAY_MS)
        try:
            period = PeriodRows(connections.lake, ML_FEATURES, max(since_ms, 0), max(labels.end_ms, 1))
        except StoreRefused as error:
            raise NotEnoughHistory(f"the lake has no features yet: {error}") from error
        paths = [file.path for file in period.files()]
        tables = (table for _, table in period.read(paths, COLUMNS, BATCH_ROWS))
        rows = labelled_rows(tables, labels, settings.max_rows, settings.seed)
        facts = Facts(period.version, labels.begin_ms / 1000, labels.late_share)
        return LabelledHistory(rows, facts, labels.end_ms)

    return history
