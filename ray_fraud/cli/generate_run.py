"""What every kind of `ray-fraud generate` shares: where it sends, the sending with its progress, the table.

Never: an option; what a transaction looks like.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from cluster.local.stack_record import ExternalServers, load_connections
from ray_fraud.cli.external_servers import with_addresses
from ray_fraud.cli.output import progress
from ray_fraud.generator.connections_file import read_connections
from ray_fraud.generator.pace import Clock, Schedule, SteadyClock
from ray_fraud.generator.send import Labels, SendReport, send
from ray_fraud.generator.stopping import stop_on_signals
from ray_fraud.generator.targets import Target
from ray_fraud.generator.transaction import GeneratedTransaction
from ray_fraud.stores.connections import KafkaConnection, Topics

_PROGRESS_SECONDS = {True: 0.2, False: 5.0}
"""Between two progress lines, on a terminal and elsewhere."""
_UNGROUPED = {"seed", "seed_shift", "started_ms", "ended_ms"}


def kafka_of(
    bootstrap: str | None, connections_file: Path | None, data_dir: Path
) -> tuple[KafkaConnection, Topics]:
    """The broker that the options name, else the stack's."""
    if bootstrap is not None:
        # A host that nobody can be is told at once, not after the client's patience.
        named = with_addresses(ExternalServers(), kafka=bootstrap).kafka
        return named or KafkaConnection(bootstrap), Topics()
    if connections_file is not None:
        connections = read_connections(connections_file)
    else:
        connections = load_connections(data_dir)
    return connections.kafka, connections.topics


def run_stream(
    stream: Iterable[GeneratedTransaction],
    target: Target,
    clock: SteadyClock,
    labels: Labels,
    *,
    event_start: float,
    speed: float,
    wall_limit_seconds: float | None,
) -> SendReport:
    """Send the stream from now on, until its end, the limit or Ctrl-C."""
    began = clock.now()
    schedule = Schedule(event_start, began, speed)
    with stop_on_signals() as stopped:

        def should_stop() -> bool:
            return stopped() or (wall_limit_seconds is not None and clock.now() - began >= wall_limit_seconds)

        return send(
            stream,
            target,
            schedule,
            clock,
            labels=labels,
            should_stop=should_stop,
            progress=_sent_lines(clock),
        )


class ProgressLine:
    """One line on stderr now and then; on a terminal it stays in place."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = clock.now()

    def __call__(self, text: Callable[[], str]) -> None:
        now = self._clock.now()
        if now - self._last < _PROGRESS_SECONDS[progress.is_terminal]:
            return
        self._last = now
        progress.print(text(), end="\r" if progress.is_terminal else "\n")


def facts_table(facts: dict[str, Any]) -> Table:
    """Names and values, for people."""
    table = Table(box=None, show_header=False)
    for name, value in facts.items():
        if isinstance(value, dict):
            text = ", ".join(f"{key} {count}" for key, count in value.items()) or "none"
        elif name.endswith("_event_time") and value is not None:
            text = datetime.fromtimestamp(value, UTC).isoformat(" ", "seconds")
        else:
            text = f"{value:,}" if isinstance(value, int | float) and name not in _UNGROUPED else str(value)
        table.add_row(name.replace("_", " "), text)
    return table


def _sent_lines(clock: Clock) -> Callable[[SendReport], None]:
    line = ProgressLine(clock)
    return lambda report: line(
        lambda: (
            f"{report.seconds:7.1f} s  {report.transactions:,} transactions  {report.tps:,.1f}/s  "
            f"{sum(report.frauds.values()):,} frauds"
        )
    )
