"""`ray-fraud train`: a training now, or how the last ones went.

Never: work of its own; an actor of the stack does it, and goes on if this command is ended.
"""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Group
from rich.table import Table
from rich.text import Text

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

STYLES = {"done": "green", "running": "yellow", "failed": "red"}


@click.command("train")
@click.option("--status", "look", is_flag=True, help="Only show the last trainings and when the next is due.")
@click.option("--count", type=WholeRange(1, 1000), default=10, show_default=True, help="Trainings to show.")
@click.option("--timeout", type=FiniteRange(min=1), default=7200.0, show_default=True, metavar="SECONDS")
@data_dir_option
@output_option
def train(*, look: bool, count: int, timeout: float, data_dir: Path, output: Output) -> None:
    """Train new model versions from the verdicts that are known now, and wait for the end.

    Candidates go through a test before they decide; see `ray-fraud models list`.
    """
    from cluster.local.cold_path_client import run_training, training_status
    from cluster.local.stack import LocalStack

    quiet_libraries()
    if not LocalStack(data_dir).connect_if_running():
        fail(f"{data_dir}: no platform runs here; start one with `ray-fraud up`")
    if look:
        state = training_status(count)
        show("train", state, output, lambda: _status(state))
        return
    done = run_training(_Told(), timeout)
    good = done["status"] == "done"
    show("train", done, output, lambda: run_view(done), "ok" if good else "failed")
    if not good:
        sys.exit(1)


class _Told:
    """A line whenever there is more."""

    def __init__(self) -> None:
        self._last = -1

    def __call__(self, done: int, in_all: int) -> None:
        if done != self._last:
            self._last = done
            progress.print(f"training: {done} of {in_all} fits")


def run_view(done: dict[str, Any]) -> Group:
    """One training for people: what it read, and each model on the hold-out, production's beside them."""
    report = done.get("report") or {}
    head = Table(title="Training", box=None, show_header=False, title_justify="left")
    head.add_row("status", Text(done["status"], STYLES[done["status"]]))
    if done.get("error"):
        head.add_row("error", Text(done["error"]))
    if report.get("not_enough"):
        head.add_row("nothing trained", Text(report["not_enough"]))
    if "candidates" not in report:
        return Group(head)
    head.add_row("labelled rows", f"{report['rows']:,}, of them {report['frauds']:,} frauds")
    head.add_row("seconds", f"{report['seconds']:.1f}")
    return Group(head, Text(), _models(report))


def _models(report: dict[str, Any]) -> Table:
    table = Table(title="On the hold-out", box=None, header_style="bold", title_justify="left")
    for column in ("model", "AP", "AUC", "card precision", "precision", "recall", "F1", "alerts/day"):
        table.add_column(column, justify="left" if column == "model" else "right")
    rows = [(each["label"], each["evaluation"]) for each in report["candidates"]]
    if report["production_evaluation"] is not None:
        rows.append((f"{report['production']} (production)", report["production_evaluation"]))
    for label, found in rows:
        table.add_row(
            label,
            _figure(found["average_precision"]),
            _figure(found["auc_roc"]),
            _figure(found["card_precision_at_k"]),
            _figure(found["precision"]),
            _figure(found["recall"]),
            _figure(found["f1"]),
            f"{found['alerts_per_day']:,.1f}",
        )
    return table


def _status(state: dict[str, Any]) -> Group:
    table = Table("began", "cause", "status", "seconds", "models", box=None, header_style="bold")
    for each in state["runs"]:
        report, ended = each.get("report") or {}, each.get("ended")
        labels = ", ".join(candidate["label"] for candidate in report.get("candidates", ()))
        table.add_row(
            datetime.fromtimestamp(each["started"], UTC).strftime("%Y-%m-%d %H:%M:%S"),
            each["cause"],
            Text(each["status"], STYLES[each["status"]]),
            "–" if ended is None else f"{ended - each['started']:.1f}",
            Text(labels or report.get("not_enough", "–")),
        )
    if state["running"] is not None:
        done, in_all = state["progress"] or (0, 0)
        when = Text(f"a training is under way: {done} of {in_all} fits")
    else:
        when = Text(
            f"next training in {state['next_in_seconds']:,.0f} s, "
            f"or when {state['new_verdicts']:,} new verdicts have come"
        )
    return Group(table, Text(), when)


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
