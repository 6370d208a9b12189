"""The last step of every training: threshold from the alert budget, manifest, proof of the export.

Never: a threshold from `contamination`; a model whose export differs from the trained forest.
"""

from importlib.metadata import version as installed_version
from typing import NamedTuple

import msgspec
import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from ray_fraud.domain.canonical import content_digest
from ray_fraud.domain.model import Link, Manifest, ModelFeature, Training
from ray_fraud.scoring.link import apply_link, fraud_direction
from ray_fraud.scoring.model import Model

MAX_EXPORT_DIFFERENCE = 1e-5
EXPLAINED_ROWS = 20
"""Rows whose contributions are held against their scores."""
QUANTILES = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 1.0)
LIBRARIES = ("numpy", "onnx", "onnxruntime", "scikit-learn")


class TrainedModel(NamedTuple):
    """A model ready for the model files."""

    manifest: Manifest
    onnx: bytes
    explain: bytes | None
    """The trees with their covers, see `batch.training.explain_file`."""


class Candidate(NamedTuple):
    """A trained forest on its way to a manifest."""

    model_name: str
    version: int
    algorithm: str
    features: tuple[ModelFeature, ...]
    link: Link
    onnx: bytes
    training: Training
    explain: bytes | None = None


class ExportMismatch(Exception):
    """The exported trees score or explain a row unlike the forest they came from: a defect of the export."""


def finish(
    candidate: Candidate,
    features: NDArray[np.float32],
    expected: NDArray[np.float64],
    *,
    alert_share: float,
) -> TrainedModel:
    """Score the training rows with the exported model and complete the manifest.

    Args:
        candidate: the trained forest.
        features: the training rows, shape (n, len(FEATURES)), NaN where missing.
        expected: the forest's own scores of the first rows, shape (m,), m <= n.
        alert_share: share of the rows that may alert; the threshold is set by it.

    Raises:
        ExportMismatch: a score differs from `expected` by more than 1e-5, or contributions do not add up to
            it.
    """
    if not 0 < alert_share < 1:
        raise ValueError(f"alert_share: {alert_share} must lie between 0 and 1; 0.003 is 3 alerts in 1,000")
    draft = Manifest(
        model_name=candidate.model_name,
        version=candidate.version,
        algorithm=candidate.algorithm,
        features=candidate.features,
        onnx_sha256=content_digest(candidate.onnx),
        link=candidate.link,
        threshold=0.0,
        explain_sha256=UNSET if candidate.explain is None else content_digest(candidate.explain),
        training=msgspec.structs.replace(
            candidate.training,
            alert_share=alert_share,
            libraries={name: installed_version(name) for name in LIBRARIES},
        ),
    )
    model = Model(draft, candidate.onnx, candidate.explain)
    scores = model.score(features)
    difference = float(np.abs(scores[: len(expected)] - expected).max())
    if difference > MAX_EXPORT_DIFFERENCE:
        raise ExportMismatch(
            f"{draft.label}: exported scores differ by {difference:.2e}, limit {MAX_EXPORT_DIFFERENCE}"
        )
    _check_explanations(model, features[:EXPLAINED_ROWS], scores[:EXPLAINED_ROWS])
    quantiles = np.quantile(scores, QUANTILES)
    return TrainedModel(
        msgspec.structs.replace(
            draft,
            threshold=float(np.quantile(scores, 1 - alert_share, method="higher")),
            score_quantiles=tuple(zip(QUANTILES, quantiles.tolist(), strict=True)),
        ),
        candidate.onnx,
        candidate.explain,
    )


def _check_explanations(model: Model, features: NDArray[np.float32], scores: NDArray[np.float64]) -> None:
    """The trees' mean and a row's contributions are its raw sum, and so give its score."""
    for row, score in zip(features, scores, strict=True):
        pushes = model.explain(row)
        if pushes is None:
            return
        raw = model.mean_raw + fraud_direction(model.manifest.link) * pushes.sum()
        told = float(apply_link(model.manifest.link, np.array([raw], np.float32))[0])
        if abs(told - score) > MAX_EXPORT_DIFFERENCE:
            raise ExportMismatch(
                f"{model.manifest.label}: contributions add up to {told}, not to the score {score}"
            )
