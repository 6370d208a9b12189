"""Rows of a CSV file as the contract's JSON.

Never: I/O.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from batch.imports.column_map import TEXT_FIELDS, ColumnMap
from batch.imports.masked import masked
from batch.imports.rows import Unreadable, Value
from batch.imports.values import json_rows, number, time

WRONG_COLUMN_COUNT = "wrong_column_count"
NOT_CSV = "not_csv"


@dataclass(frozen=True)
class CsvRows:
    """See `Rows`; cells as text, in the header's order."""

    rows: Sequence[list[str] | Unreadable]
    """An empty list is a blank line."""
    header: Sequence[str]
    columns: ColumnMap

    def values(self) -> list[Value]:
        names = list(self.columns.columns)
        places = [list(self.header).index(column) for column in self.columns.columns.values()]
        forms = [_FORMS.get(name, number) if name not in TEXT_FIELDS else _text for name in names]
        made: list[Value] = []
        for row in self.rows:
            if isinstance(row, Unreadable):
                made.append(row)
            elif not row:
                made.append(None)
            elif len(row) != len(self.header):
                made.append(self._wrong_count(row))
            else:
                cells = [
                    form(row[place]) if row[place] else None
                    for form, place in zip(forms, places, strict=True)
                ]
                made.append(json_rows(names, [cells])[0])
        return made

    def cells(self, column: str) -> list[Any]:
        place = list(self.header).index(column)
        return [
            (row[place] or None) if isinstance(row, list) and len(row) == len(self.header) else None
            for row in self.rows
        ]

    def _wrong_count(self, row: list[str]) -> Unreadable:
        reason = (
            f"row has {len(row)} cells where the header has {len(self.header)}; "
            "put quotes around cells that hold a comma"
        )
        texts = [cell.encode("utf-8", "replace").decode() for cell in row]
        return Unreadable(WRONG_COLUMN_COUNT, reason, msgspec.json.encode(texts))

    def original(self, index: int, value: bytes) -> bytes:  # noqa: ARG002 - the value has all of it
        return masked(value)


def _text(cell: str) -> Any:
    return cell


_FORMS = {"timestamp": time}
