"""Trains an Isolation Forest and exports it: works from the first day, without labels.

Never: labels, a clock, reading the lake (rows come in as an argument).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest

from batch.training.explain_file import export_covers
from batch.training.forest_trees import isolation_trees, mean_path_length
from batch.training.missing import training_columns
from batch.training.onnx_trees import export_trees
from batch.training.trained_model import Candidate, TrainedModel, finish
from ray_fraud.domain.model import IsolationLink, Training

MODEL_NAME = "isolation_forest"
CHECKED_ROWS = 5_000
"""Rows on which the export is compared with the forest."""


def train_isolation_forest(
    features: NDArray[np.float32],
    names: Sequence[str],
    *,
    version: int,
    seed: int,
    trees: int = 100,
    contamination: float = 0.1,
    max_samples: int = 256,
    alert_share: float = 0.003,
    period: tuple[float, float] | None = None,
) -> TrainedModel:
    """Train on the named columns; score = −`score_samples` of scikit-learn, higher is more anomalous.

    Args:
        features: rows of the whole catalogue, shape (n, len(FEATURES)), NaN where missing.
        names: the features that the model sees, names of the catalogue.
        version: of the model in the registry.
        seed: makes the training deterministic.
        trees: number of trees.
        contamination: as scikit-learn means it; it does not set the alert threshold.
        max_samples: rows per tree, fewer if there are fewer rows.
        alert_share: share of the training rows above the threshold.
        period: event time of the first and the last row, unix seconds.

    Returns:
        Manifest and files.

    Raises:
        ValueError: fewer than two rows, unknown names.
        ExportMismatch: the exported model scores unlike the forest.
    """
    candidate, expected = fit_isolation_forest(
        features,
        names,
        version=version,
        seed=seed,
        trees=trees,
        contamination=contamination,
        max_samples=max_samples,
        period=period,
    )
    return finish(candidate, features, expected, alert_share=alert_share)


def fit_isolation_forest(
    features: NDArray[np.float32],
    names: Sequence[str],
    *,
    version: int,
    seed: int,
    trees: int = 100,
    contamination: float = 0.1,
    max_samples: int = 256,
    period: tuple[float, float] | None = None,
) -> tuple[Candidate, NDArray[np.float64]]:
    """The same without a threshold: the candidate, and the forest's own scores of the first rows."""
    rows, inputs = training_columns(features, names)
    if len(rows) < 2:
        raise ValueError(f"features: {len(rows)} row(s); an isolation tree needs at least 2")
    max_samples = min(max_samples, len(rows))
    forest = IsolationForest(
        n_estimators=trees, contamination=contamination, max_samples=max_samples, random_state=seed
    ).fit(rows)
    made = isolation_trees(forest)
    candidate = Candidate(
        model_name=MODEL_NAME,
        version=version,
        algorithm="isolation_forest",
        features=inputs,
        link=IsolationLink(float(mean_path_length(np.array([max_samples]))[0])),
        onnx=export_trees(made, len(names)),
        explain=export_covers(made, len(names)),
        training=Training(len(rows), trees, seed, max_samples, contamination, period=period),
    )
    return candidate, -forest.score_samples(rows[:CHECKED_ROWS])
