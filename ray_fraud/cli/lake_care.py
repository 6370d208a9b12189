"""`ray-fraud lake care | history`: looking after the tables now, and what was done to them.

Never: work of its own.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Group
from rich.table import Table
from rich.text import Text

from cluster.local.paths import StackPaths
from cluster.local.stack_record import load_connections
from ray_fraud.cli.lake_place import caller, lake_options
from ray_fraud.cli.output import Output, output_option, show, table_output_option
from ray_fraud.cli.ranges import FiniteRange, WholeRange
from ray_fraud.cli.settings_file import BATCH
from ray_fraud.domain.batch_settings import LakeCareSettings
from ray_fraud.stores.connections import LakeLocation

if TYPE_CHECKING:
    from batch.care.config import CareConfig
    from batch.care.feature_tables import FeatureTablesReport
    from batch.care.job import CareReport, PruneFeatureTables
    from ray_fraud.stores.tables.history import Commit


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option(
    "--retention-days",
    type=FiniteRange(min=0, max=36_500),
    metavar="N",
    help="Files that only earlier versions name are kept so long; at least 1. Without it as the platform's "
    "settings say (7).",
)
@output_option
@lake_options
def care(dry_run: bool, retention_days: float | None, location: LakeLocation, output: Output) -> None:
    """Compact, sort and vacuum the tables now; exit code 0 if all of it was done.

    Feature tables that no replay needs are removed, too, if the PostgreSQL and Kafka of the data folder's
    platform answer. A running platform does all of it every day.
    """
    from batch.care.job import Care

    options = click.get_current_context().params
    config = care_of(options)
    if retention_days is not None:
        config = msgspec.structs.replace(config, retention=timedelta(days=retention_days))
    report = Care(location, config, caller(), feature_tables=_pruning(options)).run(dry_run=dry_run)
    status = "failed" if report.failed else "ok"
    show("lake care", msgspec.to_builtins(report), output, lambda: _care_table(report), status)
    if report.failed:
        sys.exit(1)


class TableName(click.ParamType[str]):
    """A table of the lake."""

    name = "table"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from ray_fraud.stores.tables.lake_tables import LAKE_TABLES

        if value not in LAKE_TABLES:
            self.fail(f"{value!r} is no table of the lake; they are {', '.join(LAKE_TABLES)}", param, ctx)
        return value


@click.command()
@click.option("--table", type=TableName(), default="transactions", show_default=True, help="Which table.")
@click.option(
    "-n", "--count", type=WholeRange(1, 100_000), default=20, show_default=True, help="Newest versions."
)
@table_output_option
@lake_options
def history(table: str, count: int, location: LakeLocation, output: Output) -> None:
    """What was done to a table: each version with its time, rows and reason."""
    from ray_fraud.stores.tables.history import history as history_of

    commits = history_of(location, table, count)
    data: dict[str, Any] = {"table": table, "commits": msgspec.to_builtins(commits)}
    show("lake history", data, output, lambda: _history_table(commits), rows=data["commits"])


def platforms_own(options: dict[str, Any]) -> bool:
    """The lake is that of the data folder's platform, as far as the command line says."""
    return options["lake"] is None and options["connections_file"] is None


def _pruning(options: dict[str, Any]) -> PruneFeatureTables:
    from batch.care.feature_tables import LeftAlone
    from batch.ingest.config import IngestConfig

    def prune(retention: timedelta, now: float, dry_run: bool) -> FeatureTablesReport:
        if not platforms_own(options):
            raise LeftAlone("a lake alone does not say which are needed; use --data-dir of its platform")
        # Only here Kafka, PostgreSQL and what batches bring along are needed.
        from batch.care.run import care_where_reachable

        config = IngestConfig(connections=load_connections(options["data_dir"]))
        return care_where_reachable(config, retention, now, dry_run=dry_run)

    return prune


def care_of(options: dict[str, Any]) -> CareConfig:
    """By the settings that were given to the platform of the data folder, if it is that one's lake.

    A care by hand must not take what the operator told the platform to keep.

    Raises:
        SettingsFileError: the platform's settings cannot be read.
    """
    from batch.schedule.config import care_config

    settings = LakeCareSettings()
    if platforms_own(options):
        settings = BATCH.holding(StackPaths(options["data_dir"]), None).care
    return care_config(settings)


def _care_table(report: CareReport) -> Group:
    from ray_fraud.stores.tables.care import Action

    columns = ("table", "files", "bytes", "version", "compacted", "sorted", "vacuumed", "seconds")
    table = Table(*columns, box=None, header_style="bold")
    for one in report.tables:
        done = [rewrite.action for rewrite in one.rewritten]
        table.add_row(
            one.table,
            _change(one.before.files, one.after.files),
            _change(one.before.bytes, one.after.bytes),
            _change(one.before.version, one.after.version),
            str(done.count(Action.COMPACT)),
            str(done.count(Action.SORT)),
            f"{one.vacuumed.files:,} files",
            f"{one.seconds:.1f}",
        )
    notes = [Text(f"not done: {failure}", "red") for failure in report.failed]
    notes += [Text(f"deletion {one} was left open and is finished") for one in report.deletions]
    if report.feature_tables_left is not None:
        notes.append(Text(f"feature tables are left alone: {report.feature_tables_left}"))
    if report.feature_tables is not None:
        removed, files = len(report.feature_tables.removed), report.feature_tables.files
        notes.append(Text(f"feature tables: {removed:,} of {files:,} removed"))
    if report.dry_run:
        notes.append(Text("a dry run: this would be done, nothing was"))
    return Group(table, *notes)


def _change(before: int, after: int) -> str:
    return f"{before:,}" if before == after else f"{before:,} → {after:,}"


def _history_table(commits: list[Commit]) -> Table:
    table = Table(box=None, header_style="bold")
    for column in ("version", "time (UTC)", "operation", "rows", "run"):
        table.add_column(column, no_wrap=True)
    table.add_column("what", overflow="fold")
    for one in commits:
        table.add_row(
            str(one.version),
            one.time.strftime("%Y-%m-%d %H:%M:%S"),
            one.operation,
            "–" if one.rows is None else f"{one.rows:,}",
            "–" if one.run is None else one.run[:8],
            Text(one.note),
        )
    return table
