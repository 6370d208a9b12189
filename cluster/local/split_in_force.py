"""From which offset of each partition a split decides, as the control timelines have it.

Never: a change of anything; a connection to Ray, which a look into PostgreSQL does not need.
"""

import time
from pathlib import Path

import msgspec

from cluster.local.health import ray_answers
from cluster.local.paths import StackPaths
from cluster.local.stack_record import read_record
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.timeline import ControlEvent, EventKind
from ray_fraud.stores.ledger.port import Ledger, OwnerRow

POLL_SECONDS = 0.25


class InForce(msgspec.Struct, frozen=True):
    """What one partition decides by."""

    partition: int
    from_offset: int | None
    """The first record that the wanted split decides; None: the partition has another one yet."""

    @property
    def known(self) -> bool:
        return self.from_offset is not None


def ray_runs(data_dir: Path) -> bool:
    """Whether the stack's Ray answers: without it nobody rolls a split out."""
    address = read_record(StackPaths(data_dir)).ray
    return address is not None and ray_answers(address)


def split_in_force(ledger: Ledger, digest: str) -> list[InForce]:
    """Every partition of the present topic, by number; none before the first owner.

    Raises:
        StoreError: the ledger does not answer.
    """
    return [
        InForce(partition.partition, _offset(ledger.events(partition), digest))
        for partition in _present(ledger.owners())
    ]


def wait_in_force(ledger: Ledger, digest: str, timeout_seconds: float) -> list[InForce]:
    """The same, once all partitions have the split or the time is over; never an empty answer by waiting.

    Raises:
        StoreError: the ledger does not answer.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        found = split_in_force(ledger, digest)
        if all(each.known for each in found) or time.monotonic() >= deadline:
            return found
        time.sleep(POLL_SECONDS)


def _present(owners: list[OwnerRow]) -> list[PartitionId]:
    """Of each number the partition that was taken last: a topic that is made again has new ones."""
    newest: dict[int, OwnerRow] = {}
    for row in owners:
        number = row.partition.partition
        if number not in newest or row.taken_at_ms >= newest[number].taken_at_ms:
            newest[number] = row
    return [newest[number].partition for number in sorted(newest)]


def _offset(events: list[ControlEvent], digest: str) -> int | None:
    splits = [event for event in events if event.kind is EventKind.SPLIT]
    return splits[-1].from_offset if splits and splits[-1].digest == digest else None
