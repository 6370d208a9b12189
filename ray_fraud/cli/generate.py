"""`ray-fraud generate`: made-up transactions with ground truth, to Kafka or to a file.

Never: deciding what a transaction looks like; that is the generator's.
"""

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.table import Table

from cluster.local.failures import LocalStackError
from ray_fraud.cli.output import (
    Output,
    data_dir_option,
    expects,
    output_option,
    progress,
    quiet_libraries,
    show,
)
from ray_fraud.generator.channel import KafkaBatchChannel
from ray_fraud.generator.connections_file import ConnectionsFileError, read_connections
from ray_fraud.generator.load_run import LoadPlan, run_load
from ray_fraud.generator.merchants import merchants_of
from ray_fraud.generator.pace import Schedule, SteadyClock
from ray_fraud.generator.prepared import PreparedFileError, read_templates
from ray_fraud.generator.run_plan import DEFAULT_TPS, PlanError, RunPlan, Wishes, plan_run
from ray_fraud.generator.send import Labels, SendReport, send
from ray_fraud.generator.stopping import stop_on_signals
from ray_fraud.generator.stream import ALL_SCENARIOS, transactions
from ray_fraud.generator.targets import FileTarget, KafkaTarget, Target
from ray_fraud.generator.transaction import Scenario
from ray_fraud.stores.connections import KafkaConnection, Topics
from ray_fraud.stores.errors import StoreError
from ray_fraud.stores.log.kafka_writer import KafkaLogWriter

POSITIVE = click.FloatRange(min=0, min_open=True)
DATES = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])
_PROGRESS_SECONDS = {True: 0.2, False: 5.0}
"""Between two progress lines, on a terminal and elsewhere."""
_UNGROUPED = {"seed", "started_ms", "ended_ms"}


@click.command()
@click.option(
    "--tps",
    type=click.FloatRange(min=0),
    help=f"A second; 0: as fast as it goes.  [default: {DEFAULT_TPS:g}]",
)
@click.option("--seconds", type=POSITIVE, help="Stop after this time.")
@click.option("--count", type=click.IntRange(min=1), help="Stop after this many transactions.")
@click.option("--users", type=click.IntRange(min=1), default=100, show_default=True, help="User ids 1 … N.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Decides every draw.")
@click.option("--start", type=DATES, help="Simulated clock from here on (UTC).")
@click.option("--days", type=POSITIVE, help="Simulated clock: so much history (up to now without --start).")
@click.option("--speed", type=POSITIVE, help="Seconds of simulated time per second.")
@click.option("--fraud-share", type=click.FloatRange(0, 1, max_open=True), default=0.02, show_default=True)
@click.option(
    "--scenario",
    "scenarios",
    type=click.Choice(Scenario, case_sensitive=False),
    multiple=True,
    help="Only this fraud; repeatable.",
)
@click.option(
    "--labels",
    type=click.Choice(Labels, case_sensitive=False),
    default=Labels.FRAUD,
    show_default=True,
    help="What gets a label.",
)
@click.option(
    "--to", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write JSON lines here instead."
)
@click.option(
    "--prepared",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Send the records of a file made with --to, under new times and ids.",
)
@click.option("--kafka", metavar="HOST:PORT", help="This broker, without log-in, instead of the stack's.")
@click.option(
    "--connections-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Connections (JSON) instead of the stack's: a broker with log-in or TLS.",
)
@data_dir_option
@output_option
@expects(LocalStackError, StoreError, PlanError, PreparedFileError, ConnectionsFileError, OSError)
def generate(
    file: Path | None,
    prepared: Path | None,
    kafka: str | None,
    connections_file: Path | None,
    data_dir: Path,
    output: Output,
    labels: Labels,
    **wishes: Any,
) -> None:
    """Make transactions with frauds among them, until Ctrl-C or the given end.

    Without options: 75 a second by 100 users to the local stack, dated now. With --start or --days the
    clock is simulated, so that months of history take minutes.
    """
    quiet_libraries()
    if prepared is not None and file is not None:
        raise click.UsageError("--prepared sends a file and --to writes one: choose one of them")
    if prepared is not None:
        if unfit := [name for name in ("start", "days", "speed") if wishes[name] is not None]:
            raise click.UsageError(f"--{unfit[0]}: a prepared file is sent dated now; leave it out")
        load = LoadPlan(
            DEFAULT_TPS if wishes["tps"] is None else wishes["tps"],
            wishes["seconds"],
            wishes["count"],
            wishes["seed"],
        )
        _send_prepared(prepared, load, *_kafka(kafka, connections_file, data_dir), output)
        return
    clock, wanted = SteadyClock(), _wishes(wishes, keeps_pace=file is None)
    plan = plan_run(wanted, clock.now())
    if file is not None:
        _to_file(file, plan, clock, labels, output)
        return
    connection, topics = _kafka(kafka, connections_file, data_dir)
    with closing(KafkaLogWriter(connection)) as writer:
        merchants_of(plan.settings.seed)
        # Planned anew: connecting and naming merchants took time, and the first record is due at once.
        plan = plan_run(wanted, clock.now())
        report = _run(plan, KafkaTarget(writer, topics), clock, labels)
    _show(report, plan, f"{topics.transactions} on {connection.bootstrap}", output)


