"""The port to model files: immutable contents named by their digest.

Never: running a model (see `ray_fraud.scoring`), the registry (which version is in production).
"""

from typing import NamedTuple, Protocol

from ray_fraud.domain.model import Manifest
from ray_fraud.stores.errors import StoreRefused


class ModelMissing(StoreRefused):
    """No model is stored under this digest: copy it to the lake, or train it again."""

    code = "model_missing"

    def __init__(self, store: str, digest: str) -> None:
        super().__init__(store, f"no model {digest} under models/; copy the folder there or train again")
        self.args = (store, digest)
        self.digest = digest


class StoredModel(NamedTuple):
    """All of a model."""

    manifest: Manifest
    onnx: bytes
    explain: bytes | None = None
    """The trees with their covers, where the manifest names them."""


class ModelFiles(Protocol):
    """Model files by digest. Calls block on I/O and are safe from several threads."""

    def put(self, manifest: Manifest, onnx: bytes, explain: bytes | None = None) -> str:
        """Store a model durably and return its digest; storing it again changes nothing.

        Raises:
            ModelRefused: the manifest names another SHA-256 than that of `onnx` or `explain`.
            StoreUnavailable: try again; nothing half-written is ever returned by `load`.
        """
        ...

    def load(self, digest: str) -> StoredModel:
        """The manifest and its files, all checked against their SHA-256.

        Raises:
            ModelMissing: no such model is stored.
            ModelRefused: the files are not what the digest names.
            StoreUnavailable: try again.
        """
        ...
