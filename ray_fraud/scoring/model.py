"""One loaded model: rows of the feature catalogue in, scores out.

The score of a row depends on that row alone: thresholds compare exactly, leaf values are exported so
that their float32 sum is exact in any order, one thread runs, and the link rounds per element.

Never: reading files (see `ray_fraud.stores.models`), unpickling, more than one thread.
"""

import math

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ray_fraud.domain.features import FEATURE_COUNT, FEATURE_NAMES
from ray_fraud.domain.model import Manifest, ModelRefused, verify_explain, verify_onnx
from ray_fraud.scoring.explain import Explainer
from ray_fraud.scoring.link import apply_link, calibrated, fraud_direction
from ray_fraud.scoring.tree_graph import check_tree_graph
from ray_fraud.scoring.tree_table import decode_trees


class Model:
    """A model version ready to score and to explain; safe from several threads."""

    def __init__(
        self, manifest: Manifest, onnx: bytes, explain: bytes | None = None, *, explains: bool = True
    ) -> None:
        """Check and load the model; `explain` as the manifest says. With `explains` False it only scores.

        Raises:
            ModelRefused: SHA-256, graph or features are not what they must be.
        """
        verify_onnx(manifest, onnx)
        verify_explain(manifest, explain)
        graph = check_tree_graph(onnx, model=manifest.label)
        unknown = [name for name in manifest.feature_names if name not in FEATURE_NAMES]
        if unknown:
            raise ModelRefused(manifest.label, f"features {unknown} are not in the catalogue of this release")
        if graph.columns != len(manifest.features):
            raise ModelRefused(
                manifest.label,
                f"model.onnx takes {graph.columns} columns, the manifest names {len(manifest.features)}",
            )
        self.manifest = manifest
        self._columns = np.array([FEATURE_NAMES.index(name) for name in manifest.feature_names])
        self._fills = np.array([feature.fill for feature in manifest.features], np.float32)
        self._input, self._outputs = graph.input_name, [graph.output_name]
        self._session = _session(onnx, manifest)
        self._explainer = None if explain is None or not explains else _explainer(explain, manifest)

    def score(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Scores of rows of the whole catalogue, shape (n, len(FEATURES)) to shape (n,).

        A missing value (NaN) counts as the manifest's fill value.
        """
        if features.ndim != 2 or features.shape[1] != len(FEATURE_NAMES):
            raise ValueError(f"features: shape {features.shape}, must be (n, {len(FEATURE_NAMES)})")
        if not len(features):
            return np.empty(0)
        (raw,) = self._session.run(self._outputs, {self._input: self._inputs(features)})
        return calibrated(self.manifest.calibration, apply_link(self.manifest.link, raw.reshape(-1)))

    def explain(self, features: NDArray[np.float32]) -> NDArray[np.float64] | None:
        """How much each feature pushed one row's score up, in the unit of the trees' raw sum.

        Args:
            features: one row of the whole catalogue, shape (len(FEATURES),).

        Returns:
            Shape (len(FEATURES),): positive towards fraud, 0 for what the model does not use. Their sum is
            the row's raw sum less the trees' mean, both with the sign that is higher for fraud. None if
            the model has no `explain.bin`, or was loaded to score only.
        """
        if self._explainer is None:
            return None
        (row,) = self._inputs(features[None])
        pushes = np.zeros(FEATURE_COUNT)
        pushes[self._columns] = fraud_direction(self.manifest.link) * self._explainer.contributions(row)
        return pushes

    @property
    def mean_raw(self) -> float:
        """The trees' raw sum of an average training row, from which contributions count; NaN without them."""
        return math.nan if self._explainer is None else self._explainer.base

    def _inputs(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """The model's columns with its fill values, shape (n, columns)."""
        rows = features.take(self._columns, axis=1)
        missing = np.isnan(rows)
        if missing.any():
            np.copyto(rows, self._fills, where=missing)
        return rows


def _explainer(explain: bytes, manifest: Manifest) -> Explainer:
    table = decode_trees(explain, model=manifest.label)
    if table.columns != len(manifest.features):
        raise ModelRefused(
            manifest.label,
            f"explain.bin takes {table.columns} columns, the manifest names {len(manifest.features)}",
        )
    return Explainer(table)


def _session(onnx: bytes, manifest: Manifest) -> onnxruntime.InferenceSession:
    """A session that has scored one row: some damage shows only when the trees are walked."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
        session.run(None, {session.get_inputs()[0].name: np.zeros((1, len(manifest.features)), np.float32)})
    except Exception as error:
        raise ModelRefused(manifest.label, f"onnxruntime cannot run it: {error}") from error
    return session
