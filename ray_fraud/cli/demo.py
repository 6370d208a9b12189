"""`ray-fraud demo`: the whole platform on this machine for a minute, and whether its alerts are right.

Never: touching a stack that `up` started.
"""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from click.core import ParameterSource
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cluster.local.stack_record import read_record
from ray_fraud.cli.demo_learning import learning_view
from ray_fraud.cli.output import (
    Output,
    fail,
    output_option,
    progress,
    quiet_libraries,
    show,
)
from ray_fraud.cli.ranges import FiniteRange, WholeRange

if TYPE_CHECKING:
    from cluster.local.demo import DemoResult, Figures

PLAIN_LINE_SECONDS = 5.0


@click.command()
@click.option("--seconds", type=FiniteRange(0), default=60.0, show_default=True, help="0: until Ctrl-C.")
@click.option("--tps", type=FiniteRange(0.1), default=100.0, show_default=True, help="Transactions a second.")
@click.option("--users", type=WholeRange(1), default=100, show_default=True)
@click.option("--seed", type=WholeRange(0), default=42, show_default=True)
@click.option(
    "--learn",
    is_flag=True,
    help="The whole loop instead: weeks of event time, judged, trained on, tested, promoted.",
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the data here; default: a temporary folder that is removed.",
)
@output_option
@click.pass_context
def demo(
    context: click.Context,
    /,
    seconds: float,
    tps: float,
    users: int,
    seed: int,
    *,
    learn: bool,
    data_dir: Path | None,
    output: Output,
) -> None:
    """Stream transactions through the whole platform and compare its alerts with a replay.

    With --learn verdicts of a simulated analyst train, test and promote a better model, unattended.
    """
    from cluster.local.demo import DemoPlan, run_demo
    from cluster.local.learning import LearningPlan, run_learning
    from cluster.local.ray_node import RayOptions
    from cluster.local.stack import LocalStack

    began = time.time()
    quiet_libraries()
    if learn:
        _refuse_others(context)
    # A terminated demo cleans up as an interrupted one does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = data_dir or Path(tempfile.mkdtemp(prefix="ray-fraud-demo-"))
    plan = DemoPlan(seconds, tps, seed, users)
    try:
        # The dashboard costs half a gigabyte and several seconds, and nobody looks at it for a minute.
        stack = LocalStack(folder, ray=RayOptions(dashboard=False), progress=_line)
        if stack.ledger.marked():
            fail(f"{folder}: a stack runs here; choose another --data-dir, or stop it with `ray-fraud down`")
        if learn:
            if read_record(stack.paths).connections is not None:
                fail(f"{folder}: a stack ran here before; the loop begins anew, choose another --data-dir")
            learned = run_learning(stack, LearningPlan(seed=seed), _line)
            status = "ok" if learned.promoted is not None else "failed"
            show("demo", msgspec.to_builtins(learned), output, lambda: learning_view(learned), status)
            sys.exit(status != "ok")
        with _Display() as display:
            result = run_demo(stack, plan, began, display.line, display.figures)
    except KeyboardInterrupt:
        fail("interrupted before the stream began")
    finally:
        if data_dir is None:
            shutil.rmtree(folder, ignore_errors=True)
    status = "ok" if result.agrees else "failed"
    show("demo", _data(result), output, lambda: _summary(result), status)
    if not result.agrees:
        sys.exit(1)


def _line(message: str) -> None:
    progress.print(message)


def _refuse_others(context: click.Context) -> None:
    """What --learn does is one plan as a whole: its periods, users and frauds belong together."""
    for name in ("seconds", "tps", "users"):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name} means nothing with --learn, which has a plan of its own")


class _Display:
    """Live figures in a terminal, a plain line every few seconds elsewhere."""

    def __init__(self) -> None:
        self._live = Live(console=progress, transient=True) if progress.is_terminal else None
        self._last_line = 0.0

    def __enter__(self) -> _Display:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None and self._live.is_started:
            self._live.stop()

    def line(self, message: str) -> None:
        progress.print(message)

    def figures(self, figures: Figures) -> None:
        if self._live is not None:
            if not self._live.is_started:
                self._live.start()
            self._live.update(_figures_table(figures))
        elif time.monotonic() - self._last_line >= PLAIN_LINE_SECONDS:
            self._last_line = time.monotonic()
            progress.print(_figures_line(figures))


