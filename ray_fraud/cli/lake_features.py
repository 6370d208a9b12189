"""`ray-fraud lake features`: the features of imported records, so that they can be scored and learnt from.

Never: a stack that has to run, unless its verdicts are asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.table import Table

from cluster.local.paths import StackPaths
from cluster.local.stack_record import load_connections
from ray_fraud.cli.lake_place import FILE, lake_of
from ray_fraud.cli.moments import duration
from ray_fraud.cli.output import (
    Output,
    data_dir_option,
    fail,
    output_option,
    quiet_libraries,
    show,
)
from ray_fraud.cli.ranges import WholeRange
from ray_fraud.cli.settings_file import DETECTION
from ray_fraud.cli.steps import steps_bar
from ray_fraud.cli.workers import default_workers
from ray_fraud.domain.windows import HOUR_MS

if TYPE_CHECKING:
    import pyarrow as pa

    from batch.imported.job import ImportedReport
    from ray_fraud.domain.feature_tables import Bools

PROFILE_DAYS = 90
"""As of the platform's own profiles."""
REFRESH_MS = HOUR_MS
"""Of event time, between two refreshes of the feature tables: the platform's batches refresh once an hour."""


@click.command("features")
@click.option(
    "--label-delay",
    "delay_ms",
    callback=duration,
    default="7d",
    show_default=True,
    metavar="DURATION",
    help="From a transaction to when features show its verdict.",
)
@click.option(
    "--without-verdicts", is_flag=True, help="As if nobody had judged any; no PostgreSQL is needed."
)
@click.option("--workers", type=WholeRange(1, 64), default=default_workers, show_default="one per core")
@click.option(
    "--lake", "lake_url", metavar="URL", help="file:///folder or s3://bucket/prefix, not the stack's."
)
@click.option("--connections", "connections_file", type=FILE, help="File that names the lake.")
@data_dir_option
@output_option
def features(
    delay_ms: int,
    lake_url: str | None,
    connections_file: Path | None,
    *,
    without_verdicts: bool,
    workers: int,
    data_dir: Path,
    output: Output,
) -> None:
    """Make the features of imported records that have none; if killed, run it again.

    All imports are folded as one history in order of event time, by the hot path's own code. Verdicts are
    those of the stack; with --lake or --connections there are none.
    """
    from batch.backtest.fold_part import FoldSettings
    from batch.backtest.parts import in_processes
    from batch.imported.job import ImportedFeatures
    from ray_fraud.stores.tables.delta import DeltaTransactions
    from ray_fraud.stores.tables.feature_columns import FEATURE_SCHEMA, ML_FEATURES
    from ray_fraud.stores.tables.positioned import PositionedTable

    quiet_libraries()
    location = lake_of(data_dir, lake_url, connections_file)
    verdicts_of = None if lake_url or connections_file or without_verdicts else data_dir
    job = ImportedFeatures(
        DeltaTransactions(location),
        PositionedTable(location, ML_FEATURES, FEATURE_SCHEMA),
        lambda rows: _frauds(rows, verdicts_of),
        in_processes(workers),
    )
    settings = FoldSettings(
        detection=DETECTION.holding(StackPaths(data_dir), None),
        delay_ms=delay_ms,
        refresh_ms=REFRESH_MS,
        profile_days=PROFILE_DAYS,
    )
    try:
        with _bar() as tell:
            report = job.run(settings, tell)
    except KeyboardInterrupt:
        fail("interrupted; nothing was written, the same command begins anew")
    data: dict[str, Any] = msgspec.to_builtins(report)
    show("lake features", data, output, lambda: _table(report), "ok" if report.imports else "unchanged")


def _frauds(rows: pa.Table, data_dir: Path | None) -> Bools:
    import numpy as np

    from batch.backtest.read_lake import all_verdicts, frauds_among
    from ray_fraud.stores.verdicts.postgres import PostgresVerdicts

    if data_dir is None:
        return np.zeros(rows.num_rows, np.bool_)
    where = load_connections(data_dir).postgres
    with closing(PostgresVerdicts(where, name="ray-fraud lake features")) as verdicts:
        return frauds_among(rows, all_verdicts(verdicts), round(time.time() * 1000))


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    with steps_bar() as tell:
        yield lambda done, in_all: tell("features", done, in_all)


def _table(report: ImportedReport) -> Table:
    table = Table(title="Features of imports", box=None, show_header=False, title_justify="left")
    if not report.imports:
        table.add_row("", "no import lacks features; nothing was written")
        return table
    table.add_row("imports", f"{report.imports:,}")
    table.add_row("their rows without features", f"{report.rows:,}")
    table.add_row("features written", f"{report.written:,}")
    table.add_row("records that came twice", f"{report.duplicates:,}")
    table.add_row("rows folded, with earlier imports", f"{report.folded:,}")
    table.add_row("known as fraud", f"{report.known_frauds:,}")
    table.add_row("version of ml_features", str(report.version))
    table.add_row("seconds", f"{report.seconds:.1f}")
    return table
