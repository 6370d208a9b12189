"""From which snapshots this release's fold may go on: those above the newest change of the fold version.

What lies below was decided by another version and is not folded again, neither by an audit nor by the cold
path nor for a look into the past.

Never: a snapshot of an owner that had been replaced.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ray_fraud.domain.conversion import fold_began, version_events
from ray_fraud.domain.fold_version import FOLD_VERSION
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.timeline import ControlEvent
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.ledger.port import EpochRow, valid_until
from ray_fraud.stores.snapshots.port import SnapshotHeader, SnapshotStore


class OtherFoldError(StoreRefused):
    """Asked for what another fold version has decided."""


@dataclass(frozen=True)
class Foldable:
    """What of a partition this release can fold; a predicate of snapshots."""

    partition: PartitionId
    timeline: Sequence[ControlEvent]
    epochs: Sequence[EpochRow]
    version: int = FOLD_VERSION
    began: int | None = field(init=False)
    """The first offset that can be folded; 0: all of them. None: none, the partition is another version's."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "began", fold_began(self.timeline, self.version))

    def __call__(self, header: SnapshotHeader) -> bool:
        limit = valid_until(self.epochs, header.epoch)
        believed = limit is None or header.next_offset <= limit
        above = self.began is not None and header.next_offset >= self.began
        return believed and above and header.fold_version == self.version

    def lowest(self, store: SnapshotStore) -> SnapshotHeader | None:
        """The snapshot from which on most can be folded.

        Raises:
            StoreUnavailable: the lake does not answer.
        """
        found: list[SnapshotHeader] = []

        def look(header: SnapshotHeader) -> bool:
            if self(header):
                found.append(header)
            return False

        store.newest_valid(self.partition, look)
        return min(found, key=lambda header: (header.next_offset, -header.epoch), default=None)

    def refusal(self) -> OtherFoldError:
        """For who asks for something that cannot be folded."""
        versions = version_events(self.timeline)
        if self.began is None:
            what = (
                f"{self.partition} is decided by fold version {versions[-1].version}, this release has "
                f"{self.version}; ask the release that decides it"
            )
        else:
            what = (
                f"{self.partition}: offsets below {self.began} were decided by another fold version than "
                f"this release's {self.version} and are not folded again; ask for later ones. If they are "
                f"later, the lake's folder checkpoints has no state at or above {self.began} any more"
            )
        return OtherFoldError("lake", what)
