"""`ray-fraud batch score`: any period of the lake by any registered model versions, into `batch_scores`.

Never: work of its own; an actor of the stack does it, and goes on if this command is ended.
"""

from __future__ import annotations

import re
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Group
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ray_fraud.cli.moments import required_moment, shown_moment
from ray_fraud.cli.output import (
    Output,
    data_dir_option,
    fail,
    output_option,
    progress,
    quiet_libraries,
    show,
)
from ray_fraud.cli.ranges import FiniteRange
from ray_fraud.stores.connections import PostgresConnection

if TYPE_CHECKING:
    from batch.scoring.plan import ScoredVersion

JOB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
LABEL = re.compile(r"[^:\s]+:[1-9][0-9]*")


def _job_name(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    if value is not None and not JOB_NAME.fullmatch(value):
        raise click.BadParameter("up to 64 letters, digits, `.`, `_` and `-`, a letter or digit first")
    return value


def _labels(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if not LABEL.fullmatch(value):
            raise click.BadParameter(f"{value!r} is not NAME:VERSION, for example isolation_forest:1")
    return values


@click.command("score")
@click.option(
    "--from",
    "since_ms",
    callback=required_moment,
    required=True,
    metavar="DATE_OR_TIME",
    help="Events from here on …",
)
@click.option(
    "--to",
    "until_ms",
    callback=required_moment,
    required=True,
    metavar="DATE_OR_TIME",
    help="… and before this one.",
)
@click.option(
    "--model",
    "labels",
    metavar="NAME:VERSION",
    multiple=True,
    callback=_labels,
    help="A registered version; repeatable.",
)
@click.option("--live", is_flag=True, help="All versions that are live now, too.")
@click.option(
    "--job",
    metavar="NAME",
    callback=_job_name,
    help="Repeatable: a job's rows are written once.  [default: a new name]",
)
@click.option("--timeout", type=FiniteRange(min=1), default=3600.0, show_default=True, metavar="SECONDS")
@data_dir_option
@output_option
def score(
    since_ms: int,
    until_ms: int,
    labels: tuple[str, ...],
    *,
    live: bool,
    job: str | None,
    timeout: float,
    data_dir: Path,
    output: Output,
) -> None:
    """Score a period of the lake with any model versions; the scores go to table `batch_scores`.

    Dates and times are UTC unless they say otherwise. The job goes on if this command is ended.
    """
    from batch.scoring.plan import ScoreRequest
    from cluster.local.platform_state import saved_config
    from cluster.local.stack import LocalStack

    if since_ms >= until_ms:
        raise click.UsageError("--from must be earlier than --to, which is not part of the period")
    if not labels and not live:
        raise click.UsageError("name versions by --model, or all live ones by --live")
    quiet_libraries()
    stack = LocalStack(data_dir)
    config = saved_config(stack) if stack.connect_if_running() else None
    if config is None:
        fail(f"{data_dir}: no platform runs here; start one with `ray-fraud up`")
    versions = _versions(config.connections.postgres, labels, live=live)
    request = ScoreRequest(job or uuid.uuid4().hex, since_ms, until_ms, versions)
    # Only this command needs Ray Data and what the job brings along.
    from cluster.local.scoring_client import ScoringEnded, run_scoring

    progress.print(f"job {request.job}: {', '.join(version.label for version in versions)}")
    try:
        with _bar() as tell:
            end = run_scoring(config, request, tell, timeout)
    except ScoringEnded as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail(f"job {request.job} goes on; the same command with --job {request.job} waits for it again")
    _show(request.job, end, output)


def _versions(where: PostgresConnection, labels: tuple[str, ...], *, live: bool) -> tuple[ScoredVersion, ...]:
    from batch.scoring.plan import resolve
    from ray_fraud.stores.ledger.postgres_registry import PostgresRegistry
    from ray_fraud.stores.ledger.postgres_session import PATIENT

    with closing(PostgresRegistry(where, name="ray-fraud batch score", limits=PATIENT)) as registry:
        return resolve(registry.versions(), labels, live=live)


@contextmanager
def _bar() -> Iterator[Callable[[dict[str, Any]], None]]:
    """A progress bar, or a line now and then; called with rows and rows to score."""
    if not progress.is_terminal:
        yield _Lines()
        return
    columns = (TextColumn("scoring"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=progress, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda figures: bar.update(task, completed=figures["rows"], total=figures["to_score"])


class _Lines:
    """Progress where there is no terminal: a line whenever there is more."""

    def __init__(self) -> None:
        self._last = -1

    def __call__(self, figures: dict[str, Any]) -> None:
        if figures["rows"] != self._last:
            self._last = figures["rows"]
            progress.print(f"scoring: {figures['rows']:,} of {figures['to_score']:,} rows")


def _show(job: str, end: dict[str, Any], output: Output) -> None:
    report = end["report"]
    if report is None:
        data = {"job": job, "error": end["error"]}
        show("batch score", data, output, lambda: Text(f"job {job}: {end['error']}", "red"), "failed")
        sys.exit(1)
    status = "finished_before" if report["finished_before"] else "ok" if report["rows"] else "empty"
    show("batch score", report, output, lambda: report_view(report), status)


def report_view(report: dict[str, Any]) -> Group:
    """The report for people: what was done, each version's scores, its alerts per day."""
    done = Table(title="Batch scoring", box=None, show_header=False, title_justify="left")
    done.add_row("job", report["job"])
    done.add_row("events from", shown_moment(report["since_ms"]))
    done.add_row("before", shown_moment(report["until_ms"]))
    done.add_row("rows of the period", f"{report['rows']:,}")
    if report["version"] is not None:
        done.add_row("version of the table", str(report["version"]))
    done.add_row("seconds", f"{report['seconds']:.1f}")
    if report["finished_before"]:
        done.add_row(
            "", Text(f"finished before, at {shown_moment(report['scored_at_ms'])}; nothing was written")
        )
    elif not report["rows"]:
        done.add_row("", Text("no rows of features in this period; nothing was written"))
    if report["without_features"]:
        without = f"{report['without_features']:,}: `ray-fraud lake features` makes them, then take a new job"
        done.add_row("imported rows without features", Text(without, "yellow"))
    if not report["models"]:
        return Group(done)
    return Group(done, Text(), _models(report["models"]), Text(), _days(report["models"]))


def _models(models: list[dict[str, Any]]) -> Table:
    """A column per version, so that it fits a terminal of 80."""
    table = Table(box=None, header_style="bold")
    table.add_column("model")
    for each in models:
        table.add_column(each["model"], justify="right")
    table.add_row("rows", *(f"{each['rows']:,}" for each in models))
    table.add_row("anomalies", *(f"{each['anomalies']:,}" for each in models))
    table.add_row("share", *(f"{each['anomalies'] / each['rows']:.3%}" for each in models))
    for name in ("threshold", "mean"):
        table.add_row(name, *(f"{each[name]:.4f}" for each in models))
    for name in models[0]["quantiles"]:
        shown = "p99.9" if name == "p999" else name
        table.add_row(shown, *(f"{each['quantiles'][name]:.4f}" for each in models))
    table.add_row("greatest", *(f"{each['greatest']:.4f}" for each in models))
    return table


def _days(models: list[dict[str, Any]]) -> Table:
    table = Table(title="Anomalies per day", box=None, header_style="bold", title_justify="left")
    table.add_column("day")
    for each in models:
        table.add_column(each["model"], justify="right")
    for day in models[0]["anomalies_by_day"]:
        table.add_row(day, *(f"{each['anomalies_by_day'].get(day, 0):,}" for each in models))
    return table
