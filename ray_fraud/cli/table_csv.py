"""Rows of an answer as CSV: a header line, then one line per row (RFC 4180, but `\\n` ends a line).

Never: a figure in the form that people read: values are those of `--output json`.
"""

import csv
import io
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import msgspec


def as_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """The columns of all rows in the order in which they first come; what a row lacks is empty.

    None is empty, too; objects and lists are JSON.
    """
    kept = list(rows)
    columns = list(dict.fromkeys(column for row in kept for column in row))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(column)) for column in columns] for row in kept)
    return text.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str | float | Decimal):
        return str(value)
    # Times and ids as JSON has them, without its quotes.
    told = msgspec.to_builtins(value)
    return told if isinstance(told, str) else msgspec.json.encode(told).decode()
