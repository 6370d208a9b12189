"""How far each partition was read, as the commits of the table say: all partitions that were ever read.

Application transactions have it too, but delta-rs tells them by name only. A commit of an ingest names the
positions of all partitions (`POSITIONS`). Every other commit of ours carries what it knew when it began
(`CARRIED`, with the version up to which it knew), so that the search ends within a few commits, and what
cleans the log takes old commits without a loss. A carried one may be overtaken by an ingest that committed
meanwhile; so the search goes on down to the version up to which the newest carrier knew.

Never: a search that gives up at some number of commits; positions taken as none where they were forgotten.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
from deltalake import DeltaTable

from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.delta_errors import delta_errors
from ray_fraud.stores.errors import StoreDamaged

POSITIONS, CARRIED = "ray_fraud.positions", "ray_fraud.positions_before"
"""Keys of a commit's metadata; their values are JSON."""
FIRST_LOOK, FARTHER = 10, 10
"""Commits that a first look reads, and how many times as many each further one."""

Positions = list[tuple[str, PartitionId, int]]
"""(topic, partition, next offset)"""


class Carried(msgspec.Struct, frozen=True):
    """What a commit that is no ingest's knew."""

    version: int
    """Of the table when it began; every ingest up to it is in the positions."""
    positions: Positions


class Found(msgspec.Struct, frozen=True):
    positions: Positions
    named_ms: int | None
    """Time of the newest commit that has them, unix milliseconds; None: nothing was ever read."""


_positions = msgspec.json.Decoder(Positions)
_carried = msgspec.json.Decoder(Carried)


def last_positions(table: DeltaTable) -> Found:
    """As of the handle's version.

    Raises:
        StoreDamaged: the table's log was cleaned of the last commit that names them.
        StoreUnavailable: the object store does not answer.
    """
    carrier: Carried | None = None
    named_ms, oldest = None, table.version() + 1
    for commit in commits(table):
        oldest = int(commit["version"])
        if carrier is not None and oldest <= carrier.version:
            return Found(carrier.positions, named_ms)
        if POSITIONS in commit:
            return Found(_positions.decode(commit[POSITIONS]), named_ms or commit["timestamp"])
        if CARRIED in commit:
            named_ms = named_ms or commit["timestamp"]
            told = _carried.decode(commit[CARRIED])
            carrier = told if carrier is None or told.version > carrier.version else carrier
    if carrier is not None:
        return Found(carrier.positions, named_ms)
    if oldest > 0:
        raise StoreDamaged(
            "lake",
            f"transactions: no commit from version {oldest} on names how far the log was read, and earlier "
            "ones were cleaned away by another program: put the files back into its _delta_log",
        )
    return Found([], None)


def named_anew(positions: Positions) -> dict[str, str]:
    """Metadata of a commit that moves them: these are all."""
    return {POSITIONS: msgspec.json.encode(positions).decode()}


def carried_on(table: DeltaTable) -> dict[str, str]:
    """Metadata of a commit on this handle that moves none of them.

    Raises:
        StoreDamaged, StoreUnavailable: as `last_positions`.
    """
    known = Carried(table.version(), last_positions(table).positions)
    return {CARRIED: msgspec.json.encode(known).decode()} if known.positions else {}


def commits(table: DeltaTable) -> Iterator[dict[str, Any]]:
    """All commits that the log still has, newest first. Each is a file to read, and few are mostly enough."""
    told, wanted = 0, FIRST_LOOK
    with delta_errors("read the table's history"):
        while True:
            known = table.history(wanted)
            yield from known[told:]
            if len(known) < wanted:
                return
            told, wanted = len(known), wanted * FARTHER
