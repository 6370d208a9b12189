"""What a snapshot is and what a store of snapshots promises.

Never: deciding which epoch counts (the caller's `is_valid` does).
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Protocol

import msgspec

from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.timeline import ControlEvent
from ray_fraud.domain.watermark import NO_VOTES, Votes
from ray_fraud.stores.errors import StoreDamaged


class SnapshotHeader(msgspec.Struct, frozen=True, kw_only=True):
    """All of a snapshot but its users; fields as in a cut's header."""

    partition: PartitionId
    next_offset: int
    epoch: int
    token: str
    watermark_ms: int
    base_offset: int = 0
    events: tuple[ControlEvent, ...] = ()
    user_count: int
    digest: int
    fold_version: int
    leader_epoch: int = -1
    """Of the log's record before `next_offset`; -1: not known."""
    votes: Votes = NO_VOTES
    schema_version: int = 1
    users_sha256: str = ""
    """SHA-256 of the file of users, hex; filled in by the store."""

    @property
    def name(self) -> str:
        """`<offset, 20 digits>-<epoch>`: sorts by offset."""
        return f"{self.next_offset:020}-{self.epoch}"


class SnapshotDamaged(StoreDamaged):
    """Checksum, count or digest do not match the manifest."""

    code = "snapshot_damaged"


class SnapshotStore(Protocol):
    """A snapshot exists from the moment its manifest does, and is never changed."""

    def write(
        self, partition: PartitionId, header: SnapshotHeader, users: Iterable[tuple[int, bytes]]
    ) -> str:
        """Write users, then the manifest; returns the name. Repeating it is harmless.

        Raises:
            StoreRefused: `users` do not match the header's count or digest (a fault of the caller).
            StoreUnavailable: the lake did not take it; nothing is visible.
        """

    def newest_valid(
        self, partition: PartitionId, is_valid: Callable[[SnapshotHeader], bool]
    ) -> SnapshotHeader | None:
        """The snapshot with the highest offset among those readable and accepted by `is_valid`."""

    def read_users(self, header: SnapshotHeader) -> Iterator[tuple[int, bytes]]:
        """All users of the snapshot.

        Raises:
            SnapshotDamaged: checksum, count or digest do not match; nothing of it may be used.
        """

    def remove_above(self, partition: PartitionId, offset: int) -> int:
        """Delete snapshots of offsets above `offset`, where the log was cut off; how many.

        Raises:
            StoreUnavailable: some may be there still; repeat it.
        """

    def prune(self, partition: PartitionId, keep: int, spared: Collection[int] = ()) -> int:
        """Delete all but the `keep` (at least one) newest snapshots, and older remains of broken writes.

        Snapshots at one of the offsets `spared` stay however old they are.

        Returns:
            How many snapshots it deleted.
        """
