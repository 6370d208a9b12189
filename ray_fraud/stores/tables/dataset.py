"""A version of a Delta table as an Arrow dataset, from which engines read what a query needs.

delta-rs makes one too, but of a column that has a count of nulls and no minimum (a writer may leave it out)
it takes that for "nothing matches", and leaves the file out of any query on it. Here a missing statistic says
nothing.

Never: a row left out; a table of a protocol that needs more than its files (deletion vectors, column
mapping).
"""

from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import DeltaTable

from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.lake import lake_filesystem

PLAIN_READER_VERSION = 1


def table_dataset(location: LakeLocation, name: str, table: DeltaTable) -> ds.Dataset:
    """All rows of the version that the handle `table` of the lake's table `name` is at.

    Raises:
        StoreRefused: the table's protocol is not a plain one.
    """
    needed = table.protocol().min_reader_version
    if needed > PLAIN_READER_VERSION:
        raise StoreRefused("lake", f"{name} needs a reader of version {needed}; another program changed it")
    filesystem, root = lake_filesystem(location)
    kind, schema = ds.ParquetFileFormat(), pa.schema(table.schema().to_arrow())
    files = pa.table(table.get_add_actions(flatten=True)).to_pylist()
    fragments = [
        kind.make_fragment(f"{root}/{name}/{unquote(file['path'])}", filesystem, _known_of(file, schema))
        for file in files
    ]
    return ds.FileSystemDataset(fragments, schema, kind, filesystem)


def _known_of(file: dict[str, Any], schema: pa.Schema) -> ds.Expression:
    """What holds for every row of the file; the values of partition columns come from here, too."""
    known = ds.scalar(True)
    for field in schema:
        column = ds.field(field.name)
        if (key := f"partition.{field.name}") in file:
            value = pa.scalar(file[key], field.type)
            known &= column.is_null() if file[key] is None else column == value
            continue
        low, high = file.get(f"min.{field.name}"), file.get(f"max.{field.name}")
        if low is not None and high is not None:
            # Nulls are not between; without this a filter for them would leave the file out.
            bounds = (column >= pa.scalar(low, field.type)) & (column <= pa.scalar(high, field.type))
            known &= bounds if file.get(f"null_count.{field.name}") == 0 else bounds | column.is_null()
    return known
