"""The port to model files: immutable contents named by their digest.

Never: running a model (see `ray_fraud.scoring`), the registry (which version is in production).
"""

from typing import Protocol

from ray_fraud.domain.model import Manifest
from ray_fraud.stores.errors import StoreRefused


class ModelMissing(StoreRefused):
    """No model is stored under this digest: copy it to the lake, or train it again."""

    code = "model_missing"

    def __init__(self, store: str, digest: str) -> None:
        super().__init__(store, f"no model {digest} under models/; copy the folder there or train again")
        self.args = (store, digest)
        self.digest = digest


class ModelFiles(Protocol):
    """Model files by digest. Calls block on I/O and are safe from several threads."""

    def put(self, manifest: Manifest, onnx: bytes) -> str:
        """Store a model durably and return its digest; storing it again changes nothing.

        Raises:
            ModelRefused: the manifest names another SHA-256 than that of `onnx`.
            StoreUnavailable: try again; nothing half-written is ever returned by `load`.
        """
        ...

    def load(self, digest: str) -> tuple[Manifest, bytes]:
        """The manifest and the ONNX bytes, both checked against their SHA-256.

        Raises:
            ModelMissing: no such model is stored.
            ModelRefused: the files are not what the digest names.
            StoreUnavailable: try again.
        """
        ...
