"""A node's copy of model files, so that scoring starts without the lake.

Contents are named by their digest, so a copy never goes stale; a damaged one is fetched again.

Never: answering from a copy that fails its SHA-256.
"""

import logging

from ray_fraud.domain.model import Manifest, ModelRefused
from ray_fraud.stores.errors import StoreError
from ray_fraud.stores.models.port import ModelFiles, ModelMissing, StoredModel

logger = logging.getLogger(__name__)


class CachedModelFiles:
    """`ModelFiles` that reads `copies` first and fills it from `source`."""

    def __init__(self, source: ModelFiles, copies: ModelFiles) -> None:
        self._source = source
        self._copies = copies

    def put(self, manifest: Manifest, onnx: bytes, explain: bytes | None = None) -> str:
        digest = self._source.put(manifest, onnx, explain)
        self._keep(StoredModel(manifest, onnx, explain))
        return digest

    def load(self, digest: str) -> StoredModel:
        try:
            return self._copies.load(digest)
        except ModelMissing:
            pass
        except (ModelRefused, StoreError) as error:
            logger.warning("local copy of model %s not used: %s", digest, error)
        model = self._source.load(digest)
        self._keep(model)
        return model

    def _keep(self, model: StoredModel) -> None:
        """A full disk must not stop scoring: without the copy the next start only needs the lake."""
        try:
            self._copies.put(*model)
        except StoreError as error:
            logger.warning("no local copy of model %s: %s", model.manifest.label, error)
