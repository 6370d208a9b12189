"""`ray-fraud alerts list | show | tail | verdict`: looking at alerts, and judging them.

Never: changing one: a verdict is a record of its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import UUID

import click
import msgspec
from rich.console import Group
from rich.json import JSON
from rich.table import Table
from rich.text import Text

from cluster.local.stack_record import load_connections
from ray_fraud.cli.lake_place import caller
from ray_fraud.cli.output import (
    Output,
    data_dir_option,
    fail,
    output_option,
    show,
    table_output_option,
)
from ray_fraud.cli.ranges import WholeRange
from ray_fraud.cli.users import UserName, number_and_text, texts_of
from ray_fraud.domain.alert import RuleName, Source
from ray_fraud.stores.ledger.queries import AlertFilter, AlertQueries, Feedback, StoredAlert, Verdict

NO_ALERT = "there is no alert {}; see `ray-fraud alerts list`"
MAX_ALERT_ID = 2**63 - 1
COLUMNS = ("id", "event time", "rule", "severity", "user", "amount", "model", "reason")


@click.group()
def alerts() -> None:
    """Alerts: list, show, tail, verdict."""


@contextmanager
def _queries(data_dir: Path) -> Iterator[AlertQueries]:
    from ray_fraud.stores.ledger.postgres_queries import PostgresAlertQueries

    queries = PostgresAlertQueries(load_connections(data_dir).postgres)
    try:
        yield queries
    finally:
        queries.close()


NO_TEXTS: Mapping[int, str] = MappingProxyType({})


def _plain(stored: StoredAlert, texts: Mapping[int, str] = NO_TEXTS) -> dict[str, Any]:
    """An alert as JSON shows it: the alert's own fields and what the database knows of it."""
    row: dict[str, Any] = msgspec.to_builtins(stored)
    alert: dict[str, Any] = row.pop("alert")
    named = {"user_text": texts.get(stored.alert.user_id)} if texts else {}
    return alert | named | row


def _user(stored: StoredAlert, texts: Mapping[int, str]) -> str:
    """The user's id as it was sent."""
    return texts.get(stored.alert.user_id, str(stored.alert.user_id))


def _plain_verdict(row: Feedback) -> dict[str, Any]:
    return {
        "number": row.feedback_id,
        "verdict": row.verdict or "taken_back",
        "origin": row.origin,
        "reviewer": row.reviewer,
        "note": row.note,
        "known_ms": row.known_at_ms,
        "about": "transaction" if row.alert_id is None else "alert",
    }


def _whole(stored: StoredAlert, given: Sequence[Feedback], texts: Mapping[int, str]) -> Group:
    """Everything about one alert: what it says, what was said of it, what is behind it."""
    alert = stored.alert
    rows = {
        "alert": f"{stored.alert_id}  {alert.alert_uid}",
        "reason": alert.reason,
        "rule": f"{alert.rule_name}, {alert.severity}, {alert.source}",
        "transaction": f"{alert.transaction_id} of user {_user(stored, texts)}, {_time(alert.event_time)}",
        "score": "" if alert.score is None else f"{alert.score:.6g} by {alert.model_version}",
        "record": f"partition {alert.partition}, offset {alert.offset}",
        "feedback": stored.feedback or "open",
    }
    for row in given:
        known = _time(row.known_at_ms / 1000)
        said = f"{row.verdict or 'taken back'} since {known}, {row.origin}, {row.reviewer}"
        rows[f"  number {row.feedback_id}"] = ": ".join(filter(None, (said, row.note)))
    lines = [Text.assemble((f"{name:<14}", "bold"), value) for name, value in rows.items()]
    return Group(*lines, JSON.from_data(alert.details))


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _cells(stored: StoredAlert, texts: Mapping[int, str]) -> tuple[str, ...]:
    alert = stored.alert
    amount = alert.details.get("transaction", {}).get("amount")
    return (
        str(stored.alert_id),
        _time(alert.event_time),
        alert.rule_name,
        alert.severity,
        _user(stored, texts),
        "" if amount is None else f"{amount:,.2f}",
        alert.model_version or "",
        alert.reason,
    )


def _table(rows: Sequence[StoredAlert], texts: Mapping[int, str]) -> Table:
    table = Table(*COLUMNS, box=None, header_style="bold")
    for stored in rows:
        # Ids and reasons hold what others wrote: never markup.
        table.add_row(*(Text(cell) for cell in _cells(stored, texts)))
    return table