def _milliseconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f} ms"


def _figures_line(figures: Figures) -> str:
    return (
        f"{figures.streaming_seconds:5.0f} s  processed {figures.processed:,}  "
        f"{figures.processed_per_second:,.0f}/s  lag {figures.lag}  alerts {figures.alerts.total()}  "
        f"latency p50 {_milliseconds(figures.percentile(50))} p99 {_milliseconds(figures.percentile(99))}"
    )


def _figures_table(figures: Figures) -> Group:
    table = Table(box=None, show_header=False, padding=(0, 2))
    table.add_row("streaming", f"{figures.streaming_seconds:.0f} s")
    table.add_row("processed", f"{figures.processed:,} ({figures.processed_per_second:,.0f}/s)")
    table.add_row("lag", f"{figures.lag} records")
    latency = "  ".join(f"p{p} {_milliseconds(figures.percentile(p))}" for p in (50, 95, 99))
    table.add_row("send → alert durable", latency)
    for rule, number in sorted(figures.alerts.items()):
        table.add_row(f"alerts {rule}", f"{number}")
    scored = figures.arms.total() or 1
    for label, rows in sorted(figures.arms.items()):
        table.add_row(f"scored by {label}", f"{rows / scored:.1%}")
    return Group(table)


def _data(result: DemoResult) -> dict[str, Any]:
    figures, audit = result.figures, result.audit
    return {
        "produced": result.produced,
        "processed": audit.processed,
        "duplicates": audit.duplicates,
        "dead_lettered": audit.dead_lettered,
        "alerts": {"total": audit.replayed_alerts, "by_rule": audit.by_rule},
        "postgres_alerts": audit.postgres_alerts,
        "topic_alerts": audit.topic_alerts,
        "oracle": {
            "missing": audit.missing,
            "unexpected": audit.unexpected,
            "duplicates": audit.duplicate_rows,
        },
        "lake": {
            "rows": result.lake.rows,
            "feature_rows": result.lake.feature_rows,
            "different_alerts": result.lake.different_alerts,
            "agrees": result.lake_agrees,
        },
        "latency_ms": {f"p{p}": _rounded(figures.percentile(p)) for p in (50, 95, 99)},
        "startup_seconds": _rounded(figures.startup_seconds),
        "first_alert_seconds": _rounded(figures.first_alert_seconds),
        "ab_share": audit.ab_share,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _summary(result: DemoResult) -> Table:
    figures, audit = result.figures, result.audit
    table = Table(title="Demo", box=None, show_header=False, padding=(0, 2), title_justify="left")
    table.add_row("produced", f"{result.produced:,} transactions")
    table.add_row(
        "processed", f"{audit.processed:,}, {audit.duplicates} duplicates, {audit.dead_lettered} refused"
    )
    rules = ", ".join(f"{rule} {number}" for rule, number in sorted(audit.by_rule.items()))
    table.add_row("alerts", f"{audit.replayed_alerts:,} ({rules})")
    table.add_row("in PostgreSQL / on the topic", f"{audit.postgres_alerts:,} / {audit.topic_alerts:,}")
    latency = ", ".join(f"p{p} {_milliseconds(figures.percentile(p))}" for p in (50, 95, 99))
    table.add_row("send → alert durable", latency)
    table.add_row(
        "model versions", ", ".join(f"{label} {share:.1%}" for label, share in audit.ab_share.items())
    )
    lake = Text(f"{result.lake.rows:,} (features {result.lake.feature_rows:,}): ")
    if result.lake_agrees:
        lake.append("as many as accepted records, and they fold to the same alerts")
    else:
        lake.append("DIFFERS from the log", "red")
        lake.append(f", {result.lake.different_alerts:,} alerts differ")
    table.add_row("rows in the lake", lake)
    first = figures.first_alert_seconds
    table.add_row("healthy / first alert after", f"{figures.startup_seconds:.1f} s / {first or 0:.1f} s")
    agreement = Text("agrees: nothing missing, unexpected or double")
    if not result.agrees:
        agreement = Text("DIFFERS", "red").append(
            f": missing {audit.missing}, unexpected {audit.unexpected}, "
            f"double {audit.duplicate_rows}, read {audit.records} of {result.produced}",
            "default",
        )
    table.add_row("single-threaded replay", agreement)
    return table
