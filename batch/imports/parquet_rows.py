"""Rows of a Parquet file as the contract's JSON.

Never: I/O.
"""

from dataclasses import dataclass
from itertools import repeat
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from batch.imports.column_map import LOCATION, PLACE_FIELDS, TEXT_FIELDS, ColumnMap
from batch.imports.form import PLAIN, Form
from batch.imports.masked import masked
from batch.imports.rows import Value
from batch.imports.user_ids import PLAIN_IDS, UserIds
from batch.imports.values import CellForms, fields_of, json_rows, not_finite

_US_PER_SECOND = 1e6
_NUMBERS = ("amount", "lat", "lon", "timestamp")


@dataclass(frozen=True)
class ParquetRows:
    """See `Rows`; a batch with the columns that are used."""

    batch: pa.RecordBatch
    columns: ColumnMap
    form: Form = PLAIN
    first_row: int = 0

    def values(self, user_ids: UserIds = PLAIN_IDS) -> list[Value]:
        nested = self.columns.columns.get(LOCATION)
        flat = msgspec.structs.replace(
            self.columns,
            columns={field: name for field, name in self.columns.columns.items() if field != LOCATION},
        )

        def take(field: str, column: str) -> list[Any]:
            return _cells(field, self.batch.column(column))

        forms = CellForms(self.form, user_ids)
        names, cells = fields_of(flat, forms, take, self.first_row, self.batch.num_rows)
        if nested is not None:
            for field, members in _members(self.batch.column(nested)).items():
                names.append(field)
                cells.append(members)
        return list(json_rows(names, zip(*cells, strict=True)))

    def cells(self, column: str) -> list[Any]:
        cells: list[Any] = self.batch.column(column).to_pylist()
        return cells

    def original(self, index: int, value: bytes) -> bytes:  # noqa: ARG002 - the value has all of it
        return masked(value)


def _members(location: pa.StructArray) -> dict[str, list[Any]]:
    """lat, lon, city and country of a struct column; what it does not have is absent in every row."""
    # `flatten` makes a member null where the whole struct is.
    parts = dict(zip((field.name for field in location.type), location.flatten(), strict=True))
    return {
        field: _cells(field, parts[field]) if field in parts else list(repeat(None, len(location)))
        for field in PLACE_FIELDS
    }


def _cells(field: str, column: pa.Array) -> list[Any]:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _cells(field, column.dictionary_decode())
    if pa.types.is_integer(kind) and field in TEXT_FIELDS:
        column = column.cast(pa.string())
    elif pa.types.is_floating(kind) or (pa.types.is_decimal(kind) and field in _NUMBERS):
        return _floats(column)
    elif pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        if field == "timestamp":
            return _seconds(column)
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        # Writers that know no text write it as bytes.
        return [
            None if cell is None else cell.decode("utf-8", "surrogateescape") for cell in column.to_pylist()
        ]
    cells: list[Any] = column.to_pylist()
    return [cell or None for cell in cells] if pa.types.is_string(kind) else cells


def _floats(column: pa.Array) -> list[Any]:
    column = column.cast(pa.float64())
    cells: list[Any] = column.to_pylist()
    finite = pc.is_finite(column)
    if pc.all(finite).as_py() is False:
        return [
            not_finite(cell) if fine is False else cell
            for cell, fine in zip(cells, finite.to_pylist(), strict=True)
        ]
    return cells


def _seconds(column: pa.Array) -> list[Any]:
    """Unix seconds to the microsecond; a time without a zone is UTC."""
    zone = column.type.tz if pa.types.is_timestamp(column.type) else None
    whole = column.cast(pa.timestamp("us", zone), safe=False).cast(pa.int64())
    cells: list[Any] = pc.divide(whole.cast(pa.float64(), safe=False), _US_PER_SECOND).to_pylist()
    return cells
