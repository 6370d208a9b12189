"""`ray-fraud verdicts import | list | simulate`: what became known of transactions.

Never: a change of a verdict: another one follows it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Group
from rich.table import Table
from rich.text import Text

from batch.imports.file_format import FileFormat
from batch.verdicts.rows import Defaults
from cluster.local.stack_record import load_connections
from ray_fraud.cli.lake_place import FILE, caller
from ray_fraud.cli.output import (
    Output,
    data_dir_option,
    fail,
    output_option,
    progress,
    quiet_libraries,
    show,
    table_output_option,
)
from ray_fraud.cli.ranges import WholeRange
from ray_fraud.cli.verdicts_simulate import simulate
from ray_fraud.domain.verdicts import Origin, Verdict
from ray_fraud.stores.ledger.queries import Verdict as Word

if TYPE_CHECKING:
    from batch.verdicts.job import VerdictImportReport
    from ray_fraud.stores.verdicts.postgres import PostgresVerdicts

DATES = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])
COLUMNS = ("number", "known since", "origin", "verdict", "transaction", "user", "merchant")
ID_DIGITS = 32
"""Of a SHA-256, hex."""
LINE_SECONDS = 5.0
"""Between two lines of progress."""


@click.group()
def verdicts() -> None:
    """Verdicts on transactions: import, list, simulate."""


verdicts.add_command(simulate)


@contextmanager
def _store(data_dir: Path) -> Iterator[PostgresVerdicts]:
    from ray_fraud.stores.verdicts.postgres import PostgresVerdicts

    with closing(PostgresVerdicts(load_connections(data_dir).postgres)) as store:
        yield store


@verdicts.command("import")
@click.argument("file", type=FILE)
@click.option(
    "--format",
    "file_format",
    type=click.Choice(FileFormat, case_sensitive=False),
    help="If the file's name does not say it.",
)
@click.option(
    "--origin",
    type=click.Choice(Origin, case_sensitive=False),
    default=Origin.CHARGEBACK,
    show_default=True,
    help="Of rows that do not say it.",
)
@click.option("--reviewer", metavar="NAME", help="Of rows that do not say it.  [default: you]")
@click.option(
    "--rejected",
    "rejected_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where refused rows go.  [default: FILE's name and .rejected.jsonl, here]",
)
@data_dir_option
@output_option
def import_file(
    file: Path,
    file_format: FileFormat | None,
    origin: Origin,
    reviewer: str | None,
    rejected_path: Path | None,
    data_dir: Path,
    output: Output,
) -> None:
    """Store the verdicts in FILE, each once; if interrupted, run it again.

    Columns: transaction_id, user_id, verdict (true_fraud, false_positive or taken_back), and if known
    merchant_id, event_time, known_at (since when it is known; unix seconds or ISO 8601, UTC unless it says
    otherwise), origin, reviewer and note. A row that says of a transaction what one from the same origin
    and the same moment said is the same row.
    """
    from batch.imports.rejected_file import RejectedFile
    from batch.imports.run import FileState
    from batch.imports.sources import content_digest_of, format_of
    from batch.verdicts.job import import_verdicts
    from batch.verdicts.source import rows_of

    quiet_libraries()
    now_ms = round(time.time() * 1000)
    state = FileState(file)
    rows = rows_of(file, file_format or format_of(file))
    import_id = f"verdicts:{content_digest_of(file)[:ID_DIGITS]}"
    rejected_path = rejected_path or Path(f"{file.name}.rejected.jsonl")
    with _store(data_dir) as store:
        side_file = RejectedFile(rejected_path, import_id)
        try:
            report = import_verdicts(
                rows,
                store,
                side_file,
                import_id,
                Defaults(origin, reviewer or caller()),
                now_ms,
                check_file=state.check,
                progress=_Lines(),
            )
        except KeyboardInterrupt:
            fail("interrupted; run the same command again: what is stored already stays the only one")
        finally:
            there = side_file.close()
    data = msgspec.to_builtins(report) | {"rejected_file": str(rejected_path) if there else None}
    show("verdicts import", data, output, lambda: _report(data), "rejected" if report.rejected else "ok")


@verdicts.command("list")
@click.option("--since", type=DATES, help="Known since then (UTC) or later.")
@click.option("--limit", type=WholeRange(1, 10_000), default=20, show_default=True)
@data_dir_option
@table_output_option
def list_verdicts(since: datetime | None, limit: int, data_dir: Path, output: Output) -> None:
    """What became known last, oldest first."""
    from_ms = 0 if since is None else round(since.replace(tzinfo=UTC).timestamp() * 1000)
    with _store(data_dir) as store:
        found = store.known(from_ms, round(time.time() * 1000) + 1, newest=limit + 1)
    shown, more = found[-limit:], len(found) > limit
    data: dict[str, Any] = {"verdicts": [_plain(row) for row in shown], "more": more}
    note = "more, earlier ones: --limit" if more else f"{len(shown)} verdicts"
    show(
        "verdicts list",
        data,
        output,
        lambda: Group(_table(shown), Text(note)),
        rows=data["verdicts"],
    )


def _plain(row: Verdict) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(row)
    return plain | {"verdict": _word(row)}


def _word(row: Verdict) -> str:
    return Word.of(row.fraud) or "taken_back"


def _table(rows: Sequence[Verdict]) -> Table:
    table = Table(*COLUMNS, box=None, header_style="bold")
    for row in rows:
        at = datetime.fromtimestamp(row.known_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        cells = (str(row.number), at, row.origin, _word(row), row.transaction_id, str(row.user_id))
        # Ids hold what others wrote: never markup.
        table.add_row(*map(Text, cells), Text(row.merchant_id or ""))
    return table


class _Lines:
    """A line of progress now and then."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, report: VerdictImportReport) -> None:
        if time.monotonic() - self._last >= LINE_SECONDS:
            self._last = time.monotonic()
            progress.print(f"importing: {report.rows:,} rows")


def _report(data: dict[str, Any]) -> Table:
    table = Table(title="Import of verdicts", box=None, show_header=False, title_justify="left")
    table.add_row("rows read", f"{data['rows']:,}")
    table.add_row("verdicts added", f"{data['added']:,}")
    table.add_row("that were there already", f"{data['already_there']:,}")
    refused = ", ".join(f"{code} {count:,}" for code, count in data["rejected"].items())
    table.add_row("rows refused", refused or "none")
    if data["rejected_file"]:
        table.add_row("refused rows are in", Text(data["rejected_file"]))
    return table
