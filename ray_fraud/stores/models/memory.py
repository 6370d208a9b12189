"""Model files in this process's memory, for tests and simulations.

Never: shared between processes.
"""

from ray_fraud.domain.model import Manifest, decode_manifest, verify_explain, verify_onnx
from ray_fraud.stores.models.port import ModelMissing, StoredModel


class MemoryModelFiles:
    """`ModelFiles` in a dict of bytes, so that what is loaded never aliases what was put."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[bytes, bytes, bytes | None]] = {}

    def put(self, manifest: Manifest, onnx: bytes, explain: bytes | None = None) -> str:
        verify_onnx(manifest, onnx)
        verify_explain(manifest, explain)
        self._files[manifest.digest] = (manifest.canonical(), onnx, explain)
        return manifest.digest

    def load(self, digest: str) -> StoredModel:
        if digest not in self._files:
            raise ModelMissing("memory", digest)
        content, onnx, explain = self._files[digest]
        manifest = decode_manifest(content, digest=digest)
        verify_onnx(manifest, onnx)
        verify_explain(manifest, explain)
        return StoredModel(manifest, onnx, explain)
