"""Small Delta tables in which the lake says what was done to it: runs of care, deletions.

Each record has an id and is written once, whoever repeats it.

Never: a record changed or removed.
"""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.delta_errors import delta_errors
from ray_fraud.stores.delta_location import delta_location
from ray_fraud.stores.tables.evolution import add_missing_columns
from ray_fraud.stores.tables.lake_tables import CARE, DELETIONS, open_table, present_tables

_TIME = pa.timestamp("us", "UTC")

CARE_SCHEMA: pa.Schema = pa.schema(
    [
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("started", _TIME, nullable=False),
        pa.field("ended", _TIME, nullable=False),
        pa.field("who", pa.string(), nullable=False),
        pa.field("complete", pa.bool_(), nullable=False),
        pa.field("report", pa.string(), nullable=False),
    ]
)
DELETIONS_SCHEMA: pa.Schema = pa.schema(
    [
        pa.field("deletion_id", pa.string(), nullable=False),
        pa.field("event", pa.string(), nullable=False),
        pa.field("at", _TIME, nullable=False),
        pa.field("user_id", pa.int64(), nullable=False),
        pa.field("who", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("table_name", pa.string()),
        pa.field("rows", pa.int64()),
    ]
)
SCHEMAS: Mapping[str, pa.Schema] = {CARE: CARE_SCHEMA, DELETIONS: DELETIONS_SCHEMA}


class RecordTable:
    """`lake_care` or `lake_deletions`; made when the first record is written."""

    def __init__(self, location: LakeLocation, name: str) -> None:
        """Nothing is read yet."""
        self._location = location
        self._name = name
        self._schema = SCHEMAS[name]

    def rows(self) -> list[dict[str, Any]]:
        """All records; none if there is no table yet.

        Raises:
            StoreUnavailable: the lake does not answer.
        """
        if self._name not in present_tables(self._location):
            return []
        table = open_table(self._location, self._name)
        with delta_errors(f"read {self._name}"):
            return list(table.to_pyarrow_table().to_pylist())

    def add(self, record_id: str, row: Mapping[str, Any]) -> bool:
        """Writes the record unless it is there; whether it was written now.

        Raises:
            StoreUnavailable: lost against another commit, or the result is unknown; repeat it.
        """
        address, options = delta_location(self._location, self._name)
        with delta_errors(f"write {self._name}"):
            DeltaTable.create(address, self._schema, mode="ignore", storage_options=options)
            add_missing_columns(address, self._schema, options)
            table = DeltaTable(address, storage_options=options)
            app_id = f"record:{record_id}"
            if table.transaction_version(app_id) is not None:
                return False
            write_deltalake(
                table,
                pa.Table.from_pylist([dict(row)], schema=self._schema),
                mode="append",
                commit_properties=CommitProperties(app_transactions=[Transaction(app_id, 1)]),
            )
        return True
