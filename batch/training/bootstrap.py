"""The two models of a first start, when the registry is empty.

Never: making the history (the generator's, folded, comes in as rows).
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from batch.training.isolation_forest import train_isolation_forest
from batch.training.trained_model import TrainedModel

FIRST_FEATURES = ("amount", "lat", "lon")
SECOND_FEATURES = ("amount", "lat", "lon", "hour_of_day", "user_tx_count_1h", "amount_over_mean_30d")


def bootstrap_models(history: NDArray[np.float32], *, seed: int = 1) -> list[TrainedModel]:
    """Version 1 (for production) and a differently trained version 2 (for testing).

    Their manifests have no period: whatever happened, they have seen nothing of it.

    Args:
        history: generated rows of the whole catalogue, shape (n, len(FEATURES)), NaN where missing; a few
            thousand rows are enough.
        seed: makes both trainings deterministic.
    """
    return [
        _generated(train_isolation_forest(history, FIRST_FEATURES, version=1, seed=seed)),
        _generated(
            train_isolation_forest(history, SECOND_FEATURES, version=2, seed=seed + 1, max_samples=512)
        ),
    ]


def _generated(trained: TrainedModel) -> TrainedModel:
    training = msgspec.structs.replace(trained.manifest.training, generated=True)
    return trained._replace(manifest=msgspec.structs.replace(trained.manifest, training=training))
