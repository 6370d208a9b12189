"""Models that a backtest does not train: registered ones, ones in a folder, those of a first start.

Never: a model whose files are not what their digest says.
"""

from collections.abc import Sequence
from pathlib import Path

from msgspec import UNSET

from batch.backtest.measure import GivenModel
from batch.backtest.request import BacktestRefused
from batch.scoring.plan import ScoredVersion
from batch.training.bootstrap import bootstrap_models
from batch.training.first_models import generated_history
from batch.training.trained_model import TrainedModel
from ray_fraud.domain.canonical import content_digest
from ray_fraud.domain.model import decode_manifest, verify_explain, verify_onnx
from ray_fraud.stores.models.lake import EXPLAIN, MANIFEST, ONNX
from ray_fraud.stores.models.port import ModelFiles


def first_models() -> list[GivenModel]:
    """The two models of a first start, made anew."""
    return [_as_it_is(model) for model in bootstrap_models(generated_history())]


def registered_models(files: ModelFiles, versions: Sequence[ScoredVersion]) -> list[GivenModel]:
    """The files of registered versions.

    Raises:
        ModelMissing, ModelRefused, StoreUnavailable: see `ModelFiles.load`.
    """
    return [GivenModel(TrainedModel(*files.load(version.digest)), version.threshold) for version in versions]


def model_in(folder: Path) -> GivenModel:
    """The model whose files are in a folder, as the lake has them.

    Raises:
        BacktestRefused: a file cannot be read.
        ModelRefused: they do not fit each other, or are no model.
    """
    try:
        content = (folder / MANIFEST).read_bytes()
        manifest = decode_manifest(content, digest=content_digest(content))
        onnx = (folder / ONNX).read_bytes()
        explain = None if manifest.explain_sha256 is UNSET else (folder / EXPLAIN).read_bytes()
    except OSError as error:
        raise BacktestRefused(f"--model {folder}: {error.strerror}: {error.filename}") from error
    verify_onnx(manifest, onnx)
    verify_explain(manifest, explain)
    return _as_it_is(TrainedModel(manifest, onnx, explain))


def _as_it_is(model: TrainedModel) -> GivenModel:
    return GivenModel(model, model.manifest.threshold)
