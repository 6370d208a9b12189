"""What makes the platform useful on its first day: two models trained on generated history.

Never: touching a registry that already has a version.
"""

import logging
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from batch.training.bootstrap import bootstrap_models
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.partition import PartitionState
from ray_fraud.domain.record import Record
from ray_fraud.domain.replay import in_batches
from ray_fraud.generator.encode import encode_transaction
from ray_fraud.generator.stream import StreamSettings, transactions
from ray_fraud.stores.ledger.registry import ModelStatus, NewModel, Registry, Share
from ray_fraud.stores.models.port import ModelFiles

logger = logging.getLogger(__name__)

HISTORY_TRANSACTIONS = 30_000
HISTORY_USERS = 1_000
HISTORY_SEED = 20_260_101
HISTORY_START = 1_767_225_600.0
"""2026-01-01 00:00 UTC."""
HISTORY_RATE_HZ = HISTORY_TRANSACTIONS / (30 * 86_400.0)
"""Spreads the history over 30 days, so that every window of the catalogue has filled."""
TESTING_SHARE_BP = 1_000
SALT = "first-models"


def ensure_first_models(registry: Registry, files: ModelFiles) -> bool:
    """Trains and registers version 1 (production, 90 %) and 2 (testing, 10 %) if there is no version yet.

    Returns whether it did.

    Raises:
        StoreUnavailable: registry or lake; calling it again goes on where it stopped.
        RegistryConflict: somebody else registered models at the same time.
    """
    if any(version.status is not ModelStatus.TRAINING for version in registry.versions()):
        return False
    features = generated_history()
    shares = []
    for trained, status, share_bp in zip(
        bootstrap_models(features),
        (ModelStatus.PRODUCTION, ModelStatus.TESTING),
        (10_000 - TESTING_SHARE_BP, TESTING_SHARE_BP),
        strict=True,
    ):
        manifest = trained.manifest
        digest = files.put(*trained)
        row = registry.register(
            NewModel(
                model_name=manifest.model_name,
                model_path=digest,
                model_digest=digest,
                threshold=manifest.threshold,
                metrics={
                    "training_rows": manifest.training.rows,
                    "alert_share": manifest.training.alert_share,
                },
            )
        )
        shares.append(Share(row.id, status, share_bp))
    registry.set_split(shares, salt=SALT)
    logger.info("registered the first models: %s", shares)
    return True


def generated_history() -> NDArray[np.float32]:
    """Features of a generated month, shape (n, features)."""
    settings = StreamSettings(
        start_time=HISTORY_START,
        seed=HISTORY_SEED,
        users=HISTORY_USERS,
        rate_hz=HISTORY_RATE_HZ,
        count=HISTORY_TRANSACTIONS,
        fraud_share=0.005,
    )
    state = PartitionState(0, Decoder(None))
    parts = []
    stream = enumerate(transactions(settings))
    while chunk := list(islice(stream, 2_000)):
        records = [
            Record(offset, round(made.event_time * 1000), None, encode_transaction(made.transaction))
            for offset, made in chunk
        ]
        parts += [observed.features for observed in in_batches(state.observe, records)]
    return np.concatenate(parts)
