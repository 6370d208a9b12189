"""`ray-fraud status` and `ray-fraud down`.

Never: ending a process that `up` did not start.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Group
from rich.table import Table
from rich.text import Text

from cluster.local.stack_record import Health
from ray_fraud.cli.output import (
    Output,
    data_dir_option,
    output_option,
    progress,
    quiet_libraries,
    show,
)

if TYPE_CHECKING:
    from cluster.local.platform_state import PlatformState
    from cluster.local.stack import LocalStack

STYLES = {Health.HEALTHY: "green", Health.UNHEALTHY: "yellow", Health.DOWN: "red"}


@click.command()
@data_dir_option
@output_option
def status(data_dir: Path, output: Output) -> None:
    """Every service's address and health, and how far each partition is; exit code 0 if all are healthy."""
    from cluster.local.platform_state import platform_state
    from cluster.local.stack import LocalStack

    quiet_libraries()
    stack = LocalStack(data_dir)
    state = platform_state(stack)
    show(
        "status",
        platform_data(stack, state),
        output,
        lambda: Group(services_table(state), *hot_path_tables(state), *warning_lines(state)),
        "ok" if state.healthy else "failed",
    )
    if not state.healthy:
        sys.exit(1)


@click.command()
@data_dir_option
@output_option
def down(data_dir: Path, output: Output) -> None:
    """Drain the hot path and end every process that `up` started; data stays, servers of your own go on."""
    from cluster.local.shut_down import bring_down
    from cluster.local.stack import LocalStack

    quiet_libraries()
    stack = LocalStack(data_dir, progress=progress.print)
    count = len(stack.ledger.marked())
    bring_down(stack, progress.print)
    data = {"data_dir": str(stack.paths.data_dir), "ended_processes": count}
    text = f"{count} processes ended" if count else "nothing runs here"
    show("down", data, output, lambda: Text(f"{stack.paths.data_dir}: {text}"))


def platform_data(stack: LocalStack, state: PlatformState) -> dict[str, Any]:
    """What `--output json` tells of a platform."""
    hot_path = state.hot_path
    return {
        "data_dir": str(stack.paths.data_dir),
        "healthy": state.healthy,
        "services": msgspec.to_builtins(state.services),
        "health": hot_path.get("health", {}),
        "problems": [*hot_path.get("problems", []), *_sink_problem(state)],
        "warnings": hot_path.get("warnings", []),
        "sink": state.sink,
        "split": hot_path.get("split"),
        "partitions": [{**each, "lag": _lag(each)} for each in hot_path.get("partitions", [])],
    }


def services_table(state: PlatformState) -> Table:
    """One line per service: health and address."""
    table = Table("service", "health", "address", box=None, header_style="bold")
    for name, service in state.services.items():
        external = " (external)" if service.external else ""
        health = Text(service.health.value, STYLES[service.health])
        table.add_row(name.replace("_", " "), health, Text(f"{service.address or '–'}{external}"))
    return table


def warning_lines(state: PlatformState) -> list[Text]:
    """What somebody should change although everything runs."""
    found = state.hot_path.get("warnings", []) if state.hot_path else []
    return [Text(f"warning  {warning}", style="yellow") for warning in found]


def hot_path_tables(state: PlatformState) -> list[Table | Text]:
    """One line per partition, what is wrong, and the models; nothing if there is no hot path."""
    if not state.hot_path:
        return []
    columns = ("partition", "epoch", "settled", "cut", "log end", "lag", "users", "restarts", "state")
    table = Table(*columns, box=None, header_style="bold")
    for each in state.hot_path["partitions"]:
        figures = ("partition", "epoch", "settled_offset", "cut_offset", "log_end")
        lag, users, restarts = _lag(each), each.get("users"), each.get("restarts")
        cells = [*(each.get(name) for name in figures), lag, users, restarts]
        table.add_row(*(_figure(cell) for cell in cells), _partition_state(each))
    arms = state.hot_path["split"]["arms"]
    shares = ", ".join(f"{label} {percent:g} %" for label, percent in arms.items()) or "rules only"
    told = [*state.hot_path.get("problems", []), *_sink_problem(state)]
    problems = [Text(problem, "red") for problem in told]
    return [Text(), table, Text(), *problems, Text(f"models  {shares}")]


def _sink_problem(state: PlatformState) -> list[str]:
    """What the sink has failed with lately; nothing if its last round went well."""
    problem = state.sink.get("problem")
    return [f"sink: {problem} (for {state.sink['failing_seconds']:.0f} s)"] if problem else []


def _partition_state(partition: dict[str, Any]) -> Text:
    problem = partition.get("problem")
    if "epoch" not in partition:
        why = partition.get("error") or partition.get("last_end") or "starting"
        return Text("not checked", "red") if "restarts" not in partition else Text(f"no owner: {why}")
    parts = [Text("replaying" if partition["replaying"] else "live")]
    if problem:
        parts = [Text(problem.partition(":")[0], "red")]
    if partition["dead_letter_alarm"]:
        parts.append(Text("too many dead letters", "red"))
    if partition["misrouted_alarm"]:
        parts.append(Text(f"{partition['misrouted']:,} misrouted records, see docs/producers.md", "red"))
    if partition["unreadable"]:
        lost = f"{partition['unreadable']:,} offsets cannot be read, the last ones "
        parts.append(Text(f"{lost}{partition['unreadable_last']}", "red"))
    return Text(", ").join(parts)


def _figure(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _lag(partition: dict[str, Any]) -> int | None:
    """Records that wait; None if that is not known."""
    end, settled = partition.get("log_end"), partition.get("settled_offset")
    return None if end is None or settled is None else max(0, end - settled)
