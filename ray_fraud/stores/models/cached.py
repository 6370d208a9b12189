"""A node's copy of model files, so that scoring starts without the lake.

Contents are named by their digest, so a copy never goes stale; a damaged one is fetched again.

Never: answering from a copy that fails its SHA-256.
"""

import logging

from ray_fraud.domain.model import Manifest, ModelRefused
from ray_fraud.stores.errors import StoreError
from ray_fraud.stores.models.port import ModelFiles, ModelMissing

logger = logging.getLogger(__name__)


class CachedModelFiles:
    """`ModelFiles` that reads `copies` first and fills it from `source`."""

    def __init__(self, source: ModelFiles, copies: ModelFiles) -> None:
        self._source = source
        self._copies = copies

    def put(self, manifest: Manifest, onnx: bytes) -> str:
        digest = self._source.put(manifest, onnx)
        self._keep(manifest, onnx)
        return digest

    def load(self, digest: str) -> tuple[Manifest, bytes]:
        try:
            return self._copies.load(digest)
        except ModelMissing:
            pass
        except (ModelRefused, StoreError) as error:
            logger.warning("local copy of model %s not used: %s", digest, error)
        manifest, onnx = self._source.load(digest)
        self._keep(manifest, onnx)
        return manifest, onnx

    def _keep(self, manifest: Manifest, onnx: bytes) -> None:
        """A full disk must not stop scoring: without the copy the next start only needs the lake."""
        try:
            self._copies.put(manifest, onnx)
        except StoreError as error:
            logger.warning("no local copy of model %s: %s", manifest.label, error)
