"""Correcting rows of `transactions` in place, found by their place in the log.

The rows are read and merged on one handle: whoever changed them between loses nothing, because the merge is
refused then and the caller reads anew. A merge inserts nothing and removes nothing, so each accepted offset
stays there once.

Never: a place in the log, an id or a digest changed.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import CommitProperties, WriterProperties

from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.delta_errors import delta_errors
from ray_fraud.stores.tables.columns import PARTITION_COLUMN, SCHEMA, TRANSACTIONS
from ray_fraud.stores.tables.dataset import table_dataset
from ray_fraud.stores.tables.evolution import NO_HOOKS
from ray_fraud.stores.tables.lake_tables import open_table
from ray_fraud.stores.tables.positions import carried_on

KEYS = ("topic_id", "partition", "offset")
CORRECTION_NOTE = "ray_fraud.correction"
"""Key of a correcting commit's metadata: who, why and how many rows, JSON."""


class RecordPlace(NamedTuple):
    """A record's place in the log: what identifies a row."""

    topic_id: str
    partition: int
    offset: int


class CorrectableRows:
    """The table at one version, for one correction."""

    def __init__(self, location: LakeLocation) -> None:
        """Opens the newest version.

        Raises:
            StoreRefused, StoreUnavailable: as `open_table`.
        """
        self._location = location
        self._table = open_table(location, TRANSACTIONS)

    def rows(self, places: Collection[RecordPlace]) -> dict[RecordPlace, dict[str, Any]]:
        """The rows that exist, all columns.

        Raises:
            StoreUnavailable: the lake does not answer.
        """
        offsets: dict[tuple[str, int], list[int]] = defaultdict(list)
        for place in places:
            offsets[place.topic_id, place.partition].append(place.offset)
        found = {}
        with delta_errors("read the rows to correct"):
            dataset = table_dataset(self._location, TRANSACTIONS, self._table)
            for (topic_id, partition), wanted in offsets.items():
                offset = ds.field("offset")
                # The range is what files are skipped by.
                span = (offset >= min(wanted)) & (offset <= max(wanted))
                log = (ds.field("topic_id") == topic_id) & (ds.field("partition") == partition)
                for row in dataset.to_table(filter=log & span & offset.isin(wanted)).to_pylist():
                    found[RecordPlace(row["topic_id"], row["partition"], row["offset"])] = row
        return found

    def merge(self, rows: Sequence[Mapping[str, Any]], dates: Collection[Any], note: str) -> tuple[int, int]:
        """Writes all columns but the keys of these rows; (rows that were changed, new version).

        `dates`: the event dates under which the rows lie now; nothing else is looked at.

        Raises:
            StoreUnavailable: the rows were changed meanwhile, or the lake does not answer; open and read
            anew.
        """
        match = " AND ".join(f't."{key}" = s."{key}"' for key in KEYS)
        days = ", ".join(f"CAST('{date.isoformat()}' AS DATE)" for date in sorted(set(dates)))
        changes = {f'"{name}"': f's."{name}"' for name in rows[0] if name not in KEYS}
        schema = pa.schema([field for field in SCHEMA if field.name in rows[0]])
        carried = carried_on(self._table)
        with delta_errors("merge the corrections"):
            metrics = (
                self._table.merge(
                    pa.Table.from_pylist([dict(row) for row in rows], schema=schema),
                    f"{match} AND t.{PARTITION_COLUMN} IN ({days})",
                    source_alias="s",
                    target_alias="t",
                    writer_properties=WriterProperties(compression="ZSTD"),
                    commit_properties=CommitProperties(custom_metadata={CORRECTION_NOTE: note} | carried),
                    post_commithook_properties=NO_HOOKS,
                )
                .when_matched_update(changes)
                .execute()
            )
        return int(metrics["num_target_rows_updated"]), self._table.version()
