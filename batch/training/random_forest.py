"""Trains a Random Forest on labelled rows and exports it.

Never: choosing which labels are known at which time (the caller cuts the rows).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from batch.training.explain_file import export_covers
from batch.training.forest_trees import probability_trees
from batch.training.missing import training_columns
from batch.training.onnx_trees import export_trees
from batch.training.trained_model import Candidate, TrainedModel, finish
from ray_fraud.domain.model import IdentityLink, Training

MODEL_NAME = "random_forest"
CHECKED_ROWS = 5_000


def train_random_forest(
    features: NDArray[np.float32],
    fraud: NDArray[np.bool_],
    names: Sequence[str],
    *,
    version: int,
    seed: int,
    trees: int = 100,
    max_depth: int = 12,
    alert_share: float = 0.003,
    period: tuple[float, float] | None = None,
) -> TrainedModel:
    """Train with balanced class weights; the score is the (uncalibrated) probability of fraud.

    Args:
        features: rows of the whole catalogue, shape (n, len(FEATURES)), NaN where missing.
        fraud: the verdicts, shape (n,).
        names: the features that the model sees, names of the catalogue.
        version: of the model in the registry.
        seed: makes the training deterministic.
        trees: number of trees.
        max_depth: bounds the size of the model file.
        alert_share: share of the training rows above the threshold.
        period: event time of the first and the last row, unix seconds.

    Raises:
        ValueError: only one class among the verdicts, unknown names.
        ExportMismatch: the exported model scores unlike the forest.
    """
    if len(fraud) != len(features) or not 0 < int(fraud.sum()) < len(fraud):
        raise ValueError(f"fraud: {int(fraud.sum())} of {len(fraud)} rows; both classes are needed")
    rows, inputs = training_columns(features, names)
    forest = RandomForestClassifier(
        n_estimators=trees, max_depth=max_depth, class_weight="balanced", random_state=seed
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
        training=Training(len(rows), trees, seed, period=period),
    )
    expected = forest.predict_proba(rows[:CHECKED_ROWS])[:, 1]
    return finish(candidate, features, expected, alert_share=alert_share)
