"""Snapshots on a file system: half-written, damaged, unreachable."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyarrow import fs

from ray_fraud.stores.errors import StoreUnavailable
from ray_fraud.stores.lake import local_folder
from ray_fraud.stores.snapshots.lake import LakeSnapshotStore
from ray_fraud.stores.snapshots.port import SnapshotDamaged, SnapshotHeader
from tests.stores.cut_samples import PARTITION, USERS, digest_of


@pytest.fixture
def store(tmp_path: Path) -> LakeSnapshotStore:
    return LakeSnapshotStore(*local_folder(tmp_path))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints" / PARTITION.cluster_id / PARTITION.topic_id / str(PARTITION.partition)


def header(next_offset: int) -> SnapshotHeader:
    return SnapshotHeader(
        partition=PARTITION,
        next_offset=next_offset,
        epoch=1,
        token="owner",
        watermark_ms=0,
        user_count=len(USERS),
        digest=digest_of(USERS),
        fold_version=1,
    )


def newest_offset(store: LakeSnapshotStore) -> int | None:
    found = store.newest_valid(PARTITION, lambda _: True)
    return None if found is None else found.next_offset


def fill(store: LakeSnapshotStore, *offsets: int) -> None:
    for next_offset in offsets:
        store.write(PARTITION, header(next_offset), USERS.items())


def test_a_snapshot_is_two_files_and_no_remains(store: LakeSnapshotStore, folder: Path) -> None:
    fill(store, 100)
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["00000000000000000100-1.json", "00000000000000000100-1.parquet"]


def test_a_write_that_dies_leaves_nothing_to_see(store: LakeSnapshotStore, folder: Path) -> None:
    fill(store, 100)

    def dying() -> Iterator[tuple[int, bytes]]:
        yield 1, USERS[1]
        raise InterruptedError

    with pytest.raises(StoreUnavailable):
        store.write(PARTITION, header(200), dying())
    assert newest_offset(store) == 100
    assert len(list(folder.iterdir())) == 2


def test_users_without_a_manifest_are_no_snapshot_and_are_pruned(
    store: LakeSnapshotStore, folder: Path
) -> None:
    fill(store, 100, 200)
    (folder / "00000000000000000150-1.parquet").write_bytes(b"half")
    (folder / "00000000000000000150-1.parquet.0123.part").write_bytes(b"half")
    (folder / "00000000000000000250-1.parquet").write_bytes(b"perhaps still being written")
    (folder / "notes.txt").write_bytes(b"not ours")
    assert newest_offset(store) == 200
    assert store.prune(PARTITION, keep=1) == 1
    assert sorted(path.name for path in folder.iterdir()) == [
        "00000000000000000200-1.json",
        "00000000000000000200-1.parquet",
        "00000000000000000250-1.parquet",
        "notes.txt",
    ]


@pytest.mark.parametrize("content", [b"", b"{", b'{"partition":["a","b",1]}', b"\xff\xfe"])
def test_an_unreadable_manifest_is_passed_over(
    store: LakeSnapshotStore, folder: Path, content: bytes
) -> None:
    fill(store, 100, 200)
    (folder / "00000000000000000200-1.json").write_bytes(content)
    assert newest_offset(store) == 100


def test_a_manifest_under_a_wrong_name_is_passed_over(store: LakeSnapshotStore, folder: Path) -> None:
    fill(store, 100, 200)
    manifest = folder / "00000000000000000200-1.json"
    manifest.rename(folder / "00000000000000000900-1.json")
    assert newest_offset(store) == 100


def test_every_changed_byte_of_the_users_is_noticed(store: LakeSnapshotStore, folder: Path) -> None:
    fill(store, 100)
    users = folder / "00000000000000000100-1.parquet"
    sound = users.read_bytes()
    found = store.newest_valid(PARTITION, lambda _: True)
    assert found is not None
    for position in range(0, len(sound), 37):
        damaged = bytearray(sound)
        damaged[position] ^= 1
        users.write_bytes(damaged)
        with pytest.raises(SnapshotDamaged, match="SHA-256"):
            list(store.read_users(found))
    users.write_bytes(sound[:-1])
    with pytest.raises(SnapshotDamaged, match="SHA-256"):
        list(store.read_users(found))
    users.unlink()
    with pytest.raises(SnapshotDamaged, match="no users"):
        list(store.read_users(found))


def test_a_folder_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = LakeSnapshotStore(*local_folder(tmp_path / "file"))
    with pytest.raises(StoreUnavailable):
        fill(store, 100)


def test_the_files_are_on_the_disk_before_they_have_their_names(
    store: LakeSnapshotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    sync, replace = os.fsync, Path.replace

    def observed_sync(descriptor: int) -> None:
        steps.append("sync")
        sync(descriptor)

    def observed_replace(path: Path, target: Path) -> Path:
        steps.append("rename")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", observed_sync)
    monkeypatch.setattr(Path, "replace", observed_replace)
    fill(store, 100)
    assert steps == ["sync", "rename", "sync"] * 2


def test_another_kind_of_file_system(tmp_path: Path) -> None:
    """An object store: no rename, and streams of pyarrow's own."""
    store = LakeSnapshotStore(fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem()), "bucket/prefix")
    fill(store, 100, 200)
    assert newest_offset(store) == 200
    found = store.newest_valid(PARTITION, lambda _: True)
    assert found is not None
    assert dict(store.read_users(found)) == USERS
    assert store.prune(PARTITION, keep=1) == 1
