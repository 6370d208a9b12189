"""Cuts in memory, with injected faults: for tests and for the deterministic simulation.

Never: a thread, a clock, a random draw.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.checked_users import checked_users
from ray_fraud.stores.cuts.layout import next_generation
from ray_fraud.stores.cuts.port import Cut, CutDamaged, CutHeader, CutOutcome
from ray_fraud.stores.errors import Fenced, StoreRefused
from ray_fraud.stores.faults import FaultPlan


@dataclass
class StoredPartition:
    """What the server holds of one partition."""

    epoch: int = 0
    token: str = ""
    header: CutHeader | None = None
    users: dict[int, bytes] = field(default_factory=dict)


class CutContents(dict[PartitionId, StoredPartition]):
    """The server that several stores may share; clear it to lose everything."""

    def of(self, partition: PartitionId) -> StoredPartition:
        return self.setdefault(partition, StoredPartition())


class MemoryCutStore:
    """One owner's client of `contents`; each call is one I/O step of `faults` (a generation is three)."""

    def __init__(self, contents: CutContents | None = None, faults: FaultPlan | None = None) -> None:
        self.contents = CutContents() if contents is None else contents
        self._faults = FaultPlan() if faults is None else faults

    def check_configuration(self) -> None:
        self._faults.step("redis", "check_configuration", lambda: None)

    def epoch(self, partition: PartitionId) -> int:
        return self._faults.step("redis", "epoch", lambda: self.contents.of(partition).epoch)

    def raise_epoch(self, partition: PartitionId, epoch: int, token: str) -> CutHeader | None:
        def action() -> CutHeader | None:
            stored = self.contents.of(partition)
            if stored.epoch >= epoch and (stored.epoch, stored.token) != (epoch, token):
                raise Fenced("redis", epoch, stored.epoch)
            stored.epoch, stored.token = epoch, token
            return _fenced_header(stored)

        return self._faults.step("redis", "raise_epoch", action)

    def write(self, partition: PartitionId, cut: Cut) -> CutOutcome:
        return self._faults.step("redis", "write", lambda: _write(self.contents.of(partition), cut))

    def write_generation(
        self, partition: PartitionId, cut: Cut, users: Iterable[tuple[int, bytes]]
    ) -> CutOutcome:
        def begin() -> bool:
            stored = self.contents.of(partition)
            allowed = _may_write(stored, cut)
            if allowed:
                stored.epoch, stored.token = cut.epoch, cut.token
            return allowed

        def swap() -> CutOutcome:
            stored = self.contents.of(partition)
            if not _may_write(stored, cut):
                return CutOutcome.FENCED
            generation = next_generation(cut.epoch, stored.header.generation if stored.header else "")
            stored.header, stored.users = cut.header(generation), written
            return CutOutcome.WRITTEN

        checked = checked_users(
            users,
            cut.user_count,
            cut.digest,
            lambda what: StoreRefused("redis", f"the new cut: {what}"),
        )
        if not self._faults.step("redis", "begin_generation", begin):
            return CutOutcome.FENCED
        written = self._faults.step("redis", "write_users", lambda: dict(checked))
        return self._faults.step("redis", "swap_generation", swap)

    def header(self, partition: PartitionId) -> CutHeader | None:
        return self._faults.step("redis", "header", lambda: _fenced_header(self.contents.of(partition)))

    def read_users(self, partition: PartitionId, header: CutHeader) -> Iterator[tuple[int, bytes]]:
        stored = self.contents.of(partition)
        same = stored.header is not None and stored.header.generation == header.generation
        users = self._faults.step("redis", "read_users", lambda: dict(stored.users) if same else {})
        return checked_users(
            users.items(), header.user_count, header.digest, lambda what: CutDamaged("redis", what)
        )

    def read_user(self, partition: PartitionId, user_id: int) -> bytes | None:
        return self._faults.step("redis", "read_user", lambda: self.contents.of(partition).users.get(user_id))

    def close(self) -> None:
        return


def _fenced_header(stored: StoredPartition) -> CutHeader | None:
    if stored.header is None:
        return None
    return msgspec.structs.replace(stored.header, epoch=stored.epoch, token=stored.token)


def _may_write(stored: StoredPartition, cut: Cut) -> bool:
    """A foreign token under our own epoch fences us, too: who raised the fence last owns the partition."""
    return stored.epoch < cut.epoch or (stored.epoch, stored.token) == (cut.epoch, cut.token)


def _write(stored: StoredPartition, cut: Cut) -> CutOutcome:
    if not _may_write(stored, cut):
        return CutOutcome.FENCED
    if stored.epoch < cut.epoch or stored.header is None:
        return CutOutcome.DIVERGED
    if stored.header.next_offset != cut.previous_offset:
        ours = stored.header.writer_epoch == cut.epoch and stored.header.next_offset == cut.next_offset
        return CutOutcome.ALREADY_WRITTEN if ours else CutOutcome.DIVERGED
    for user_id, state in cut.changed.items():
        if state is None:
            stored.users.pop(user_id, None)
        else:
            stored.users[user_id] = state
    stored.header = cut.header(stored.header.generation, stored.header.events)
    return CutOutcome.WRITTEN
