"""Model files in the lake: `models/<digest>/manifest.json`, `model.onnx` and, if it has one, `explain.bin`.

The manifest is written last, so a model whose manifest can be read is complete.

Never: overwriting a sound model; trusting a file because of its name.
"""

import re
import secrets

from msgspec import UNSET
from pyarrow import fs

from ray_fraud.domain.model import Manifest, ModelRefused, decode_manifest, verify_explain, verify_onnx
from ray_fraud.stores.errors import StoreRefused, StoreUnavailable
from ray_fraud.stores.models.port import ModelMissing, StoredModel

MANIFEST = "manifest.json"
ONNX = "model.onnx"
EXPLAIN = "explain.bin"
_DIGEST = re.compile(r"[0-9a-f]{64}")


class LakeModelFiles:
    """`ModelFiles` on any file system of pyarrow (local folder, S3)."""

    def __init__(self, filesystem: fs.FileSystem, root: str) -> None:
        """`root`: the lake's folder or bucket and prefix, as `filesystem` names it."""
        self._filesystem = filesystem
        self._root = root.rstrip("/")

    def put(self, manifest: Manifest, onnx: bytes, explain: bytes | None = None) -> str:
        verify_onnx(manifest, onnx)
        verify_explain(manifest, explain)
        digest = manifest.digest
        try:
            self.load(digest)
        except (ModelMissing, ModelRefused):
            folder = self._folder(digest)
            try:
                self._filesystem.create_dir(folder, recursive=True)
                self._write(f"{folder}/{ONNX}", onnx)
                if explain is not None:
                    self._write(f"{folder}/{EXPLAIN}", explain)
                self._write(f"{folder}/{MANIFEST}", manifest.canonical())
            except OSError as error:
                raise _store_error(error) from error
        return digest

    def load(self, digest: str) -> StoredModel:
        if not _DIGEST.fullmatch(digest):
            raise ModelMissing("lake", digest)
        folder = self._folder(digest)
        try:
            manifest = decode_manifest(self._read(f"{folder}/{MANIFEST}"), digest=digest)
            onnx = self._read(f"{folder}/{ONNX}")
            explain = None if manifest.explain_sha256 is UNSET else self._read(f"{folder}/{EXPLAIN}")
        except FileNotFoundError as error:
            raise ModelMissing("lake", digest) from error
        except OSError as error:
            raise _store_error(error) from error
        verify_onnx(manifest, onnx)
        verify_explain(manifest, explain)
        return StoredModel(manifest, onnx, explain)

    def _folder(self, digest: str) -> str:
        return f"{self._root}/models/{digest}"

    def _read(self, path: str) -> bytes:
        with self._filesystem.open_input_stream(path) as stream:
            return bytes(stream.read())

    def _write(self, path: str, content: bytes) -> None:
        """Write so that `path` never holds a part: object stores do by themselves, folders by a rename."""
        local = self._filesystem.type_name == "local"
        target = f"{path}.{secrets.token_hex(8)}.part" if local else path
        with self._filesystem.open_output_stream(target) as stream:
            stream.write(content)
        if local:
            self._filesystem.move(target, path)


def _store_error(error: OSError) -> StoreRefused | StoreUnavailable:
    if isinstance(error, PermissionError):
        return StoreRefused("lake", f"model files: access denied ({error}); check credentials and mode")
    return StoreUnavailable("lake", f"model files: {error}")
