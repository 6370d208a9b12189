"""`ray-fraud batch run | status | score`: the cold path by hand, and what it did.

Never: work of its own; the platform's batch actor does it, so that no two run at once.
"""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Group
from rich.table import Table
from rich.text import Text

from ray_fraud.cli.batch_score import score
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
from ray_fraud.cli.settings_file import leaves
from ray_fraud.domain.batch_settings import BatchSettings

STYLES = {"done": "green", "running": "yellow", "failed": "red", "gaps": "red"}


@click.group()
def batch() -> None:
    """The cold path: the log into the lake, every few minutes."""


batch.add_command(score)


@batch.command("run")
@click.option("--timeout", type=FiniteRange(min=1), default=3600.0, show_default=True, metavar="SECONDS")
@data_dir_option
@output_option
def run(timeout: float, data_dir: Path, output: Output) -> None:
    """Run the cold path now, and wait for its end; exit code 0 if it did its work.

    The answer's status is `gaps` if the log had lost offsets that were not read.
    """
    from cluster.local.cold_path_client import run_batch

    _connect(data_dir)
    done = run_batch(_tell, timeout)
    state = shown_status(done)
    show("batch run", done, output, lambda: run_view(done), "ok" if state == "done" else state)
    if state == "failed":
        sys.exit(1)


@batch.command("status")
@click.option("--count", type=WholeRange(1, 1000), default=10, show_default=True, help="Runs to show.")
@data_dir_option
@output_option
def status(count: int, data_dir: Path, output: Output) -> None:
    """The last runs, the present one, when the next is due, and the settings that hold."""
    from cluster.local.cold_path_client import batch_status

    _connect(data_dir)
    state = batch_status(count)
    show("batch status", state, output, lambda: status_view(state))


def _connect(data_dir: Path) -> None:
    from cluster.local.stack import LocalStack

    quiet_libraries()
    if not LocalStack(data_dir).connect_if_running():
        fail(f"{data_dir}: no platform runs here; start one with `ray-fraud up`")


def _tell(figures: dict[str, Any]) -> None:
    done = figures["accepted"] + sum(figures["rejected"].values()) + figures["holes"]
    if figures["to_read"]:
        progress.print(f"ingest: {done:,} of {figures['to_read']:,} offsets, {figures['commits']} commits")


def shown_status(run: dict[str, Any]) -> str:
    """The run's own, or `gaps` if it did its work and found offsets that are lost to the lake."""
    ingest = (run.get("report") or {}).get("ingest", {})
    lost = ingest.get("new_gaps") or ingest.get("taken_back")
    return "gaps" if run["status"] == "done" and lost else str(run["status"])


def _status_text(run: dict[str, Any]) -> Text:
    status = shown_status(run)
    return Text(status, STYLES[status])


def status_view(state: dict[str, Any]) -> Group:
    """The last runs and the settings for people."""
    columns = ("began", "cause", "status", "seconds", "rows", "refused", "gaps", "new findings")
    table = Table(*columns, box=None, header_style="bold")
    for each in state["runs"]:
        ingest = (each.get("report") or {}).get("ingest", {})
        patterns = (each.get("report") or {}).get("patterns", {})
        ended = each.get("ended")
        table.add_row(
            datetime.fromtimestamp(each["started"], UTC).strftime("%Y-%m-%d %H:%M:%S"),
            each["cause"],
            _status_text(each),
            "–" if ended is None else f"{ended - each['started']:.1f}",
            _figure(ingest.get("accepted")),
            _figure(sum(ingest["rejected"].values()) if ingest else None),
            _figure(len(ingest["new_gaps"]) if ingest else None),
            _figure(sum(patterns["new"].values()) if patterns else None),
        )
    failures = [
        Text(f"last failure: {each['error']}", "red") for each in state["runs"][:1] if each.get("error")
    ]
    newest: dict[str, Any] = next((each["report"] for each in state["runs"] if each.get("report")), {})
    places = shared_places_view(newest.get("ingest", {}))
    if state["running"] is not None:
        when = Text("a run is under way")
    else:
        when = Text(
            f"next run in {state['next_in_seconds']:,.0f} s, every {state['interval_seconds']:,.0f} s"
        )
    return Group(table, Text(), *failures, *places, when, *settings_view(state["settings"]))


