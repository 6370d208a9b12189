"""`ray-fraud alerts list | show | tail`: looking at alerts.

Never: changing one.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import click
import msgspec
from rich.console import Group
from rich.json import JSON
from rich.table import Table
from rich.text import Text

from cluster.local.failures import LocalStackError
from cluster.local.stack import load_connections
from ray_fraud.cli.output import Output, data_dir_option, expects, fail, output_option, show
from ray_fraud.domain.alert import RuleName, Source
from ray_fraud.stores.errors import StoreError
from ray_fraud.stores.ledger.postgres_queries import PostgresAlertQueries
from ray_fraud.stores.ledger.queries import AlertFilter, AlertQueries, StoredAlert

ERRORS = (LocalStackError, StoreError, PermissionError)
MAX_ALERT_ID = 2**63 - 1
COLUMNS = ("id", "event time", "rule", "severity", "user", "amount", "model", "reason")


@click.group()
def alerts() -> None:
    """Look at alerts: list, show, tail."""


@contextmanager
def _queries(data_dir: Path) -> Iterator[AlertQueries]:
    queries = PostgresAlertQueries(load_connections(data_dir).postgres)
    try:
        yield queries
    finally:
        queries.close()


def _plain(stored: StoredAlert) -> dict[str, Any]:
    """An alert as JSON shows it: the alert's own fields and what the database knows of it."""
    row: dict[str, Any] = msgspec.to_builtins(stored)
    alert: dict[str, Any] = row.pop("alert")
    return alert | row


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _cells(stored: StoredAlert) -> tuple[str, ...]:
    alert = stored.alert
    amount = alert.details.get("transaction", {}).get("amount")
    return (
        str(stored.alert_id),
        _time(alert.event_time),
        alert.rule_name,
        alert.severity,
        str(alert.user_id),
        "" if amount is None else f"{amount:,.2f}",
        alert.model_version or "",
        alert.reason,
    )


def _table(rows: Sequence[StoredAlert]) -> Table:
    table = Table(*COLUMNS, box=None, header_style="bold")
    for stored in rows:
        # Ids and reasons hold what others wrote: never markup.
        table.add_row(*(Text(cell) for cell in _cells(stored)))
    return table


@alerts.command("list")
@click.option("--rule", type=click.Choice(RuleName, case_sensitive=False), help="Only this rule.")
@click.option("--user", "user_id", type=click.IntRange(0, 2**63 - 1), help="Only this user.")
@click.option(
    "--source", type=click.Choice(Source, case_sensitive=False), help="Only of the hot or the cold path."
)
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
@click.option(
    "--before", "before_id", type=click.IntRange(1), metavar="ID", help="Older than this: next page."
)
@data_dir_option
@output_option
@expects(*ERRORS)
def list_alerts(
    rule: RuleName | None,
    user_id: int | None,
    source: Source | None,
    limit: int,
    before_id: int | None,
    data_dir: Path,
    output: Output,
) -> None:
    """The newest alerts, newest first; `--before` continues with older ones."""
    where = AlertFilter(rule_name=rule, user_id=user_id, source=source)
    with _queries(data_dir) as queries:
        rows = queries.list(where, limit=limit + 1, before_id=before_id)
        total = queries.count(where)
    rows, older = rows[:limit], len(rows) > limit
    next_before = rows[-1].alert_id if older else None
    data = {"alerts": [_plain(row) for row in rows], "total": total, "next_before": next_before}
    more = f", older ones: --before {next_before}" if older else ""
    show("alerts list", data, output, lambda: Group(_table(rows), Text(f"{len(rows)} of {total:,}{more}")))


@alerts.command("show")
@click.argument("key", metavar="ID")
@data_dir_option
@output_option
@expects(*ERRORS)
def show_alert(key: str, data_dir: Path, output: Output) -> None:
    """One alert with all its details; ID is its number or its uid."""
    wanted = _key(key)
    with _queries(data_dir) as queries:
        stored = queries.get(wanted)
    if stored is None:
        fail(f"there is no alert {key}; see `ray-fraud alerts list`")
    show("alerts show", _plain(stored), output, lambda: JSON.from_data(_plain(stored)))


@alerts.command("tail")
@click.option("--count", type=click.IntRange(1), help="Stop after this many alerts.")
@data_dir_option
@output_option
@expects(*ERRORS)
def tail(count: int | None, data_dir: Path, output: Output) -> None:
    """New alerts as they become durable, until Ctrl-C; with `--output json` one answer a line."""
    seen = 0
    try:
        with _queries(data_dir) as queries:
            for batch in queries.tail():
                for stored in batch:
                    _show_one(stored, output)
                    seen += 1
                    if seen == count:
                        return
    except KeyboardInterrupt:
        return


def _key(text: str) -> int | UUID:
    try:
        number = int(text) if text.isdecimal() else None
        if number is None:
            return UUID(text)
    except ValueError:
        fail(f"{text!r} is neither an alert's number nor its uid; see `ray-fraud alerts list`")
    if number > MAX_ALERT_ID:
        fail(f"there is no alert {text}; see `ray-fraud alerts list`")
    return number


def _show_one(stored: StoredAlert, output: Output) -> None:
    """An answer of its own on one line: whoever reads it need not wait for the end."""
    show("alerts tail", _plain(stored), output, lambda: Text("  ".join(filter(None, _cells(stored)))))
