"""What is stored at every moment of a run, not only at its end: a later cut heals most wrong ones.

After each step: only the owner that the fence names has changed the cut, and the fence never went back.
At the end: every cut and every snapshot that any recovery might have believed equals the replay there.

Never: stopping a run for what a store may lose (Redis everything it had, the lake nothing).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.feature_tables import StateOnly
from ray_fraud.domain.partition import PartitionState
from ray_fraud.domain.record import PartitionId, Record
from ray_fraud.domain.timeline import ControlEvent
from ray_fraud.domain.watermark import Votes
from ray_fraud.stores.cuts.memory import CutContents, StoredPartition
from ray_fraud.stores.cuts.port import CutHeader
from ray_fraud.stores.ledger.port import EpochRow, valid_until
from ray_fraud.stores.snapshots.memory import SnapshotContents


@dataclass(frozen=True)
class Stored:
    """One state that was stored: the effect of all records below `next_offset`, as its writer believed."""

    kind: str
    epoch: int
    next_offset: int
    reached: tuple[int, Votes]
    """Watermark and what stands behind it."""
    users: dict[int, bytes]


class Witness:
    """Looks at one partition's cut and snapshots after every step, and remembers them all."""

    def __init__(self, partition: PartitionId, cuts: CutContents, snapshots: SnapshotContents) -> None:
        self._partition = partition
        self._cuts = cuts
        self._snapshots = snapshots
        self._server: StoredPartition | None = None
        self._fence = 0
        self._header: CutHeader | None = None
        self._seen: list[Stored] = []
        self._seen_snapshots: set[str] = set()
        self._cut_offs: list[tuple[int, int]] = []

    def check_step(self) -> None:
        """I4: nobody but the newest owner of Redis has written there since the last look."""
        stored = self._cuts.of(self._partition)
        if stored is not self._server:
            self._server, self._fence, self._header = stored, 0, stored.header
        assert stored.epoch >= self._fence, f"the fence went back from {self._fence} to {stored.epoch}"
        self._fence = stored.epoch
        header = stored.header
        if header is not None and header is not self._header:
            writer = (header.writer_epoch, header.token)
            assert writer == (stored.epoch, stored.token), f"cut of {writer} under fence {stored.epoch}"
            self._seen.append(
                Stored(
                    "cut",
                    header.writer_epoch,
                    header.next_offset,
                    (header.watermark_ms, header.votes),
                    dict(stored.users),
                )
            )
        self._header = header
        self._look_at_snapshots()

    def cut_off(self, end: int, epoch: int) -> None:
        """The log lost everything from `end` on; owners up to `epoch` may have observed it.

        What they stored above is no state of the log any more: that nobody starts from it shows in the end.
        """
        self._cut_offs.append((end, epoch))

    def check_all(
        self, epochs: Sequence[EpochRow], events: Sequence[ControlEvent], log: Sequence[Record]
    ) -> None:
        """I3 at every moment: state and watermark of each stored state are those of a replay up to there."""
        believed: dict[int, list[Stored]] = {}
        for stored in self._seen:
            limit = valid_until(epochs, stored.epoch)
            cut_off = any(stored.next_offset > end and stored.epoch <= epoch for end, epoch in self._cut_offs)
            if not cut_off and (limit is None or stored.next_offset <= limit):
                believed.setdefault(stored.next_offset, []).append(stored)
        for offset, state in _states(self._partition, events, log):
            for stored in believed.get(offset, ()):
                where = f"{stored.kind} of epoch {stored.epoch} at offset {offset}"
                assert stored.reached == (state.watermark_ms, state.votes), f"watermark of the {where}"
                assert stored.users == state.users, f"users of the {where}"

    def _look_at_snapshots(self) -> None:
        for (partition, name), (header, users) in self._snapshots.items():
            if partition == self._partition and name not in self._seen_snapshots:
                self._seen_snapshots.add(name)
                self._seen.append(
                    Stored(
                        "snapshot",
                        header.epoch,
                        header.next_offset,
                        (header.watermark_ms, header.votes),
                        dict(users),
                    )
                )


def _states(
    partition: PartitionId, events: Sequence[ControlEvent], log: Sequence[Record]
) -> Iterator[tuple[int, PartitionState]]:
    """The replay's state before each record of the log and after its last; each counts until the next."""
    state = PartitionState(partition.partition, Decoder(None), timeline=events, tables=StateOnly())
    for record in log:
        yield record.offset, state
        state.observe([record])
    yield log[-1].offset + 1, state
