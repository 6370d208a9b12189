"""What `ray-fraud lake import` shows: its JSON, and tables for people.

Never: a text of the file that could steer a terminal, or be taken for markup.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Group
from rich.table import Table
from rich.text import Text

from batch.imports.column_map import ColumnMap, printable
from batch.imports.form import Form

if TYPE_CHECKING:
    from batch.imports.job import ImportReport
    from batch.imports.look import Look


def report_data(
    report: ImportReport, columns: ColumnMap, rejected_file: Path | None, left_out: int, seconds: float
) -> dict[str, Any]:
    """The `data` of the JSON."""
    from batch.imports.part import REFUND

    data: dict[str, Any] = msgspec.to_builtins(report)
    return data | {
        "seconds": round(seconds, 3),
        "refunds": report.rejected.get(REFUND, 0),
        "rejected_file": None if rejected_file is None else str(rejected_file),
        "rejected_not_kept": left_out,
        "ignored_columns": list(columns.ignored),
    }


def report_view(data: dict[str, Any]) -> Table:
    from batch.imports.part import REFUND

    table = _titled("Import")
    table.add_row("rows read", f"{data['rows']:,}")
    table.add_row("rows written", f"{data['accepted']:,}")
    codes = {code: count for code, count in data["rejected"].items() if code != REFUND}
    table.add_row("rows refused", _counts(codes))
    if data["refunds"]:
        table.add_row("refunds", f"{data['refunds']:,}: amounts below 0; only payments are taken")
    table.add_row("rows that were there already", f"{data['already_there']:,}")
    table.add_row("files, commits", f"{data['files']:,}, {data['commits']:,}")
    table.add_row("version of the table", "unchanged" if data["version"] is None else str(data["version"]))
    table.add_row("seconds", f"{data['seconds']:.1f}")
    if data["rejected_file"]:
        table.add_row("refused rows are in", Text(printable(data["rejected_file"])))
    if data["rejected_not_kept"]:
        table.add_row("refused rows without room there", f"{data['rejected_not_kept']:,}")
    if data["ignored_columns"]:
        table.add_row("columns that no field takes", Text(", ".join(map(printable, data["ignored_columns"]))))
    return table


def look_data(look: Look, columns: ColumnMap, form: Form) -> dict[str, Any]:
    """The `data` of the JSON of `--dry-run`."""
    fields: dict[str, str] = {**columns.columns, **columns.made}
    fields |= {field: "+".join(parts) for field, parts in columns.joined.items()}
    data: dict[str, Any] = msgspec.to_builtins(look)
    return data | {
        "columns": {field: fields[field] for field in columns.fields},
        "form": msgspec.to_builtins(form),
        "ignored_columns": list(columns.ignored),
    }


def look_view(data: dict[str, Any]) -> Group:
    table = _titled("Nothing is written; the first rows would be read as")
    for each in data["shown"]:
        if each["refused"]:
            told = f"refused: {each['refused']}"
        else:
            told = ", ".join(f"{name} {value}" for name, value in each["values"].items())
        table.add_row(f"row {each['row']}", Text(told))
    rows = _titled("")
    rows.add_row("rows looked at", f"{data['rows']:,}")
    rows.add_row("accepted", f"{data['accepted']:,}")
    rows.add_row("refused", _counts(data["rejected"]))
    mapped = ", ".join(f"{field} = {printable(column)}" for field, column in data["columns"].items())
    rows.add_row("columns", Text(mapped))
    rows.add_row(
        "written as", Text(", ".join(f"{name} {value!r}" for name, value in data["form"].items()) or "–")
    )
    if data["ignored_columns"]:
        rows.add_row("columns that no field takes", Text(", ".join(map(printable, data["ignored_columns"]))))
    return Group(table, rows)


def _titled(title: str) -> Table:
    return Table(title=title or None, box=None, show_header=False, title_justify="left")


def _counts(codes: dict[str, int]) -> str:
    return ", ".join(f"{code} {count:,}" for code, count in codes.items()) or "none"
