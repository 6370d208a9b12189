"""What missing features become before training, recorded in the manifest and done again when scoring.

Never: a fill value that scoring would round: it is a float32.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ray_fraud.domain.features import FEATURE_NAMES
from ray_fraud.domain.model import ModelFeature


def training_columns(
    features: NDArray[np.float32], names: Sequence[str]
) -> tuple[NDArray[np.float32], tuple[ModelFeature, ...]]:
    """The named columns without missing values, and what filled them: each column's median.

    Args:
        features: shape (n, len(FEATURES)), NaN where missing.
        names: names of the catalogue.

    Returns:
        Shape (n, len(names)), and one entry per name. A column without any value is filled with 0.

    Raises:
        ValueError: no rows, another shape, or a name that the catalogue does not know.
    """
    if features.ndim != 2 or features.shape[1] != len(FEATURE_NAMES) or not len(features):
        raise ValueError(f"features: shape {features.shape}, must be (n > 0, {len(FEATURE_NAMES)})")
    unknown = [name for name in names if name not in FEATURE_NAMES]
    if unknown:
        raise ValueError(f"names: {unknown} are not in the feature catalogue")
    rows = features[:, [FEATURE_NAMES.index(name) for name in names]].astype(np.float32)
    fills = []
    for column in rows.T:
        present = column[np.isfinite(column)]
        fill = np.float32(np.median(present)) if len(present) else np.float32(0)
        column[~np.isfinite(column)] = fill
        fills.append(float(fill))
    return rows, tuple(ModelFeature(name, fill) for name, fill in zip(names, fills, strict=True))
