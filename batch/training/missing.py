"""What missing features become before training, recorded in the manifest and done again when scoring.

Never: a fill value that scoring would round: it is a float32.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ray_fraud.domain.features import FEATURE_NAMES, FEATURES
from ray_fraud.domain.model import ModelFeature

_NEVER = frozenset(feature.name for feature in FEATURES if feature.never)


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
    rows = _named_columns(features, names)
    fills = []
    for column in rows.T:
        present = column[np.isfinite(column)]
        fill = np.float32(np.median(present)) if len(present) else np.float32(0)
        column[~np.isfinite(column)] = fill
        fills.append(float(fill))
    return rows, tuple(ModelFeature(name, fill) for name, fill in zip(names, fills, strict=True))


def filled_columns(
    features: NDArray[np.float32], names: Sequence[str]
) -> tuple[NDArray[np.float32], tuple[ModelFeature, ...]]:
    """The same for models that can tell missing values apart: filled with a value outside of all others.

    It lies below them, and above them for a time since what never was (`Feature.never`): the other side would
    put "never" beside "just now", and trees would need two cuts for what is one.

    An infinite value becomes the largest one that float32 holds, on whose side of every cut it lies anyway.
    """
    rows = _named_columns(features, names)
    largest = np.finfo(np.float32).max
    np.clip(rows, -largest, largest, out=rows)  # NaN stays
    fills = []
    for name, column in zip(names, rows.T, strict=True):
        missing = np.isnan(column)
        present = column[~missing] if not missing.all() else np.zeros(1, np.float32)
        fill = _above(float(present.max())) if name in _NEVER else _below(float(present.min()))
        column[missing] = fill
        fills.append(float(fill))
    return rows, tuple(ModelFeature(name, fill) for name, fill in zip(names, fills, strict=True))


def _below(lowest: float) -> np.float32:
    return np.float32(lowest - max(1.0, 0.001 * abs(lowest)))


def _above(highest: float) -> np.float32:
    """Twice as far, since later rows may lie above those of the training."""
    return np.float32(min(highest + max(1.0, abs(highest)), float(np.finfo(np.float32).max)))


def _named_columns(features: NDArray[np.float32], names: Sequence[str]) -> NDArray[np.float32]:
    """A copy of the named columns, shape (n, len(names))."""
    if features.ndim != 2 or features.shape[1] != len(FEATURE_NAMES) or not len(features):
        raise ValueError(f"features: shape {features.shape}, must be (n > 0, {len(FEATURE_NAMES)})")
    unknown = [name for name in names if name not in FEATURE_NAMES]
    if unknown:
        raise ValueError(f"names: {unknown} are not in the feature catalogue")
    rows: NDArray[np.float32] = features[:, [FEATURE_NAMES.index(name) for name in names]].astype(np.float32)
    return rows