@alerts.command("list")
@click.option("--rule", type=click.Choice(RuleName, case_sensitive=False), help="Only this rule.")
@click.option("--user", type=UserName(), help="Only this user.")
@click.option(
    "--source", type=click.Choice(Source, case_sensitive=False), help="Only of the hot or the cold path."
)
@click.option("--limit", type=WholeRange(1, 10_000), default=20, show_default=True)
@click.option("--before", "before_id", type=WholeRange(1), metavar="ID", help="Older than this: next page.")
@data_dir_option
@table_output_option
def list_alerts(
    rule: RuleName | None,
    user: str | None,
    source: Source | None,
    limit: int,
    before_id: int | None,
    data_dir: Path,
    output: Output,
) -> None:
    """The newest alerts, newest first; `--before` continues with older ones."""
    connections = load_connections(data_dir)
    user_id = None if user is None else number_and_text(connections, user)[0]
    where = AlertFilter(rule_name=rule, user_id=user_id, source=source)
    with _queries(data_dir) as queries:
        rows = queries.list(where, limit=limit + 1, before_id=before_id)
        total = queries.count(where)
    rows, older = rows[:limit], len(rows) > limit
    next_before = rows[-1].alert_id if older else None
    texts = texts_of(connections, rows)
    data: dict[str, Any] = {
        "alerts": [_plain(row, texts) for row in rows],
        "total": total,
        "next_before": next_before,
    }
    more = f", older ones: --before {next_before}" if older else ""
    show(
        "alerts list",
        data,
        output,
        lambda: Group(_table(rows, texts), Text(f"{len(rows)} of {total:,}{more}")),
        rows=data["alerts"],
    )


@alerts.command("show")
@click.argument("key", metavar="ID")
@data_dir_option
@output_option
def show_alert(key: str, data_dir: Path, output: Output) -> None:
    """One alert with all its details; ID is its number or its uid."""
    wanted = _key(key)
    with _queries(data_dir) as queries:
        stored = queries.get(wanted)
        given = [] if stored is None else queries.feedback_of(stored.alert_id)
    if stored is None:
        fail(NO_ALERT.format(key))
    texts = texts_of(load_connections(data_dir), [stored])
    data = _plain(stored, texts) | {"verdicts": [_plain_verdict(row) for row in given]}
    show("alerts show", data, output, lambda: _whole(stored, given, texts))


@alerts.command("verdict")
@click.argument("key", metavar="ID")
@click.argument("verdict", type=click.Choice(Verdict, case_sensitive=False), required=False)
@click.option("--take-back", is_flag=True, help="Instead of a verdict: what was said before does not hold.")
@click.option("--note", default="", metavar="TEXT", help="Kept with the verdict.")
@click.option("--reviewer", metavar="NAME", help="Who judges.  [default: you]")
@data_dir_option
@output_option
def judge(
    key: str,
    verdict: Verdict | None,
    *,
    take_back: bool,
    note: str,
    reviewer: str | None,
    data_dir: Path,
    output: Output,
) -> None:
    """Say whether an alert was right; ID is its number or its uid. What was said before stays on record."""
    if take_back == (verdict is not None):
        raise click.UsageError("give a verdict, true_fraud or false_positive, or --take-back")
    wanted = _key(key)
    with _queries(data_dir) as queries:
        stored = queries.get(wanted)
        if stored is None:
            fail(NO_ALERT.format(key))
        given = queries.add_feedback(stored.alert_id, verdict, reviewer or caller(), note)
        judged = queries.get(stored.alert_id)
    data = {"alert_id": stored.alert_id, "feedback": judged and judged.feedback} | _plain_verdict(given)
    said = verdict or "no verdict any more"
    text = f"alert {stored.alert_id}: {said}, as number {given.feedback_id} by {given.reviewer}"
    show("alerts verdict", data, output, lambda: Text(text))


@alerts.command("tail")
@click.option("--count", type=WholeRange(1), help="Stop after this many alerts.")
@data_dir_option
@output_option
def tail(count: int | None, data_dir: Path, output: Output) -> None:
    """New alerts as they become durable, until Ctrl-C; with `--output json` one answer a line."""
    seen = 0
    try:
        connections = load_connections(data_dir)
        with _queries(data_dir) as queries:
            for batch in queries.tail():
                texts = texts_of(connections, batch)
                for stored in batch:
                    _show_one(stored, texts, output)
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
        fail(NO_ALERT.format(text))
    return number


def _show_one(stored: StoredAlert, texts: Mapping[int, str], output: Output) -> None:
    """An answer of its own on one line: whoever reads it need not wait for the end."""
    cells = _cells(stored, texts)
    show("alerts tail", _plain(stored, texts), output, lambda: Text("  ".join(filter(None, cells))))