def shared_places_view(ingest: dict[str, Any]) -> list[Text]:
    """Coordinates that say nothing, or perhaps nothing; reports of older releases have none."""
    lines = []
    if ingest.get("placeholder_locations"):
        rows = _figure(ingest["placeholder_locations"])
        lines.append(f"{rows} rows with lat = lon = 0: taken as no location")
    lines += [
        f"{place['lat']:g}, {place['lon']:g} is shared by {place['users']:,} users or more "
        f"({place['rows']:,} rows, {place['cities']:,} cities, {place['merchants']:,} merchants): perhaps "
        'the middle of a country or another stand-in for "unknown"; ask who sends it'
        for place in ingest.get("shared_places", [])
    ]
    return [Text(line, "yellow") for line in lines]


def settings_view(settings: dict[str, Any]) -> list[Text]:
    """Which of them are not the defaults."""
    defaults = dict(leaves(msgspec.to_builtins(BatchSettings())))
    changed = [(path, value) for path, value in leaves(settings) if value != defaults.get(path)]
    if not changed:
        return [Text("settings: the defaults (all of them with --output json)")]
    return [Text("settings that are not the defaults:")] + [
        Text(f"  {path} = {value} (default {defaults.get(path)})") for path, value in changed
    ]


def run_view(done: dict[str, Any]) -> Table:
    """One run for people: what it did, and what is lost."""
    table = Table(title="Batch run", box=None, show_header=False, title_justify="left")
    table.add_row("status", _status_text(done))
    if done.get("error"):
        table.add_row("error", Text(done["error"]))
        return table
    ingest = done["report"]["ingest"]
    table.add_row("rows written", _figure(ingest["accepted"]))
    table.add_row("records refused", _figure(sum(ingest["rejected"].values())))
    table.add_row("offsets without a record", _figure(ingest["holes"]))
    if ingest.get("misrouted"):
        what = f"{ingest['misrouted']:,} records of users of other partitions, see docs/producers.md"
        table.add_row(Text("MISROUTED", "red"), Text(what))
    table.add_row("files, commits", f"{ingest['files']:,}, {ingest['commits']:,}")
    table.add_row(
        "version of the table", "unchanged" if ingest["version"] is None else str(ingest["version"])
    )
    table.add_row("seconds", f"{done['ended'] - done['started']:.1f}")
    for gap in ingest["new_gaps"]:
        end = "its end" if gap["to_offset"] is None else f"{gap['to_offset']:,}"
        place = f"partition {gap['partition'][2]}: offsets {gap['from_offset']:,} to {end}"
        table.add_row(Text("LOST", "red"), Text(f"{place}: {gap['reason']}"))
    for lost in ingest.get("taken_back", ()):
        rows = f"{lost['rows']:,} rows removed, version {lost['version']} has them still"
        place = f"partition {lost['partition'][2]}: the log was cut off at offset {lost['from_offset']:,}"
        table.add_row(Text("TAKEN BACK", "red"), Text(f"{place}: {rows}"))
    for line in shared_places_view(ingest):
        table.add_row("coordinates", line)
    patterns = done["report"].get("patterns")
    if patterns is not None:
        new = ", ".join(f"{rule} {number}" for rule, number in sorted(patterns["new"].items())) or "none"
        table.add_row("rows looked at for patterns", _figure(patterns["rows"]))
        table.add_row("new findings", new)
        table.add_row("findings that grew", _figure(patterns["grown"]))
    features = done["report"].get("features")
    if features is not None:
        _add_features(table, features, done["report"].get("refresh"))
    care = done["report"].get("care")
    if care is not None:
        table.add_row("care of the lake", Text("; ".join(care["failed"]) or "complete"))
        if care.get("feature_tables"):
            table.add_row("feature tables removed", _figure(len(care["feature_tables"]["removed"])))
    return table


def _add_features(table: Table, features: dict[str, Any], refresh: dict[str, Any] | None) -> None:
    table.add_row("rows of features", _figure(features["rows"]))
    table.add_row("alerts found again", _figure(features["expected"] - features["missed"]))
    differ = features["missed"] + features["unexpected"]
    if differ:
        what = f"{features['missed']:,} missed by the hot path, {features['unexpected']:,} unexpected"
        table.add_row(Text("DIFFERENT", "red"), Text(what))
    if features["without_model"]:
        what = f"{features['found']:,} new alerts in {features['without_model']:,} rows"
        table.add_row("decided without a model", what)
    if refresh is not None and refresh["digest"] is not None:
        state = "new" if refresh["refreshed"] else "unchanged"
        sizes = f"{refresh['merchants']:,} merchants, {refresh['profiles']:,} profiles"
        table.add_row("feature tables", f"{sizes}, {state}")


def _figure(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"
