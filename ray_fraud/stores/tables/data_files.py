"""Writing rows as the Parquet files that a later commit names.

Never: a file that is changed once it is written; a statistic that leaves out a value.
"""

import time
import uuid
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake.transaction import AddAction
from pyarrow import fs

from ray_fraud.stores.tables.columns import PARTITION_COLUMN
from ray_fraud.stores.tables.port import DataFile

EPOCH = date(1970, 1, 1)
US_PER_MS = 1000


def write_data_files(filesystem: fs.FileSystem, folder: str, rows: pa.Table) -> list[DataFile]:
    """One file per event date of `rows`; the table's columns but the date, which is in the path."""
    files = []
    for day, part in _by_date(rows):
        path = f"{PARTITION_COLUMN}={day}/part-{uuid.uuid4()}.parquet"
        filesystem.create_dir(f"{folder}/{PARTITION_COLUMN}={day}", recursive=True)
        with filesystem.open_output_stream(f"{folder}/{path}") as stream:
            pq.write_table(part, stream, compression="zstd")
            size = stream.tell()
        files.append(DataFile(path, size, day, part.num_rows, round(time.time() * 1000), _stats(part)))
    return files


def add_action(file: DataFile) -> AddAction:
    """The file as a commit names it."""
    return AddAction(
        path=file.path,
        size=file.size,
        partition_values={PARTITION_COLUMN: file.event_date},
        modification_time=file.modified_ms,
        data_change=True,
        stats=file.stats,
    )


def _by_date(rows: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """Ascending; rows of one date keep their order."""
    if not rows.num_rows:
        return
    dates = rows[PARTITION_COLUMN].cast(pa.int32()).to_numpy()
    rest = rows.drop_columns([PARTITION_COLUMN])
    if np.any(dates[1:] < dates[:-1]):
        order = np.argsort(dates, kind="stable")
        rest, dates = rest.take(order), dates[order]
    # In one piece each slice costs what its rows cost, however many dates there are.
    rest = rest.combine_chunks()
    days, begins = np.unique(dates, return_index=True)
    ends = [*begins[1:].tolist(), len(dates)]
    for day, begin, end in zip(days.tolist(), begins.tolist(), ends, strict=True):
        yield (EPOCH + timedelta(days=day)).isoformat(), rest.slice(begin, end - begin)


def _stats(rows: pa.Table) -> str:
    """Rows, nulls, minimum and maximum of every column that has an order.

    Of every one: delta-rs takes a count of nulls without a minimum for "nothing matches", and a filter on
    such a column would find no row of the file.
    """
    lows: dict[str, Any] = {}
    highs: dict[str, Any] = {}
    for name in rows.column_names:
        if pa.types.is_binary(rows.schema.field(name).type):
            continue
        ends = pc.min_max(rows[name]).as_py()
        if ends["min"] is not None:
            lows[name], highs[name] = _shown(ends["min"]), _shown(ends["max"], up=True)
    nulls = {name: rows[name].null_count for name in rows.column_names}
    content = {"numRecords": rows.num_rows, "minValues": lows, "maxValues": highs, "nullCount": nulls}
    return msgspec.json.encode(content).decode()


def _shown(value: Any, *, up: bool = False) -> Any:
    """Times in whole milliseconds, as Delta wants them; a maximum is not below what it is of."""
    if isinstance(value, datetime):
        cut = value - timedelta(microseconds=value.microsecond % US_PER_MS)
        if up and cut != value:
            cut += timedelta(microseconds=US_PER_MS)
        return cut.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return value
