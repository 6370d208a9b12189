"""Removing the rows of offsets that a log has lost, in one commit with the position that comes down.

Never: rows removed without their position, or the other way round.
"""

from collections.abc import Mapping

import msgspec
import pyarrow.dataset as ds
from deltalake import CommitProperties, DeltaTable, Transaction, WriterProperties

from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.tables.columns import PARTITION_COLUMN
from ray_fraud.stores.tables.evolution import NO_HOOKS

CUT_OFF_NOTE = "ray_fraud.cut_off"
"""Key of such a commit's metadata: `TakenBack`, JSON."""


class TakenBack(msgspec.Struct, frozen=True):
    """Offsets of a partition that a table had read, and that are other records' now."""

    partition: PartitionId
    from_offset: int
    """Where the log was cut off."""
    to_offset: int
    """The table's position before."""
    rows: int
    """That were removed."""
    version: int
    """Of the table that has them still, until care removes its files."""


def remove_from(
    table: DeltaTable,
    partition: PartitionId,
    from_offset: int,
    to_offset: int,
    positions: Mapping[str, int],
    note: Mapping[str, str],
) -> TakenBack:
    """Removes the partition's rows at and above an offset, and sets application transactions by name.

    Args:
        table: the handle on which the positions were read.
        to_offset: the table's position now.
        note: more of the commit's metadata.

    Raises:
        DeltaError, OSError: it lost against another commit, or the result is unknown; look again.
    """
    number, topic_id = partition.partition, partition.topic_id
    within = (
        (ds.field("topic_id") == topic_id)
        & (ds.field("partition") == number)
        & (ds.field("offset") >= from_offset)
    )
    rows = table.to_pyarrow_dataset().count_rows(filter=within)
    found = TakenBack(partition, from_offset, to_offset, rows, table.version())
    properties = CommitProperties(
        custom_metadata={CUT_OFF_NOTE: msgspec.json.encode(found).decode(), **note},
        app_transactions=[Transaction(name, position) for name, position in positions.items()],
    )
    if rows:
        quoted = topic_id.replace("'", "''")
        table.delete(
            f'"topic_id" = \'{quoted}\' AND "partition" = {number} AND "offset" >= {from_offset}',
            writer_properties=WriterProperties(compression="ZSTD"),
            commit_properties=properties,
            post_commithook_properties=NO_HOOKS,
        )
    else:
        # A deletion of nothing makes no commit.
        table.create_write_transaction(
            [], "append", table.schema(), [PARTITION_COLUMN], commit_properties=properties
        )
    return found
