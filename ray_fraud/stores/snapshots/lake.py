"""Snapshots in the lake, under `checkpoints/<cluster>/<topic id>/<partition>/`.

`<offset>-<epoch>.parquet` holds the users, `<offset>-<epoch>.json` is the manifest. The manifest is written
last, so a snapshot whose manifest can be read is complete.

Never: changing a finished snapshot; believing users whose checksum, count or digest is wrong.
"""

import hashlib
import logging
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager

import msgspec
from pyarrow import fs

from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.checked_users import checked_users
from ray_fraud.stores.errors import StoreRefused, StoreUnavailable
from ray_fraud.stores.snapshots.port import SnapshotDamaged, SnapshotHeader
from ray_fraud.stores.snapshots.users_file import read_users_file, write_users_file
from ray_fraud.stores.snapshots.whole_files import whole_file

log = logging.getLogger(__name__)

USERS_SUFFIX = ".parquet"
MANIFEST_SUFFIX = ".json"
FILE = re.compile(r"[0-9]{20}-[0-9]+\.")

_manifests = msgspec.json.Decoder(SnapshotHeader)


class LakeSnapshotStore:
    """See `SnapshotStore`; on any file system of pyarrow (local folder, S3)."""

    def __init__(self, filesystem: fs.FileSystem, root: str) -> None:
        """`root`: the lake's folder or bucket and prefix, as `filesystem` names it."""
        self._filesystem = filesystem
        self._root = root.rstrip("/")

    def write(
        self, partition: PartitionId, header: SnapshotHeader, users: Iterable[tuple[int, bytes]]
    ) -> str:
        if partition != header.partition:
            raise StoreRefused("lake", f"snapshot of {header.partition} cannot be stored under {partition}")
        path = f"{self._folder(partition)}/{header.name}"
        checked = checked_users(
            users,
            header.user_count,
            header.digest,
            lambda what: StoreRefused("lake", f"the new snapshot: {what}"),
        )
        with _lake_errors(f"snapshot {header.name} of {partition}"):
            self._filesystem.create_dir(self._folder(partition), recursive=True)
            existing = self._manifest(f"{path}{MANIFEST_SUFFIX}")
            if existing is not None:
                if msgspec.structs.replace(existing, users_sha256="") == header:
                    return header.name
                self._filesystem.delete_file(f"{path}{MANIFEST_SUFFIX}")
            with whole_file(self._filesystem, f"{path}{USERS_SUFFIX}") as stream:
                sha256 = write_users_file(stream, checked)
            manifest = msgspec.structs.replace(header, users_sha256=sha256)
            with whole_file(self._filesystem, f"{path}{MANIFEST_SUFFIX}") as stream:
                stream.write(msgspec.json.format(msgspec.json.encode(manifest)))
        return header.name

    def newest_valid(
        self, partition: PartitionId, is_valid: Callable[[SnapshotHeader], bool]
    ) -> SnapshotHeader | None:
        with _lake_errors(f"snapshots of {partition}"):
            for name in reversed(self._finished(partition)):
                header = self._manifest(f"{self._folder(partition)}/{name}{MANIFEST_SUFFIX}")
                if header is None or header.partition != partition or header.name != name:
                    log.warning("lake: manifest of snapshot %s of %s is unreadable, skipped", name, partition)
                elif is_valid(header):
                    return header
        return None

    def read_users(self, header: SnapshotHeader) -> Iterator[tuple[int, bytes]]:
        what = f"snapshot {header.name} of {header.partition}"
        with _lake_errors(what):
            try:
                path = f"{self._folder(header.partition)}/{header.name}{USERS_SUFFIX}"
                with self._filesystem.open_input_stream(path) as stream:
                    content = stream.read_buffer()
            except FileNotFoundError as error:
                raise SnapshotDamaged("lake", f"{what} has a manifest and no users") from error
        if hashlib.sha256(content).hexdigest() != header.users_sha256:
            raise SnapshotDamaged("lake", f"{what}: SHA-256 of its users differs from the manifest")
        return checked_users(
            read_users_file(content),
            header.user_count,
            header.digest,
            lambda difference: SnapshotDamaged("lake", f"{what}: {difference}"),
        )

    def remove_above(self, partition: PartitionId, offset: int) -> int:
        with _lake_errors(f"snapshots of {partition}"):
            doomed = [file for file in self._files(partition) if _order(file)[0] > offset]
            self._delete(partition, doomed)
        return sum(file.endswith(MANIFEST_SUFFIX) for file in doomed)

    def _delete(self, partition: PartitionId, doomed: Sequence[str]) -> None:
        """Manifests first: a snapshot without one does not exist, users without one are only a stray file."""
        for file in sorted(doomed, key=lambda file: not file.endswith(MANIFEST_SUFFIX)):
            self._filesystem.delete_file(f"{self._folder(partition)}/{file}")

    def prune(self, partition: PartitionId, keep: int, spared: Collection[int] = ()) -> int:
        if keep < 1:
            raise ValueError(f"keep: {keep}, must be at least 1")
        with _lake_errors(f"snapshots of {partition}"):
            finished = self._finished(partition)
            if len(finished) <= keep:
                return 0
            oldest_kept = _order(finished[-keep])
            doomed = [
                file
                for file in self._files(partition)
                if _order(file) < oldest_kept and _order(file)[0] not in spared
            ]
            self._delete(partition, doomed)
        return sum(file.endswith(MANIFEST_SUFFIX) for file in doomed)

    def _folder(self, partition: PartitionId) -> str:
        return f"{self._root}/checkpoints/{partition.cluster_id}/{partition.topic_id}/{partition.partition}"

    def _files(self, partition: PartitionId) -> list[str]:
        """Names of all files that belong to some snapshot, finished or not."""
        selector = fs.FileSelector(self._folder(partition), allow_not_found=True)
        return [
            info.base_name for info in self._filesystem.get_file_info(selector) if FILE.match(info.base_name)
        ]

    def _finished(self, partition: PartitionId) -> list[str]:
        """Names of the snapshots that have a manifest, oldest first."""
        manifests = [file for file in self._files(partition) if file.endswith(MANIFEST_SUFFIX)]
        return [file.removesuffix(MANIFEST_SUFFIX) for file in sorted(manifests, key=_order)]

    def _manifest(self, path: str) -> SnapshotHeader | None:
        """None if there is none, or an unreadable one."""
        try:
            with self._filesystem.open_input_stream(path) as stream:
                return _manifests.decode(stream.read())
        except (FileNotFoundError, msgspec.DecodeError):
            return None


def _order(name: str) -> tuple[int, int]:
    """Offset and epoch of a snapshot's name or of one of its files."""
    offset, _, epoch = name.partition(".")[0].partition("-")
    return int(offset), int(epoch)


@contextmanager
def _lake_errors(what: str) -> Iterator[None]:
    """Turn the file system's errors into those of `ray_fraud.stores.errors`."""
    try:
        yield
    except PermissionError as error:
        raise StoreRefused("lake", f"{what}: access denied ({error}); check credentials and mode") from error
    except OSError as error:
        raise StoreUnavailable("lake", f"{what}: {error}") from error
