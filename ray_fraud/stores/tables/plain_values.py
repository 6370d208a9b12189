"""Values of an Arrow table as JSON can say them, whatever the table holds.

Never: an exception for a value that Python's own types cannot hold: it is told as text.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

_ENDS = {2**63 - 1: "infinity", -(2**63 - 1): "-infinity", 2**31 - 1: "infinity", -(2**31 - 1): "-infinity"}
"""How DuckDB keeps them in a timestamp (64 bits) and in a date (32 bits)."""


def plain_rows(table: pa.Table) -> list[list[Any]]:
    """Row by row; of timestamps in nanoseconds, infinities and years that no `datetime` has, the text."""
    return [list(row) for row in zip(*(_column(column) for column in table.columns), strict=True)]


def _column(column: pa.ChunkedArray) -> list[Any]:
    if not _may_lose(column.type):
        try:
            return [_plain(value) for value in column.to_pylist()]
        except (ValueError, OverflowError):
            pass  # Some value is beyond Python's types: each on its own.
    return [_scalar(value) for value in column]


def _may_lose(kind: pa.DataType) -> bool:
    """Python's times end at microseconds."""
    if pa.types.is_nested(kind):
        return any(_may_lose(kind.field(number).type) for number in range(kind.num_fields))
    return bool((pa.types.is_timestamp(kind) or pa.types.is_duration(kind)) and kind.unit == "ns")


def _scalar(value: pa.Scalar) -> Any:
    if not value.is_valid:
        return None
    kind = value.type
    if pa.types.is_map(kind):
        return [[_scalar(entry["key"]), _scalar(entry["value"])] for entry in value.values]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return [_scalar(each) for each in value.values]
    if pa.types.is_struct(kind):
        return {name: _scalar(each) for name, each in value.items()}
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _moment(value, kind)
    try:
        return _plain(value.as_py())
    except (ValueError, OverflowError):
        return str(value.cast(pa.string()))


def _moment(value: pa.Scalar, kind: pa.DataType) -> date | str:
    unit = kind.unit if pa.types.is_timestamp(kind) else "D"
    number = value.value
    if number in _ENDS and (unit != "D" or abs(number) < 2**31):
        return _ENDS[number]
    zone = "Z" if pa.types.is_timestamp(kind) and kind.tz else ""
    try:
        told = value.as_py() if unit != "ns" or number % 1_000 == 0 else None
    except (ValueError, OverflowError):
        told = None
    if isinstance(told, datetime):
        # A subclass with nanoseconds among them.
        return told if type(told) is datetime else datetime.fromisoformat(told.isoformat())
    return told if isinstance(told, date) else f"{_iso(number, unit)}{zone}"


def _iso(number: int, unit: str) -> str:
    """ISO 8601, with a sign before years below 0 (the year 0 is 1 BC)."""
    text = str(np.array(number, f"datetime64[{unit}]"))
    if not text.startswith("-"):
        return text
    year, _, rest = text[1:].partition("-")
    return f"-{int(year):04}-{rest}"


def _plain(value: Any) -> Any:
    """What JSON can say of a value: bytes in hex, sums of whole numbers as such."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Decimal) and value == value.to_integral_value() and abs(value) < 2**63:
        return int(value)
    if isinstance(value, pa.MonthDayNano):
        return f"{value.months} months {value.days} days {value.nanoseconds / 1e9:g} s"
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return value
