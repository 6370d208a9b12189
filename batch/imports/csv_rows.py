"""Rows of a CSV file as the contract's JSON.

Never: I/O.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from batch.imports.column_map import ColumnMap
from batch.imports.form import PLAIN, Form
from batch.imports.masked import masked
from batch.imports.rows import Unreadable, Value
from batch.imports.user_ids import PLAIN_IDS, UserIds
from batch.imports.values import CellForms, fields_of, json_rows

WRONG_COLUMN_COUNT = "wrong_column_count"
NOT_CSV = "not_csv"


@dataclass(frozen=True)
class CsvRows:
    """See `Rows`; cells as text, in the header's order."""

    rows: Sequence[list[str] | Unreadable]
    """An empty list is a blank line."""
    header: Sequence[str]
    columns: ColumnMap
    form: Form = PLAIN
    first_row: int = 0

    def values(self, user_ids: UserIds = PLAIN_IDS) -> list[Value]:
        places = {column: list(self.header).index(column) for column in self.columns.used}
        width = len(self.header)
        # Blank and broken rows count as rows without a cell here: so numbers of rows stay what they are.
        good = [row if isinstance(row, list) and len(row) == width else None for row in self.rows]

        def take(_field: str, column: str) -> list[Any]:
            place = places[column]
            return [None if row is None else row[place] or None for row in good]

        forms = CellForms(self.form, user_ids)
        names, cells = fields_of(self.columns, forms, take, self.first_row, len(good))
        made: list[Value] = []
        for row, value in zip(self.rows, json_rows(names, zip(*cells, strict=True)), strict=True):
            if isinstance(row, Unreadable):
                made.append(row)
            elif not row:
                made.append(None)
            else:
                made.append(value if len(row) == width else self._wrong_count(row))
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
            "put quotes around cells that hold the delimiter, or say which one it is by --delimiter"
        )
        texts = [cell.encode("utf-8", "replace").decode() for cell in row]
        return Unreadable(WRONG_COLUMN_COUNT, reason, msgspec.json.encode(texts))

    def original(self, index: int, value: bytes) -> bytes:  # noqa: ARG002 - the value has all of it
        return masked(value)
