"""Trains gradient-boosted trees on labelled rows and exports them.

scikit-learn's histogram boosting (after LightGBM; Ke et al. 2017) with a bounded size: explaining one alert
costs by leaves and depth.

Never: choosing which labels are known at which time (the caller cuts the rows); early stopping on rows that
lie later than the training's.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from batch.training.drawn import LEGITIMATE_PER_FRAUD
from batch.training.explain_file import export_covers
from batch.training.forest_trees import boosted_trees
from batch.training.missing import filled_columns
from batch.training.onnx_trees import export_trees
from batch.training.trained_model import Candidate
from ray_fraud.domain.model import LogisticLink, Training

MODEL_NAME = "gradient_boosting"
CHECKED_ROWS = 5_000


class BoostingParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a search varies."""

    trees: int = 150
    learning_rate: float = 0.05
    leaves: int = 8
    max_depth: int = 6
    min_leaf: int = 100
    """Rows in a leaf, at least."""
    l2: float = 1.0
    fraud_weight: float = 1.0
    """How much a fraud counts beside a legitimate row."""
    columns: float = 0.2
    """Share of the features that each split may choose from."""
    legitimate_per_fraud: int = LEGITIMATE_PER_FRAUD
    """See `batch.training.drawn`."""


def train_boosting(
    features: NDArray[np.float32],
    fraud: NDArray[np.bool_],
    names: Sequence[str],
    *,
    version: int,
    seed: int,
    parameters: BoostingParameters | None = None,
    period: tuple[float, float] | None = None,
) -> tuple[Candidate, NDArray[np.float64]]:
    """Train; the score is the model's own probability of fraud, before calibration.

    Args:
        features: rows of the whole catalogue, shape (n, len(FEATURES)), NaN where missing.
        fraud: the verdicts, shape (n,).
        names: the features that the model sees, names of the catalogue.
        version: of the model in the registry.
        seed: makes the training deterministic.
        parameters: of the boosting.
        period: event time of the first and the last row, unix seconds.

    Returns:
        The candidate, and the trees' own scores of the first rows.

    Raises:
        ValueError: only one class among the verdicts, unknown names.
    """
    if len(fraud) != len(features) or not 0 < int(fraud.sum()) < len(fraud):
        raise ValueError(f"fraud: {int(fraud.sum())} of {len(fraud)} rows; both classes are needed")
    chosen = parameters or BoostingParameters()
    rows, inputs = filled_columns(features, names)
    model = HistGradientBoostingClassifier(
        max_iter=chosen.trees,
        learning_rate=chosen.learning_rate,
        max_leaf_nodes=chosen.leaves,
        max_depth=chosen.max_depth,
        min_samples_leaf=chosen.min_leaf,
        l2_regularization=chosen.l2,
        max_features=chosen.columns,
        early_stopping=False,
        random_state=seed,
    ).fit(rows, fraud, sample_weight=np.where(fraud, chosen.fraud_weight, 1.0))
    trees, base = boosted_trees(model)
    candidate = Candidate(
        model_name=MODEL_NAME,
        version=version,
        algorithm="gradient_boosting",
        features=inputs,
        link=LogisticLink(base),
        onnx=export_trees(trees, len(names)),
        explain=export_covers(trees, len(names)),
        training=Training(len(rows), len(trees), seed, period=period, parameters=msgspec.to_builtins(chosen)),
    )
    expected: Any = model.predict_proba(rows[:CHECKED_ROWS])[:, 1]
    return candidate, expected
