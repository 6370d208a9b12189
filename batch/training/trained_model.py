"""The last step of every training: threshold from the alert budget, manifest, proof of the export.

Never: a threshold from `contamination`; a model whose export differs from the trained forest.
"""

from importlib.metadata import version as installed_version
from typing import NamedTuple

import msgspec
import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from batch.training.threshold import threshold_for_share
from ray_fraud.domain.canonical import content_digest
from ray_fraud.domain.drift import reference_of
from ray_fraud.domain.features import FEATURE_NAMES
from ray_fraud.domain.model import Link, LogisticLink, Manifest, ModelFeature, Training
from ray_fraud.scoring.link import apply_link, fraud_direction
from ray_fraud.scoring.model import Model

MAX_EXPORT_DIFFERENCE = 1e-5
MAX_BOOSTED_DIFFERENCE = 1e-4
EXPLAINED_ROWS = 20
"""Rows whose contributions are held against their scores."""
REFERENCE_ROWS = 200_000
"""Training rows that references are made of, evenly spaced: shares are then right to a thousandth."""
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

    def draft(self) -> Manifest:
        """A manifest to score with, before threshold and calibration are known."""
        return Manifest(
            model_name=self.model_name,
            version=self.version,
            algorithm=self.algorithm,
            features=self.features,
            onnx_sha256=content_digest(self.onnx),
            link=self.link,
            threshold=0.0,
            explain_sha256=UNSET if self.explain is None else content_digest(self.explain),
            training=msgspec.structs.replace(
                self.training, libraries={name: installed_version(name) for name in LIBRARIES}
            ),
        )

    def model(self) -> Model:
        """To score with, before threshold and calibration are known."""
        return Model(self.draft(), self.onnx, self.explain)


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
    model = candidate.model()
    scores = model.score(features)
    compare(model, features, scores[: len(expected)], expected)
    draft = model.manifest
    manifest = msgspec.structs.replace(
        draft,
        threshold=threshold_for_share(scores, alert_share),
        training=msgspec.structs.replace(draft.training, alert_share=alert_share),
        score_quantiles=quantiles_of(scores),
    )
    return with_references(TrainedModel(manifest, candidate.onnx, candidate.explain), features)


def with_references(trained: TrainedModel, features: NDArray[np.float32]) -> TrainedModel:
    """The model, knowing how its training rows and their final scores were distributed.

    Args:
        trained: complete, calibration included.
        features: the training rows, shape (n, len(FEATURES)), NaN where missing.
    """
    rows = features[:: -(-len(features) // REFERENCE_ROWS)]
    references = {
        name: reference_of(rows[:, FEATURE_NAMES.index(name)]) for name in trained.manifest.feature_names
    }
    scores = reference_of(Model(*trained).score(rows))
    manifest = msgspec.structs.replace(trained.manifest, references=references, score_reference=scores)
    return trained._replace(manifest=manifest)


def compare(
    model: Model,
    features: NDArray[np.float32],
    scores: NDArray[np.float64],
    expected: NDArray[np.float64],
) -> None:
    """The proof of an export: scores of the same rows by ONNX and by the library that trained, shape (m,).

    Raises:
        ExportMismatch: one differs by more than 1e-5, or boosted ones by more than 1e-4: hundreds of trees
            add up, and float32 holds their sum only to some millionths. Or contributions do not add up.
    """
    limit = MAX_BOOSTED_DIFFERENCE if isinstance(model.manifest.link, LogisticLink) else MAX_EXPORT_DIFFERENCE
    difference = float(np.abs(scores - expected).max())
    if difference > limit:
        raise ExportMismatch(
            f"{model.manifest.label}: exported scores differ by {difference:.2e}, limit {limit}"
        )
    _check_explanations(model, features[:EXPLAINED_ROWS], scores[:EXPLAINED_ROWS], limit)


def quantiles_of(
    scores: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> tuple[tuple[float, float], ...]:
    """(probability, score), ascending; each score counts as `weights` scores, shape (n,)."""
    if weights is not None and weights.min() < weights.max():
        order = np.argsort(scores, kind="stable")
        until = np.cumsum(weights[order])
        found = np.searchsorted(until, np.array(QUANTILES) * until[-1]).clip(0, len(scores) - 1)
        return tuple(zip(QUANTILES, scores[order][found].tolist(), strict=True))
    return tuple(zip(QUANTILES, np.quantile(scores, QUANTILES).tolist(), strict=True))


def _check_explanations(
    model: Model, features: NDArray[np.float32], scores: NDArray[np.float64], limit: float
) -> None:
    """The trees' mean and a row's contributions are its raw sum, and so give its score."""
    for row, score in zip(features, scores, strict=False):
        pushes = model.explain(row)
        if pushes is None:
            return
        raw = model.mean_raw + fraud_direction(model.manifest.link) * pushes.sum()
        told = float(apply_link(model.manifest.link, np.array([raw], np.float32))[0])
        if abs(told - score) > limit:
            raise ExportMismatch(
                f"{model.manifest.label}: contributions add up to {told}, not to the score {score}"
            )
