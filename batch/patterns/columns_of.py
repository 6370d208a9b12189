"""From rows of the table `transactions` to the columns that pattern rules look at.

Never: a rule; a column that no rule reads.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from h3.api import basic_int as h3

from ray_fraud.domain.patterns.columns import NONE, Codes, PatternColumns
from ray_fraud.domain.patterns.finding import Floats, Ints

COLUMNS = ("user_id", "event_time", "amount", "lat", "lon", "merchant_id", "device_id")
"""What has to be read of the table."""
CELL = "cell"
"""The column that `with_cells` adds: an H3 index, 64 bits, null without a place."""
CELL_RESOLUTION = 8
"""Of H3: cells of 0.7 km², about a shopping street (https://h3geo.org/docs/core-library/restable)."""


def with_cells(rows: pa.Table) -> pa.Table:
    """The rows with a column more, their cells."""
    return rows.append_column(CELL, _cells(rows["lat"], rows["lon"]))


def pattern_columns(rows: pa.Table) -> PatternColumns:
    """The columns of accepted rows with cells, in the order of the rows."""
    event_us = rows["event_time"].cast(pa.int64())
    cells = codes_of(rows[CELL])
    return PatternColumns(
        user_id=_ints(rows["user_id"]),
        event_ms=_ints(pc.divide(event_us, 1_000)),
        amount=rows["amount"].to_numpy(),
        merchant=codes_of(rows["merchant_id"]),
        device=codes_of(rows["device_id"]),
        cell=Codes(cells.codes, [f"{cell:x}" for cell in cells.names]),
    )


def _ints(column: pa.ChunkedArray) -> Ints:
    values: Ints = column.to_numpy()
    return values


def codes_of(column: pa.ChunkedArray) -> Codes:
    """The column, of any type, as codes and the value of each."""
    encoded = column.combine_chunks().dictionary_encode()
    codes: Ints = pc.fill_null(encoded.indices, NONE).to_numpy(zero_copy_only=False).astype(np.int64)
    return Codes(codes, encoded.dictionary.to_pylist())


def _cells(lat: pa.ChunkedArray, lon: pa.ChunkedArray) -> pa.Array:
    """The cell of each place; each different place is looked up once, since addresses come again."""
    found = np.zeros(len(lat), np.uint64)
    lats, lons = _floats(lat), _floats(lon)
    # lat = lon = 0 means "unknown": it would be the most crowded cell of all.
    placed = np.flatnonzero(~np.isnan(lats) & ~np.isnan(lons) & ((lats != 0) | (lons != 0)))
    places = np.ascontiguousarray(np.column_stack((lats[placed], lons[placed])))
    # One 128-bit key per place, and Arrow's hashing: with sorting all of this took four times as long.
    keys = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(places), [None, pa.py_buffer(places)])
    encoded = keys.dictionary_encode()
    first = np.zeros(len(encoded.dictionary), np.int64)
    number = encoded.indices.to_numpy()
    first[number] = np.arange(len(places))
    cells = [h3.latlng_to_cell(lat_, lon_, CELL_RESOLUTION) for lat_, lon_ in places[first].tolist()]
    found[placed] = np.array(cells, np.uint64)[number]
    # No cell has the index 0.
    return pa.array(found, mask=found == 0)


def _floats(column: pa.ChunkedArray) -> Floats:
    values: Floats = pc.fill_null(column, float("nan")).to_numpy()
    return values
