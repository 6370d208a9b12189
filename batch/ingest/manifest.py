"""What a task tells of the rows it wrote, as a row itself: only this travels to the one that commits.

Never: transactions.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batch.ingest.columns import HOLE, NOTE, OUTCOME
from batch.ingest.plan import Slice
from batch.ingest.shared_places import SharedPlace, placeholder_rows, shared_places
from ray_fraud.domain.placement import partition_of_key, partitions_of_users
from ray_fraud.stores.errors import StoreDamaged
from ray_fraud.stores.tables.port import DataFile, Quarantined, ReadRange, TransactionTable

MOST_QUARANTINED = 1_000
"""Of one block with their originals, so that what travels is bounded."""


class Written(msgspec.Struct, frozen=True):
    """One block of rows that was written."""

    partition: int
    first_offset: int
    last_offset: int
    offsets: int
    accepted: int
    outcomes: dict[str, int]
    """Offsets that became no row of the table, by rejection code or `hole`."""
    files: list[DataFile]
    misrouted: int = 0
    """Accepted records of users that belong to another partition."""
    placeholders: int = 0
    """Accepted rows whose location is lat = lon = 0."""
    shared: list[SharedPlace] = []
    quarantined: list[Quarantined] = []
    """The first of its unwritable records; of more only the number is known, in `outcomes`."""
    leader_epoch: int = -1
    """Of the last record, or a later one; -1: not known."""


def write_rows(
    table: TransactionTable, rows: pa.Table, partitions: int = 1, leader_epoch: int = -1
) -> list[Written]:
    """Writes the accepted ones of the rows; one entry per partition of the log among them.

    Args:
        partitions: of the topic, by which users are placed; 1 if users of all kinds may be in one place.
        leader_epoch: of the last record read, -1: not known.
    """
    written = [
        _write(table, rows.filter(pc.equal(rows["partition"], number)), number, partitions)
        for number in _numbers(rows)
    ]
    return [msgspec.structs.replace(block, leader_epoch=leader_epoch) for block in written]


def _numbers(rows: pa.Table) -> list[int]:
    numbers: list[int] = pc.unique(rows["partition"]).to_pylist()
    return numbers


def _write(table: TransactionTable, rows: pa.Table, partition: int, partitions: int) -> Written:
    outcomes = rows[OUTCOME]
    accepted = rows if outcomes.null_count == rows.num_rows else rows.filter(pc.is_null(outcomes))
    files = table.write_files(accepted.drop_columns([OUTCOME, NOTE])) if accepted.num_rows else []
    others = Counter(outcomes.drop_null().to_pylist())
    ends: dict[str, Any] = pc.min_max(rows["offset"]).as_py()
    return Written(
        partition=partition,
        first_offset=ends["min"],
        last_offset=ends["max"],
        offsets=pc.count_distinct(rows["offset"]).as_py(),
        accepted=accepted.num_rows,
        outcomes=dict(others),
        files=files,
        misrouted=_misrouted(accepted, partition, partitions),
        placeholders=placeholder_rows(accepted),
        shared=shared_places(accepted),
        quarantined=quarantined_of(rows),
    )


def quarantined_of(rows: pa.Table, most: int = MOST_QUARANTINED) -> list[Quarantined]:
    """The first `most` unwritable ones of `columns.ROWS`."""
    notes = rows[NOTE].drop_null()[:most].to_pylist()
    return [msgspec.json.decode(note, type=Quarantined) for note in notes]


def _misrouted(accepted: pa.Table, partition: int, partitions: int) -> int:
    if partitions == 1:
        return 0
    texts = accepted["user_text"].drop_null().value_counts()
    numbers = accepted.filter(pc.is_null(accepted["user_text"]))["user_id"].to_numpy()
    placed = partitions_of_users(numbers, partitions)
    away = [
        int(each["counts"].as_py())
        for each in texts
        if partition_of_key(each["values"].as_py().encode(), partitions) != partition
    ]
    return int(np.count_nonzero(placed != partition)) + sum(away)


def joined(
    topic: str, ranges: Sequence[Slice], blocks: Iterable[Written]
) -> tuple[list[ReadRange], list[DataFile]]:
    """The commit's content, once it is shown that each offset of each range was seen exactly once.

    Raises:
        StoreDamaged: offsets are missing or were read twice; nothing may be committed.
    """
    by_partition: dict[int, list[Written]] = {whole.partition.partition: [] for whole in ranges}
    for block in blocks:
        by_partition[block.partition].append(block)
    reads = [_read_range(topic, whole, by_partition[whole.partition.partition]) for whole in ranges]
    files = [file for parts in by_partition.values() for block in parts for file in block.files]
    return reads, files


def _read_range(topic: str, whole: Slice, blocks: Sequence[Written]) -> ReadRange:
    expected = whole.from_offset
    outcomes: Counter[str] = Counter()
    for block in sorted(blocks, key=lambda block: block.first_offset):
        span = block.last_offset + 1 - block.first_offset
        counted = block.accepted + sum(block.outcomes.values())
        if block.first_offset != expected or block.offsets != span or counted != span:
            raise StoreDamaged(
                "lake",
                f"{whole.partition}: {counted} rows of {block.offsets} offsets from {block.first_offset} to "
                f"{block.last_offset} where offset {expected} is next; nothing was committed",
            )
        expected = block.last_offset + 1
        outcomes.update(block.outcomes)
    if expected != whole.to_offset:
        raise StoreDamaged(
            "lake", f"{whole.partition}: read up to {expected} of {whole.to_offset}; nothing was committed"
        )
    return ReadRange(
        partition=whole.partition,
        topic=topic,
        from_offset=whole.from_offset,
        to_offset=whole.to_offset,
        accepted=sum(block.accepted for block in blocks),
        rejected={code: number for code, number in sorted(outcomes.items()) if code != HOLE},
        holes=outcomes[HOLE],
        leader_epoch=max((block.leader_epoch for block in blocks), default=-1),
    )
