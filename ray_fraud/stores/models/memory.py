"""Model files in this process's memory, for tests and simulations.

Never: shared between processes.
"""

from ray_fraud.domain.model import Manifest, decode_manifest, verify_onnx
from ray_fraud.stores.models.port import ModelMissing


class MemoryModelFiles:
    """`ModelFiles` in a dict of bytes, so that what is loaded never aliases what was put."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[bytes, bytes]] = {}

    def put(self, manifest: Manifest, onnx: bytes) -> str:
        verify_onnx(manifest, onnx)
        self._files[manifest.digest] = (manifest.canonical(), onnx)
        return manifest.digest

    def load(self, digest: str) -> tuple[Manifest, bytes]:
        if digest not in self._files:
            raise ModelMissing("memory", digest)
        content, onnx = self._files[digest]
        manifest = decode_manifest(content, digest=digest)
        verify_onnx(manifest, onnx)
        return manifest, onnx
