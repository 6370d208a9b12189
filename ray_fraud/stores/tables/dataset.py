"""A version of a Delta table as an Arrow dataset, from which engines read what a query needs.

delta-rs makes one too, but of a column that has a count of nulls and no minimum (a writer may leave it out)
it takes that for "nothing matches", and leaves the file out of any query on it; and it takes every bound as
exact, where Delta cuts timestamps to milliseconds, long texts to a prefix, and may have had numbers as
doubles. Here a missing statistic says nothing, and bounds are widened by what may have been cut.

Never: a row left out; a table of a protocol that needs more than its files (deletion vectors, column
mapping).
"""

import sys
from collections.abc import Callable
from datetime import datetime, timedelta
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
        bounds = _within(column, field.type, file.get(f"min.{field.name}"), file.get(f"max.{field.name}"))
        if bounds is not None:
            # Nulls are not between; without this a filter for them would leave the file out.
            known &= bounds if file.get(f"null_count.{field.name}") == 0 else bounds | column.is_null()
    return known


def _within(column: ds.Expression, kind: pa.DataType, low: Any, high: Any) -> ds.Expression | None:
    """The bounds that hold of all values but nulls; None if statistics of such columns say nothing sure."""
    widen = next((widen for is_kind, widen in _WIDENED if is_kind(kind)), None)
    if low is None or high is None or widen is None:
        return None
    least, beyond = widen(low, high)
    bounds = column >= pa.scalar(least, kind)
    return bounds if beyond is None else bounds & (column <= pa.scalar(beyond, kind))


def _moments(low: datetime, high: datetime) -> tuple[datetime, datetime]:
    """Delta cuts both ends to milliseconds, before 1970 in whichever direction."""
    least, beyond = datetime.min.replace(tzinfo=low.tzinfo), datetime.max.replace(tzinfo=low.tzinfo)
    return (
        low - A_MILLISECOND if low - least > A_MILLISECOND else least,
        high + A_MILLISECOND if beyond - high > A_MILLISECOND else beyond,
    )


def _texts(low: str, high: str) -> tuple[str, str | None]:
    """A long text may be a prefix: every text that begins with `high` lies below the one given back."""
    for length in range(len(high), 0, -1):
        code = ord(high[length - 1]) + 1
        if code <= sys.maxunicode:
            return low, high[: length - 1] + chr(AFTER_SURROGATES if code == SURROGATES else code)
    return low, None


def _integers(low: int, high: int) -> tuple[int, int | None]:
    """Beyond 2^53 they may have been doubles on their way."""
    least = low if abs(low) < EXACT_INTEGERS else max(low - COARSE, INTEGERS[0])
    return least, high if abs(high) < EXACT_INTEGERS else min(high + COARSE, INTEGERS[1])


def _as_they_are(low: Any, high: Any) -> tuple[Any, Any]:
    return low, high


A_MILLISECOND = timedelta(milliseconds=1)
SURROGATES, AFTER_SURROGATES = 0xD800, 0xE000
EXACT_INTEGERS = 2**53
INTEGERS = -(2**63), 2**63 - 1
COARSE = 2**11
"""Two steps of a double near 2^63."""
_WIDENED: tuple[tuple[Callable[[pa.DataType], bool], Callable[[Any, Any], tuple[Any, Any]]], ...] = (
    (pa.types.is_timestamp, _moments),
    (pa.types.is_string, _texts),
    (pa.types.is_int64, _integers),
    (pa.types.is_integer, _as_they_are),
    (pa.types.is_date32, _as_they_are),
)
"""Not of floating-point numbers, among which NaN is not between; of decimals, which JSON makes doubles of;
of bytes, for which Delta has no statistics."""
