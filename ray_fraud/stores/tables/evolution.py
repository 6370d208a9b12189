"""Columns that a newer release knows and an existing table does not.

They are added when the table is opened for writing, as null in all older rows. A table of a newer release has
columns more than this one knows; they are left alone, and rows written without them have nulls there.

Never: a column dropped, renamed or given another type.
"""

from collections.abc import Callable

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Schema
from deltalake.exceptions import DeltaError

from ray_fraud.stores.errors import StoreRefused

ATTEMPTS = 3
NO_HOOKS = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)
"""Of commits beside the ingest's. Cleaning the log behind one could take the newest commit that names the
positions; care cleans it when that is safe."""


def create_table(address: str, schema: pa.Schema, partition_by: list[str], options: dict[str, str]) -> None:
    """Makes a table if there is none; several at once may do it."""
    try:
        DeltaTable.create(address, schema, mode="ignore", partition_by=partition_by, storage_options=options)
    except (DeltaError, OSError):
        # Another one that made it at the same moment makes ours fail.
        if not DeltaTable.is_deltatable(address, storage_options=options):
            raise


def add_missing_columns(
    address: str,
    wanted: pa.Schema,
    options: dict[str, str],
    note: Callable[[DeltaTable], dict[str, str]] = lambda _: {},
) -> list[str]:
    """Names of the columns that were added; two at once may do it. `note`: the commit's metadata.

    Raises:
        StoreRefused: a column that must not be null is missing, so this is another table.
        DeltaError: the table cannot be opened or changed.
    """
    for attempt in range(ATTEMPTS):
        table = DeltaTable(address, storage_options=options)
        known = {field.name for field in table.schema().fields}
        missing = [field for field in wanted if field.name not in known]
        required = [field.name for field in missing if not field.nullable]
        if required:
            raise StoreRefused("lake", f"{address}: columns {required} are missing; this is another table")
        if not missing:
            return []
        try:
            table.alter.add_columns(
                Schema.from_arrow(pa.schema(missing)).fields,
                commit_properties=CommitProperties(custom_metadata=note(table)),
                post_commithook_properties=NO_HOOKS,
            )
        except DeltaError:
            # Another process added them, or committed rows meanwhile: look again.
            if attempt == ATTEMPTS - 1:
                raise
            continue
        return [field.name for field in missing]
    raise AssertionError("unreachable: the last attempt returns or raises")
