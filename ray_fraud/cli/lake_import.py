"""`ray-fraud lake import FILE`: past transactions of a Parquet, CSV or JSON file into the lake.

Never: a stack that has to run; only the lake is needed.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from batch.imports.column_map import MAX_REFUSED, ImportRefused, described
from batch.imports.user_ids import UserIds
from cluster.local.failures import LocalStackError
from cluster.local.paths import StackPaths
from cluster.local.stack_record import ExternalServers, load_connections
from ray_fraud.cli.external_servers import read_external, with_addresses
from ray_fraud.cli.import_options import layout_options, understood
from ray_fraud.cli.lake_import_view import look_data, look_view, report_data, report_view
from ray_fraud.cli.output import (
    Output,
    data_dir_option,
    fail,
    output_option,
    progress,
    quiet_libraries,
    show,
)
from ray_fraud.cli.ranges import FiniteRange, WholeRange
from ray_fraud.cli.settings_file import DETECTION
from ray_fraud.cli.workers import default_workers
from ray_fraud.domain.canonical import content_digest
from ray_fraud.stores.connections import LakeLocation

if TYPE_CHECKING:
    from batch.imports.form import Form
    from batch.imports.look import Prepared
    from batch.imports.part import Judge
    from batch.imports.run import WorkerConfig
    from batch.imports.sources import Source

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
KEY_BYTES = 32
LINE_SECONDS = 5.0
"""Between two lines of progress where there is no terminal."""


@click.command("import")
@click.argument("file", type=FILE)
@layout_options
@click.option(
    "--rejected",
    "rejected_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where refused rows go.  [default: FILE's name and .rejected.jsonl, here]",
)
@click.option("--dry-run", is_flag=True, help="Show how the first rows would be read; write nothing.")
@click.option(
    "--max-refused",
    type=FiniteRange(0, 100),
    default=100 * MAX_REFUSED,
    show_default=True,
    help="Percent of the rows; the import stops beyond it.",
)
@click.option("--again", is_flag=True, help="Also if it was imported under another mapping before.")
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
def import_file(file: Path, *, data_dir: Path, output: Output, **options: Any) -> None:
    """Bring the past transactions in FILE into the lake, each row once; if killed, run it again.

    FILE is Parquet, CSV or JSON, also packed with gzip or zstd. Rows are judged as records of the topic are.
    Refused ones go to a side file, each with its reason; refunds (amounts below 0) are counted apart.
    """
    from batch.imports.job import Import
    from batch.imports.look import LOOKED_AT, prepare
    from batch.imports.rejected_file import RejectedFile
    from batch.imports.run import FileState, ImportWorkers
    from batch.imports.stage import OwnStage
    from ray_fraud.stores.tables.delta import DeltaTransactions

    quiet_libraries()
    began = time.time()
    state = FileState(file)
    file_format, layout = understood(file, options)
    if options["dry_run"]:
        _show_look(prepare(file, file_format, layout, chunk_rows=LOOKED_AT), options, data_dir, output)
        return
    prepared = prepare(file, file_format, layout)
    lake, key_file = _lake(options["lake_url"], options["connections_file"], data_dir)
    _tell_of_new(lake)
    told = prepared.form.said()
    digest = _digest(file, described(layout.mapping, told) if options["again"] else None)
    config = _judging(lake, digest, data_dir, began, options["card_key_file"] or key_file, prepared.form)
    rejected_path = options["rejected_path"] or Path(f"{file.name}.rejected.jsonl")
    side_file = RejectedFile(rejected_path, config.partition.topic_id)
    source, there = prepared.source, False
    try:
        with (
            _bar(source) as read,
            closing(OwnStage(options["temporary"])) as stage,
            closing(ImportWorkers(source, config, options["workers"], stage, read)) as work,
        ):
            report = Import(
                config.partition,
                layout.mapping,
                DeltaTransactions(lake),
                side_file,
                work,
                form=told,
                max_refused=options["max_refused"] / 100,
                check_file=state.check,
            ).run()
    except KeyboardInterrupt:
        fail("interrupted; run the same command again: it goes on from the last commit")
    except ImportRefused as error:
        there = side_file.close()
        raise ImportRefused(
            f"{error}\nrefused rows are in {rejected_path}" if there else str(error)
        ) from error
    finally:
        there = side_file.close()
    data = report_data(
        report, source.columns, rejected_path if there else None, side_file.left_out, time.time() - began
    )
    show("lake import", data, output, lambda: report_view(data), "rejected" if report.rejected else "ok")


def _judging(
    lake: LakeLocation, digest: str, data_dir: Path, began: float, key_file: Path | None, form: Form
) -> WorkerConfig:
    """What workers judge by; a key that cannot be used is told now, not by a worker."""
    from batch.imports.job import import_partition
    from batch.imports.run import WorkerConfig, judge_of

    settings = DETECTION.holding(StackPaths(data_dir), None)
    config = WorkerConfig(
        lake, import_partition(digest), settings, round(began * 1000), key_file, form.hash_user
    )
    judge_of(config)
    return config


def _tell_of_new(lake: LakeLocation) -> None:
    """An import makes a lake; who mistyped its place should see that."""
    from ray_fraud.stores.tables.columns import TRANSACTIONS
    from ray_fraud.stores.tables.lake_tables import present_tables

    if TRANSACTIONS not in present_tables(lake):
        progress.print(f"{lake.url} is no lake yet: its tables are made now")


def _digest(file: Path, again: str | None) -> str:
    """What the file's rows are known by; `again`: the mapping, if it is to be imported once more."""
    from batch.imports.sources import content_digest_of

    digest = content_digest_of(file)
    return digest if again is None else content_digest(f"{digest} {again}".encode())


def _show_look(prepared: Prepared, options: dict[str, Any], data_dir: Path, output: Output) -> None:
    """What the first rows would be."""
    from batch.imports.look import look

    found = look(prepared, _any_judge(options, data_dir, prepared))
    data = look_data(found, prepared.source.columns, prepared.form)
    show("lake import", data, output, lambda: look_view(data), "dry_run")


def _any_judge(options: dict[str, Any], data_dir: Path, prepared: Prepared) -> Judge:
    """The judge of rows that go nowhere: without a key of its own it makes one up."""
    from batch.imports.job import import_partition
    from batch.imports.part import Judge
    from batch.imports.run import decoder_of, user_ids_of
    from ray_fraud.domain.decode import Decoder

    key_file = options["card_key_file"]
    if key_file is None:
        try:
            _, key_file = _lake(options["lake_url"], options["connections_file"], data_dir)
        except LocalStackError:
            key_file = None  # A look needs no stack.
    key = None if key_file is not None else secrets.token_bytes(KEY_BYTES)
    decoder = Decoder(key) if key is not None else decoder_of(key_file)
    hashes = prepared.form.hash_user
    if key is not None:
        user_ids = UserIds(key if hashes else None)
    else:
        user_ids = user_ids_of(key_file, hash_user=hashes)
    settings = DETECTION.holding(StackPaths(data_dir), None)
    return Judge(import_partition("0" * 64), decoder, settings, round(time.time() * 1000), user_ids)


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
