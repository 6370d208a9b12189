"""From the cells of a row to the contract's JSON, which the decoder then judges.

Cells change their form only: whole numbers become text where the contract has text, dates and times become
unix seconds, an empty cell is an absent field. What has no such form stays as it is, and is refused.

Never: I/O; a verdict; a cell that is mended.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import compress
from typing import Any

import msgspec

from batch.imports.column_map import PLACE_FIELDS, ROW, TEXT_FIELDS, ColumnMap
from batch.imports.form import PLAIN, Form
from batch.imports.numbers import amount, exact_whole, number
from batch.imports.times import Times, joined_time
from batch.imports.user_ids import UserIds

_encode = msgspec.json.Encoder(enc_hook=str).encode


def json_rows(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[bytes]:
    """One JSON object per row.

    Args:
        names: the field of each cell; members of the location last.
        rows: cells; None is an absent field.
    """
    top = sum(name not in PLACE_FIELDS for name in names)
    return [_object(names, row, top) for row in rows]


def _object(names: Sequence[str], row: Sequence[Any], top: int) -> bytes:
    if None in row:
        there = [cell is not None for cell in row]
        members = dict(zip(compress(names[:top], there), compress(row[:top], there), strict=True))
        place = dict(zip(compress(names[top:], there[top:]), compress(row[top:], there[top:]), strict=True))
    else:
        members, place = (
            dict(zip(names[:top], row, strict=False)),
            dict(zip(names[top:], row[top:], strict=True)),
        )
    if place:
        members["location"] = place
    try:
        return _encode(members)
    except UnicodeEncodeError:
        return _encode(_as_it_was_read(members))


def _as_it_was_read(members: dict[str, Any]) -> dict[str, Any]:
    """Texts that are no UTF-8 with the very bytes that were read, for the decoder to find."""
    return {
        name: _as_it_was_read(value) if isinstance(value, dict) else _raw_text(value)
        for name, value in members.items()
    }


def _raw_text(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return msgspec.Raw(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogateescape"))


def not_finite(value: float) -> msgspec.Raw:
    """NaN and the infinities as Python writes them into JSON; the decoder knows these names."""
    return msgspec.Raw(json.dumps(value).encode())


def fields_of(
    columns: ColumnMap, forms: "CellForms", take: Callable[[str, str], list[Any]], first_row: int, count: int
) -> tuple[list[str], list[list[Any]]]:
    """The fields of a chunk's rows and their cells, each list of `count`.

    Args:
        columns: what makes each field.
        forms: of the cells.
        take: (field, column) gives the column's cells, None where there is none.
        first_row: number of the first row.
        count: rows.
    """
    names, cells = list(columns.fields), []
    for field in names:
        if field in columns.columns:
            form = forms.of(field)
            cells.append(
                [None if cell is None else form(cell) for cell in take(field, columns.columns[field])]
            )
        elif field in columns.joined:
            parts = [take("", column) for column in columns.joined[field]]
            cells.append([forms.joined(field, row) for row in zip(*parts, strict=True)])
        else:
            text = columns.made[field]
            if not text:
                cells.append([None] * count)
                continue
            made = (text.replace(ROW, str(row)) for row in range(first_row, first_row + count))
            form = forms.of(field)
            cells.append([form(cell) for cell in made])
    return names, cells


class CellForms:
    """What a cell of each field says: functions of one cell that is there."""

    def __init__(self, form: Form = PLAIN, user_ids: UserIds | None = None) -> None:
        """Raises ImportRefused if the form's origin is no time."""
        self._form = form
        self._times = Times(form)
        self._user_ids = user_ids or UserIds()

    def of(self, field: str) -> Callable[[Any], Any]:
        if field == "user_id":
            return self._user_ids.of
        if field == "timestamp":
            return self._times.of
        if field in TEXT_FIELDS:
            return text
        return self._amount if field == "amount" or self._form.decimal is not None else _number

    def _amount(self, cell: Any) -> Any:
        return amount(cell, self._form.decimal) if isinstance(cell, str) else cell

    def joined(self, field: str, cells: Sequence[Any]) -> Any:
        """The field that several cells make; None if one that is needed is empty."""
        if field == "timestamp":
            made = joined_time(cells)
        else:
            there = [str(text(cell)) for cell in cells if cell is not None]
            made = "-".join(there) if len(there) == len(cells) else None
        return None if made is None else self.of(field)(made)


def text(cell: Any) -> Any:
    """A cell of a field that the contract has as text: whole numbers become their digits."""
    if isinstance(cell, str):
        return cell
    whole = exact_whole(cell)
    return str(whole) if type(whole) is int else cell


def _number(cell: Any) -> Any:
    return number(cell) if isinstance(cell, str) else cell
