"""What every store of snapshots promises: run on the memory one, on a local folder and on an S3
server."""

from pathlib import Path

import msgspec
import pytest

from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.watermark import Votes
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.lake import lake_filesystem, local_folder
from ray_fraud.stores.snapshots.lake import LakeSnapshotStore
from ray_fraud.stores.snapshots.memory import MemorySnapshotStore
from ray_fraud.stores.snapshots.port import SnapshotDamaged, SnapshotHeader, SnapshotStore
from tests.stores.cut_samples import EVENTS, PARTITION, USERS, digest_of


@pytest.fixture(params=["memory", "local folder", pytest.param("s3", marks=pytest.mark.servers)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> SnapshotStore:
    if request.param == "memory":
        return MemorySnapshotStore()
    if request.param == "s3":
        return LakeSnapshotStore(*lake_filesystem(request.getfixturevalue("s3_lake")))
    return LakeSnapshotStore(*local_folder(tmp_path / "lake"))


def header_of(
    users: dict[int, bytes], *, next_offset: int = 100, epoch: int = 1, partition: PartitionId = PARTITION
) -> SnapshotHeader:
    return SnapshotHeader(
        partition=partition,
        next_offset=next_offset,
        epoch=epoch,
        token="owner",
        watermark_ms=1_700_000_000_123,
        votes=Votes(12, 500, 1_700_009_000_000, 0, (2**63 - 1, 7), 3, established=True),
        base_offset=7,
        events=EVENTS,
        user_count=len(users),
        digest=digest_of(users),
        fold_version=3,
    )


def write(
    store: SnapshotStore, next_offset: int, epoch: int = 1, users: dict[int, bytes] | None = None
) -> None:
    held = USERS if users is None else users
    header = header_of(held, next_offset=next_offset, epoch=epoch)
    store.write(PARTITION, header, held.items())


def newest(store: SnapshotStore, partition: PartitionId = PARTITION) -> SnapshotHeader | None:
    return store.newest_valid(partition, lambda _: True)


def test_an_empty_lake_has_no_snapshot(store: SnapshotStore) -> None:
    assert newest(store) is None
    assert store.prune(PARTITION, keep=1) == 0


def test_a_snapshot_is_read_back_whole(store: SnapshotStore) -> None:
    name = store.write(PARTITION, header_of(USERS, next_offset=100, epoch=12), USERS.items())
    assert name == "00000000000000000100-12"
    found = newest(store)
    assert found is not None
    assert msgspec.structs.replace(found, users_sha256="") == header_of(USERS, next_offset=100, epoch=12)
    assert dict(store.read_users(found)) == USERS


@pytest.mark.parametrize("count", [0, 1, 25_000])
def test_any_number_of_users(store: SnapshotStore, count: int) -> None:
    users = {user_id * 3: b"%d" % user_id for user_id in range(count)}
    write(store, 5, users=users)
    found = newest(store)
    assert found is not None
    assert dict(store.read_users(found)) == users


def test_the_newest_one_has_the_highest_offset_then_the_highest_epoch(store: SnapshotStore) -> None:
    for next_offset, epoch in [(100, 3), (9_000, 9), (9_000, 10), (300, 11)]:
        write(store, next_offset, epoch)
    found = newest(store)
    assert found is not None
    assert (found.next_offset, found.epoch) == (9_000, 10)


def test_the_caller_judges_which_one_counts(store: SnapshotStore) -> None:
    for next_offset, epoch in [(100, 1), (200, 2), (300, 3)]:
        write(store, next_offset, epoch)
    found = store.newest_valid(PARTITION, lambda header: header.epoch < 3)
    assert found is not None
    assert found.next_offset == 200
    assert store.newest_valid(PARTITION, lambda _: False) is None


def test_writing_one_again_is_harmless(store: SnapshotStore) -> None:
    write(store, 100)
    write(store, 100)
    found = newest(store)
    assert found is not None
    assert dict(store.read_users(found)) == USERS


def test_another_snapshot_of_the_same_name_replaces_it(store: SnapshotStore) -> None:
    write(store, 100)
    write(store, 100, users={1: b"other"})
    found = newest(store)
    assert found is not None
    assert dict(store.read_users(found)) == {1: b"other"}


def test_users_that_do_not_match_the_header_are_refused(store: SnapshotStore) -> None:
    with pytest.raises(StoreRefused):
        store.write(PARTITION, header_of(USERS), list(USERS.items())[1:])
    with pytest.raises(StoreRefused):
        store.write(PARTITION, header_of(USERS), {**USERS, 1: b"other"}.items())
    assert newest(store) is None


def test_a_snapshot_of_another_partition_is_refused(store: SnapshotStore) -> None:
    with pytest.raises(StoreRefused):
        store.write(PARTITION._replace(partition=9), header_of(USERS), USERS.items())


def test_partitions_and_lives_of_a_topic_do_not_mix(store: SnapshotStore) -> None:
    write(store, 100)
    assert newest(store, PARTITION._replace(partition=3)) is None
    assert newest(store, PARTITION._replace(topic_id="made-again")) is None


def test_a_header_of_other_users_is_damaged(store: SnapshotStore) -> None:
    write(store, 100)
    found = newest(store)
    assert found is not None
    for wrong in (
        msgspec.structs.replace(found, user_count=found.user_count + 1),
        msgspec.structs.replace(found, digest=found.digest ^ 1),
        msgspec.structs.replace(found, next_offset=101),
    ):
        with pytest.raises(SnapshotDamaged):
            list(store.read_users(wrong))


def test_pruning_keeps_the_newest(store: SnapshotStore) -> None:
    for next_offset, epoch in [(100, 1), (200, 9), (200, 10), (300, 2)]:
        write(store, next_offset, epoch)
    assert store.prune(PARTITION, keep=2) == 2
    assert store.prune(PARTITION, keep=2) == 0
    found = store.newest_valid(PARTITION, lambda header: header.next_offset < 300)
    assert found is not None
    assert (found.next_offset, found.epoch) == (200, 10)
    assert (
        store.newest_valid(PARTITION, lambda header: (header.next_offset, header.epoch) < (200, 10)) is None
    )


def test_pruning_spares_the_snapshots_at_an_offset(store: SnapshotStore) -> None:
    for next_offset, epoch in [(100, 1), (200, 2), (200, 3), (300, 4), (400, 5)]:
        write(store, next_offset, epoch)
    assert store.prune(PARTITION, keep=1, spared=(200,)) == 2
    assert store.prune(PARTITION, keep=1, spared=(200,)) == 0
    found = store.newest_valid(PARTITION, lambda header: header.next_offset < 400)
    assert found is not None
    assert (found.next_offset, found.epoch) == (200, 3)
    assert dict(store.read_users(found)) == USERS


def test_pruning_everything_is_a_mistake(store: SnapshotStore) -> None:
    with pytest.raises(ValueError, match="keep"):
        store.prune(PARTITION, keep=0)


def test_what_lies_above_a_cut_off_is_removed(store: SnapshotStore) -> None:
    for offset in (10, 20, 30):
        write(store, offset)
    assert store.remove_above(PARTITION, 20) == 1
    found = newest(store)
    assert found is not None
    assert found.next_offset == 20
    assert store.remove_above(PARTITION, 20) == 0
    # Another state may have the same offset and epoch then.
    write(store, 30, users={1: b"another"})
    found = newest(store)
    assert found is not None
    assert dict(store.read_users(found)) == {1: b"another"}
