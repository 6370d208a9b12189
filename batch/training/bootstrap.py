"""The two models of a first start, when the registry is empty.

Never: making the history (the generator's, folded, comes in as rows).
"""

import numpy as np
from numpy.typing import NDArray

from batch.training.isolation_forest import train_isolation_forest
from batch.training.trained_model import TrainedModel

FIRST_FEATURES = ("amount", "lat", "lon")
SECOND_FEATURES = ("amount", "lat", "lon", "hour_of_day", "user_tx_count_1h", "amount_over_mean_30d")


def bootstrap_models(
    history: NDArray[np.float32], *, seed: int = 1, period: tuple[float, float] | None = None
) -> list[TrainedModel]:
    """Version 1 (for production) and a differently trained version 2 (for testing).

    Args:
        history: rows of the whole catalogue, shape (n, len(FEATURES)), NaN where missing; a few
            thousand rows are enough.
        seed: makes both trainings deterministic.
        period: event time of the first and the last row, unix seconds.
    """
    return [
        train_isolation_forest(history, FIRST_FEATURES, version=1, seed=seed, period=period),
        train_isolation_forest(
            history, SECOND_FEATURES, version=2, seed=seed + 1, max_samples=512, period=period
        ),
    ]
