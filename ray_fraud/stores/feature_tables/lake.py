"""Feature tables in the lake: `feature_tables/<digest>.arrow`.

Never: overwriting a sound file; trusting a file because of its name.
"""

import os
import re
from contextlib import suppress
from pathlib import Path

from pyarrow import fs

from ray_fraud.domain.canonical import content_digest
from ray_fraud.stores.errors import StoreDamaged, StoreRefused, StoreUnavailable
from ray_fraud.stores.feature_tables.port import TablesMissing
from ray_fraud.stores.lake import local_folder
from ray_fraud.stores.snapshots.whole_files import whole_file

FOLDER = "feature_tables"
SUFFIX = ".arrow"
_DIGEST = re.compile(r"[0-9a-f]{64}")


class LakeFeatureTables:
    """`FeatureTableFiles` on any file system of pyarrow (local folder, S3)."""

    def __init__(self, filesystem: fs.FileSystem, root: str) -> None:
        """`root`: the lake's folder or bucket and prefix, as `filesystem` names it."""
        self._filesystem = filesystem
        self._folder = f"{root.rstrip('/')}/{FOLDER}"

    def put(self, content: bytes) -> str:
        digest = content_digest(content)
        try:
            self.load(digest)
        except (TablesMissing, StoreDamaged):
            try:
                self._filesystem.create_dir(self._folder, recursive=True)
                with whole_file(self._filesystem, self._path(digest)) as stream:
                    stream.write(content)
            except OSError as error:
                raise _store_error(error) from error
        return digest

    def load(self, digest: str) -> bytes:
        if not _DIGEST.fullmatch(digest):
            raise TablesMissing("lake", digest)
        try:
            with self._filesystem.open_input_file(self._path(digest)) as file:
                content: bytes = file.read()
        except FileNotFoundError as error:
            raise TablesMissing("lake", digest) from error
        except OSError as error:
            raise _store_error(error) from error
        return checked(digest, content)

    def digests(self) -> dict[str, float]:
        try:
            found = self._filesystem.get_file_info(fs.FileSelector(self._folder, allow_not_found=True))
        except OSError as error:
            raise _store_error(error) from error
        files = {
            info.base_name.removesuffix(SUFFIX): info for info in found if info.base_name.endswith(SUFFIX)
        }
        return {
            digest: info.mtime_ns / 1e9 for digest, info in sorted(files.items()) if _DIGEST.fullmatch(digest)
        }

    def remove(self, digest: str) -> None:
        if not _DIGEST.fullmatch(digest):
            return
        try:
            # Object stores say nothing of an object that is not there, folders do.
            self._filesystem.delete_file(self._path(digest))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise _store_error(error) from error

    def _path(self, digest: str) -> str:
        return f"{self._folder}/{digest}{SUFFIX}"


class NodeFeatureTables(LakeFeatureTables):
    """`FeatureTableCopies` in a folder of this machine; a file's time is that of its last use."""

    def __init__(self, folder: Path) -> None:
        super().__init__(*local_folder(folder))

    def touch(self, digest: str) -> None:
        with suppress(OSError):
            os.utime(self._path(digest))


def checked(digest: str, content: bytes) -> bytes:
    """The content, if it has the digest.

    Raises:
        StoreDamaged: it has another one.
    """
    found = content_digest(content)
    if found != digest:
        raise StoreDamaged("lake", f"feature tables {digest}: the content has SHA-256 {found}")
    return content


def _store_error(error: OSError) -> StoreRefused | StoreUnavailable:
    if isinstance(error, PermissionError):
        return StoreRefused("lake", f"feature tables: access denied ({error}); check credentials and mode")
    return StoreUnavailable("lake", f"feature tables: {error}")