def _wishes(options: dict[str, Any], *, keeps_pace: bool) -> Wishes:
    start: datetime | None = options.pop("start")
    return Wishes(
        **options | {"scenarios": options["scenarios"] or ALL_SCENARIOS},
        start_time=None if start is None else start.replace(tzinfo=UTC).timestamp(),
        keeps_pace=keeps_pace,
    )


def _kafka(
    bootstrap: str | None, connections_file: Path | None, data_dir: Path
) -> tuple[KafkaConnection, Topics]:
    if bootstrap is not None:
        return KafkaConnection(bootstrap), Topics()
    if connections_file is not None:
        connections = read_connections(connections_file)
    else:
        from cluster.local.stack import load_connections

        connections = load_connections(data_dir)
    return connections.kafka, connections.topics


def _to_file(file: Path, plan: RunPlan, clock: SteadyClock, labels: Labels, output: Output) -> None:
    if plan.settings.length_seconds is None:
        raise PlanError("--to needs an end: add --count N, --seconds S or --days N")
    _show(_run(plan, FileTarget(file), clock, labels), plan, str(file), output)


def _run(plan: RunPlan, target: Target, clock: SteadyClock, labels: Labels) -> SendReport:
    stream = transactions(plan.settings)
    began = clock.now()
    schedule = Schedule(plan.settings.start_time, began, plan.speed)
    with stop_on_signals() as stopped:

        def should_stop() -> bool:
            limit = plan.wall_limit_seconds
            return stopped() or (limit is not None and clock.now() - began >= limit)

        return send(
            stream,
            target,
            schedule,
            clock,
            labels=labels,
            should_stop=should_stop,
            progress=_Progress(clock),
        )


def _send_prepared(
    file: Path, plan: LoadPlan, connection: KafkaConnection, topics: Topics, output: Output
) -> None:
    templates = read_templates(file)
    channel = KafkaBatchChannel(connection, topics.transactions)
    with closing(channel), stop_on_signals() as stopped:
        report = run_load(templates, channel, SteadyClock(), plan, stopped)
    if report.failed:
        raise StoreError("kafka", f"{report.failed} of {report.sent} records failed: {channel.first_error}")
    facts = msgspec.to_builtins(report)
    show("generate", facts, output, lambda: _table({"target": topics.transactions, **facts}))


class _Progress:
    """One line on stderr now and then; on a terminal it stays in place."""

    def __init__(self, clock: SteadyClock) -> None:
        self._clock = clock
        self._last = clock.now()

    def __call__(self, report: SendReport) -> None:
        now = self._clock.now()
        if now - self._last < _PROGRESS_SECONDS[progress.is_terminal]:
            return
        self._last = now
        progress.print(
            f"{report.seconds:7.1f} s  {report.transactions:,} transactions  {report.tps:,.1f}/s  "
            f"{sum(report.frauds.values()):,} frauds",
            end="\r" if progress.is_terminal else "\n",
        )


def _show(report: SendReport, plan: RunPlan, target: str, output: Output) -> None:
    settings = plan.settings
    facts: dict[str, Any] = {
        "target": target,
        "transactions": report.transactions,
        "frauds": sum(report.frauds.values()),
        "frauds_by_scenario": {scenario.value: count for scenario, count in sorted(report.frauds.items())},
        "labels": report.labels,
        "users": settings.users,
        "seed": settings.seed,
        "first_event_time": report.first_event_time,
        "last_event_time": report.last_event_time,
        "seconds": round(report.seconds, 3),
        "tps": round(report.tps, 1),
        "late_max_ms": round(report.late_max_ms, 1),
        "late_over_20_ms": report.late_over_20_ms,
    }
    show("generate", facts, output, lambda: _table(facts))


def _table(facts: dict[str, Any]) -> Table:
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
