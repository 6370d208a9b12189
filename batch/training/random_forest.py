"""Trains a Random Forest on labelled rows and exports it.

Never: choosing which labels are known at which time (the caller cuts the rows).
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from batch.training.drawn import LEGITIMATE_PER_FRAUD
from batch.training.explain_file import export_covers
from batch.training.forest_trees import probability_trees
from batch.training.missing import filled_columns
from batch.training.onnx_trees import export_trees
from batch.training.trained_model import Candidate
from ray_fraud.domain.model import IdentityLink, Training

MODEL_NAME = "random_forest"
CHECKED_ROWS = 5_000


class ForestParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a search varies."""

    trees: int = 80
    leaves: int = 64
    """Of each tree, at most: bounds the size of the model file, and what explaining an alert costs."""
    max_depth: int = 20
    min_leaf: int = 5
    """Rows in a leaf, at least."""
    rows_share: float = 1.0
    """Of the rows that each tree draws."""
    balanced: bool = False
    """Whether both classes weigh the same. It spends leaves on frauds that nothing tells from the rest: it
    costs 0.04 of average precision on the handbook's data."""
    legitimate_per_fraud: int = LEGITIMATE_PER_FRAUD
    """See `batch.training.drawn`."""


def train_random_forest(
    features: NDArray[np.float32],
    fraud: NDArray[np.bool_],
    names: Sequence[str],
    *,
    version: int,
    seed: int,
    parameters: ForestParameters | None = None,
    period: tuple[float, float] | None = None,
) -> tuple[Candidate, NDArray[np.float64]]:
    """Train; the score is the (uncalibrated) share of frauds among the rows of the leaves.

    Args:
        features: rows of the whole catalogue, shape (n, len(FEATURES)), NaN where missing.
        fraud: the verdicts, shape (n,).
        names: the features that the model sees, names of the catalogue.
        version: of the model in the registry.
        seed: makes the training deterministic.
        parameters: of the forest.
        period: event time of the first and the last row, unix seconds.

    Returns:
        The candidate, and the forest's own scores of the first rows.

    Raises:
        ValueError: only one class among the verdicts, unknown names.
    """
    if len(fraud) != len(features) or not 0 < int(fraud.sum()) < len(fraud):
        raise ValueError(f"fraud: {int(fraud.sum())} of {len(fraud)} rows; both classes are needed")
    chosen = parameters or ForestParameters()
    rows, inputs = filled_columns(features, names)
    forest = RandomForestClassifier(
        n_estimators=chosen.trees,
        max_depth=chosen.max_depth,
        max_leaf_nodes=chosen.leaves,
        min_samples_leaf=chosen.min_leaf,
        max_samples=None if chosen.rows_share >= 1.0 else chosen.rows_share,
        class_weight="balanced" if chosen.balanced else None,
        random_state=seed,
    ).fit(rows, fraud.astype(np.int64))
    made = probability_trees(forest)
    candidate = Candidate(
        model_name=MODEL_NAME,
        version=version,
        algorithm="random_forest",
        features=inputs,
        link=IdentityLink(),
        onnx=export_trees(made, len(names)),
        explain=export_covers(made, len(names)),
        training=Training(
            len(rows),
            chosen.trees,
            seed,
            period=period,
            # A manifest has numbers there; one with a truth value could not be read again.
            parameters=msgspec.to_builtins(chosen) | {"balanced": int(chosen.balanced)},
        ),
    )
    expected: Any = forest.predict_proba(rows[:CHECKED_ROWS])[:, 1]
    return candidate, expected
