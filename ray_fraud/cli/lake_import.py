"""`ray-fraud lake import FILE`: past transactions of a Parquet, CSV or JSON-lines file into the lake.

Never: a stack that has to run; only the lake is needed.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from batch.imports.column_map import ImportRefused, described, parse_mapping
from batch.imports.job import Import, ImportReport, import_partition
from batch.imports.rejected_file import RejectedFile
from batch.imports.run import FileState, ImportWorkers, WorkerConfig, default_workers, judge_of
from batch.imports.sources import FileFormat, Source, content_digest_of, format_of, open_source
from batch.imports.stage import OwnStage
from cluster.local.failures import LocalStackError
from cluster.local.paths import StackPaths
from cluster.local.stack_record import ExternalServers, load_connections
from ray_fraud.cli.external_servers import ExternalServersError, read_external, with_addresses
from ray_fraud.cli.output import (
    Output,
    data_dir_option,
    expects,
    fail,
    output_option,
    progress,
    quiet_libraries,
    show,
)
from ray_fraud.cli.ranges import WholeRange
from ray_fraud.cli.settings_file import DETECTION, SettingsFileError
from ray_fraud.domain.canonical import content_digest
from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.errors import StoreError
from ray_fraud.stores.tables.columns import TRANSACTIONS
from ray_fraud.stores.tables.delta import DeltaTransactions
from ray_fraud.stores.tables.lake_tables import present_tables

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
LINE_SECONDS = 5.0
"""Between two lines of progress where there is no terminal."""
ERRORS = (ImportRefused, StoreError, LocalStackError, ExternalServersError, SettingsFileError, OSError)


@click.command("import")
@click.argument("file", type=FILE)
@click.option(
    "--map",
    "pairs",
    metavar="FIELD=COLUMN",
    multiple=True,
    help="The column of a field of the contract, if it has another name; repeatable.",
)
@click.option(
    "--format",
    "file_format",
    type=click.Choice(FileFormat, case_sensitive=False),
    help="If the file's name does not say it.",
)
@click.option(
    "--rejected",
    "rejected_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where refused rows go.  [default: FILE's name and .rejected.jsonl, here]",
)
@click.option("--again", is_flag=True, help="Also if it was imported with other --map options before.")
@click.option("--workers", type=WholeRange(1, 64), default=default_workers, show_default="one per core")
@click.option(
    "--temporary",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder for rows that wait to be written.  [default: TMPDIR, else /var/tmp]",
)
@click.option(
    "--lake", "lake_url", metavar="URL", help="file:///folder or s3://bucket/prefix, not the stack's."
)
@click.option(
    "--connections", "connections_file", type=FILE, help="JSON or TOML file that names lake and card key."
)
@click.option("--card-key-file", type=FILE, help="The key of card tokens, hex.  [default: the stack's]")
@data_dir_option
@output_option
@expects(*ERRORS)
def import_file(
    file: Path,
    pairs: tuple[str, ...],
    file_format: FileFormat | None,
    rejected_path: Path | None,
    *,
    again: bool,
    workers: int,
    temporary: Path | None,
    lake_url: str | None,
    connections_file: Path | None,
    card_key_file: Path | None,
    data_dir: Path,
    output: Output,
) -> None:
    """Bring the past transactions in FILE into the lake, each row once; if killed, run it again.

    Rows are judged as records of the topic are. Refused ones go to a side file, each with its reason.
    """
    quiet_libraries()
    began = time.time()
    mapping = parse_mapping(pairs)
    state = FileState(file)
    source = open_source(file, file_format or format_of(file), mapping)
    lake, key_file = _lake(lake_url, connections_file, data_dir)
    if TRANSACTIONS not in present_tables(lake):
        progress.print(f"{lake.url} is no lake yet: its tables are made now")
    digest = content_digest_of(file)
    if again:
        digest = content_digest(f"{digest} {described(mapping)}".encode())
    config = WorkerConfig(
        lake,
        import_partition(digest),
        DETECTION.holding(StackPaths(data_dir), None),
        round(began * 1000),
        card_key_file or key_file,
    )
    judge_of(config)  # A key that cannot be used is told now, not by a worker.
    rejected_path = rejected_path or Path(f"{file.name}.rejected.jsonl")
    side_file = RejectedFile(rejected_path, config.partition.topic_id)
    try:
        with (
            _bar(source) as read,
            closing(OwnStage(temporary)) as stage,
            closing(ImportWorkers(source, config, workers, stage, read)) as work,
        ):
            report = Import(
                config.partition, mapping, DeltaTransactions(lake), side_file, work, check_file=state.check
            ).run()
    except KeyboardInterrupt:
        fail("interrupted; run the same command again: it goes on from the last commit")
    finally:
        there = side_file.close()
    data = _data(report, source, rejected_path if there else None, time.time() - began)
    show("lake import", data, output, lambda: _table(data), "rejected" if report.rejected else "ok")


def _lake(url: str | None, connections_file: Path | None, data_dir: Path) -> tuple[LakeLocation, Path | None]:
    """The lake, and the key file of its deployment."""
    named = ExternalServers() if connections_file is None else read_external(connections_file)
    named = with_addresses(named, lake=url)
    if named.lake is not None:
        return named.lake, named.card_key_file
    connections = load_connections(data_dir)
    return connections.lake, named.card_key_file or connections.card_key_file


@contextmanager
def _bar(source: Source) -> Iterator[Callable[[int], None]]:
    """A progress bar, or a line now and then; called with how much of the file was judged."""
    if not progress.is_terminal:
        yield _Lines(source.size)
        return
    columns = (TextColumn("importing"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=progress, transient=True) as bar:
        task = bar.add_task("", total=source.size)
        yield lambda reached: bar.update(task, completed=reached)


class _Lines:
    """Progress where there is no terminal."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._last = time.monotonic()

    def __call__(self, reached: int) -> None:
        if time.monotonic() - self._last >= LINE_SECONDS:
            self._last = time.monotonic()
            progress.print(f"importing: {reached / max(1, self._size):.0%}")


def _data(report: ImportReport, source: Source, rejected_file: Path | None, seconds: float) -> dict[str, Any]:
    data: dict[str, Any] = msgspec.to_builtins(report)
    return data | {
        "seconds": round(seconds, 3),
        "rejected_file": None if rejected_file is None else str(rejected_file),
        "ignored_columns": list(source.columns.ignored),
    }


def _table(data: dict[str, Any]) -> Table:
    table = Table(title="Import", box=None, show_header=False, title_justify="left")
    table.add_row("rows read", f"{data['rows']:,}")
    table.add_row("rows written", f"{data['accepted']:,}")
    refused = ", ".join(f"{code} {count:,}" for code, count in data["rejected"].items())
    table.add_row("rows refused", refused or "none")
    table.add_row("rows that were there already", f"{data['already_there']:,}")
    table.add_row("files, commits", f"{data['files']:,}, {data['commits']:,}")
    table.add_row("version of the table", "unchanged" if data["version"] is None else str(data["version"]))
    table.add_row("seconds", f"{data['seconds']:.1f}")
    if data["rejected_file"]:
        table.add_row("refused rows are in", data["rejected_file"])
    if data["ignored_columns"]:
        table.add_row("columns that no field takes", ", ".join(data["ignored_columns"]))
    return table
