"""Snapshots in memory, with injected faults.

Never: a file, a clock.
"""

from collections.abc import Callable, Collection, Iterable, Iterator

from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.checked_users import checked_users
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.faults import FaultPlan
from ray_fraud.stores.snapshots.port import SnapshotDamaged, SnapshotHeader

SnapshotContents = dict[tuple[PartitionId, str], tuple[SnapshotHeader, dict[int, bytes]]]
"""(partition, name) to header and users; may be shared by several stores."""


class MemorySnapshotStore:
    """Each call is one I/O step of `faults`."""

    def __init__(self, contents: SnapshotContents | None = None, faults: FaultPlan | None = None) -> None:
        self.contents: SnapshotContents = {} if contents is None else contents
        self._faults = FaultPlan() if faults is None else faults

    def write(
        self, partition: PartitionId, header: SnapshotHeader, users: Iterable[tuple[int, bytes]]
    ) -> str:
        if partition != header.partition:
            raise StoreRefused("lake", f"snapshot of {header.partition} cannot be stored under {partition}")
        held = dict(
            checked_users(users, header.user_count, header.digest, lambda what: StoreRefused("lake", what))
        )

        def action() -> str:
            self.contents[partition, header.name] = header, held
            return header.name

        return self._faults.step("lake", "write_snapshot", action)

    def newest_valid(
        self, partition: PartitionId, is_valid: Callable[[SnapshotHeader], bool]
    ) -> SnapshotHeader | None:
        def action() -> SnapshotHeader | None:
            headers = [header for (of, _), (header, _) in self.contents.items() if of == partition]
            valid = [header for header in headers if is_valid(header)]
            return max(valid, key=lambda header: (header.next_offset, header.epoch), default=None)

        return self._faults.step("lake", "newest_valid", action)

    def read_users(self, header: SnapshotHeader) -> Iterator[tuple[int, bytes]]:
        def action() -> dict[int, bytes]:
            found = self.contents.get((header.partition, header.name))
            if found is None:
                raise SnapshotDamaged("lake", f"snapshot {header.name} of {header.partition} is gone")
            return dict(found[1])

        users = self._faults.step("lake", "read_snapshot", action)
        return checked_users(
            users.items(), header.user_count, header.digest, lambda what: SnapshotDamaged("lake", what)
        )

    def remove_above(self, partition: PartitionId, offset: int) -> int:
        def action() -> int:
            doomed = [
                key
                for key, (header, _) in self.contents.items()
                if key[0] == partition and header.next_offset > offset
            ]
            for key in doomed:
                del self.contents[key]
            return len(doomed)

        return self._faults.step("lake", "remove_above", action)

    def prune(self, partition: PartitionId, keep: int, spared: Collection[int] = ()) -> int:
        if keep < 1:
            raise ValueError(f"keep: {keep}, must be at least 1")

        def action() -> int:
            headers = [header for (of, _), (header, _) in self.contents.items() if of == partition]
            oldest = sorted(headers, key=lambda header: (header.next_offset, header.epoch))[:-keep]
            doomed = [header for header in oldest if header.next_offset not in spared]
            for header in doomed:
                del self.contents[partition, header.name]
            return len(doomed)

        return self._faults.step("lake", "prune", action)
