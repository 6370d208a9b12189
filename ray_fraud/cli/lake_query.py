"""`ray-fraud lake query SQL`: a look into the lake's tables, as they are or as they were.

Never: a change.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Group
from rich.table import Table
from rich.text import Text

from ray_fraud.cli.lake_place import lake_options
from ray_fraud.cli.output import Output, show, table_output_option
from ray_fraud.cli.ranges import WholeRange
from ray_fraud.stores.connections import LakeLocation

if TYPE_CHECKING:
    from ray_fraud.stores.tables.lake_tables import AsOf
    from ray_fraud.stores.tables.query import QueryResult


class AsOfType(click.ParamType["AsOf"]):
    """A version number, or a time in ISO 8601; without a zone it is UTC."""

    name = "version|time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> AsOf:
        if isinstance(value, int | datetime):
            return value
        if value.isdecimal():
            return int(WholeRange(0).convert(value, param, ctx))
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is neither a version nor a time such as 2026-11-25T12:00:00Z", param, ctx)
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


@click.command()
@click.argument("sql", metavar="SQL")
@click.option(
    "--as-of",
    type=AsOfType(),
    metavar="VERSION|TIME",
    help="As the tables were: a version (of the one table named), or a time for all of them.",
)
@click.option("--limit", type=WholeRange(1, 1_000_000), default=1_000, show_default=True, help="Rows.")
@table_output_option
@lake_options
def query(sql: str, as_of: AsOf | None, limit: int, location: LakeLocation, output: Output) -> None:
    """Ask the lake's tables in SQL (DuckDB's); each table has its name, such as `transactions`."""
    from ray_fraud.stores.tables.query import query as ask

    found = ask(location, sql, as_of, limit)
    show(
        "lake query",
        msgspec.to_builtins(found),
        output,
        lambda: _table(found, limit),
        rows=[dict(zip(found.columns, row, strict=True)) for row in found.rows],
    )


def _table(found: QueryResult, limit: int) -> Group:
    table = Table(*found.columns, box=None, header_style="bold")
    for row in found.rows:
        table.add_row(*(Text(_shown(value)) for value in row))
    more = [Text(f"… there is more; --limit is {limit:,}")] if found.more else []
    return Group(table, *more)


def _shown(value: Any) -> str:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S.%f").removesuffix("000").removesuffix(".000")
    return "–" if value is None else str(value)
