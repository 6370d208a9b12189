"""`ray-fraud generate`: made-up transactions with ground truth, to Kafka or to a file.

Never: deciding what a transaction looks like; that is the generator's.
"""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from ray_fraud.cli.generate_handbook import HANDBOOK, generate_handbook
from ray_fraud.cli.generate_run import facts_table, kafka_of, run_stream
from ray_fraud.cli.output import Output, data_dir_option, output_option, quiet_libraries, show
from ray_fraud.cli.ranges import FiniteRange, WholeRange
from ray_fraud.generator.pace import DEFAULT_TPS, SteadyClock
from ray_fraud.generator.send import Labels, SendReport
from ray_fraud.generator.stopping import stop_on_signals
from ray_fraud.generator.targets import FileTarget, KafkaTarget, Target
from ray_fraud.generator.transaction import Scenario
from ray_fraud.stores.connections import KafkaConnection, Topics
from ray_fraud.stores.errors import StoreError

if TYPE_CHECKING:
    from ray_fraud.generator.load_run import LoadPlan
    from ray_fraud.generator.run_plan import RunPlan, Wishes

POSITIVE = FiniteRange(min=0, min_open=True)
DATES = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])


@click.command()
@click.option(
    "--tps",
    type=FiniteRange(min=0),
    help=f"A second; 0: as fast as it goes.  [default: {DEFAULT_TPS:g}]",
)
@click.option("--seconds", type=POSITIVE, help="Stop after this time.")
@click.option("--count", type=WholeRange(min=1), help="Stop after this many transactions.")
@click.option(
    "--users", type=WholeRange(min=1, max=100_000_000), default=100, show_default=True, help="User ids 1 … N."
)
@click.option("--seed", type=WholeRange(min=0), default=0, show_default=True, help="Decides every draw.")
@click.option("--start", type=DATES, help="Simulated clock from here on (UTC).")
@click.option(
    "--days",
    type=FiniteRange(min=0, max=36_500, min_open=True),
    help="Simulated clock: so much history (up to now without --start).",
)
@click.option("--speed", type=POSITIVE, help="Seconds of simulated time per second.")
@click.option("--fraud-share", type=FiniteRange(0, 1, max_open=True), default=0.02, show_default=True)
@click.option(
    "--scenario",
    "scenarios",
    type=click.Choice([*(scenario.value for scenario in Scenario), HANDBOOK], case_sensitive=False),
    multiple=True,
    help=f"Only this fraud; repeatable. {HANDBOOK}: the Fraud Detection Handbook's data set, alone.",
)
@click.option(
    "--seed-shift",
    type=WholeRange(min=0),
    help=f"With --scenario {HANDBOOK}: fresh data; added to each of its seeds.  [default: 0]",
)
@click.option(
    "--labels",
    type=click.Choice(Labels, case_sensitive=False),
    default=Labels.FRAUD,
    show_default=True,
    help="What gets a label.",
)
@click.option(
    "--to",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"Write JSON lines here instead ({HANDBOOK}: Parquet, CSV or JSON lines, by the ending).",
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
@click.pass_context
def generate(
    context: click.Context,
    /,
    file: Path | None,
    prepared: Path | None,
    kafka: str | None,
    connections_file: Path | None,
    data_dir: Path,
    output: Output,
    labels: Labels,
    seed_shift: int | None,
    **wishes: Any,
) -> None:
    """Make transactions with frauds among them, until Ctrl-C or the given end.

    Without options: 75 a second by 100 users to the local stack, dated now. With --start or --days the
    clock is simulated, so that months of history take minutes.
    """
    from ray_fraud.generator.load_run import LoadPlan
    from ray_fraud.generator.merchants import merchants_of
    from ray_fraud.generator.run_plan import plan_run
    from ray_fraud.stores.log.kafka_writer import KafkaLogWriter

    quiet_libraries()
    if HANDBOOK in wishes["scenarios"]:
        generate_handbook(context)
        return
    if seed_shift is not None:
        raise click.UsageError(f"--seed-shift means something with --scenario {HANDBOOK} only; use --seed")
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
        _send_prepared(prepared, load, *kafka_of(kafka, connections_file, data_dir), output)
        return
    clock, wanted = SteadyClock(), _wishes(wishes, keeps_pace=file is None)
    plan = plan_run(wanted, clock.now())
    if file is not None:
        _to_file(file, plan, clock, labels, output)
        return
    connection, topics = kafka_of(kafka, connections_file, data_dir)
    with closing(KafkaLogWriter(connection)) as writer:
        merchants_of(plan.settings.seed)
        # Planned anew: connecting and naming merchants took time, and the first record is due at once.
        plan = plan_run(wanted, clock.now())
        report = _run(plan, KafkaTarget(writer, topics), clock, labels)
    _show(report, plan, f"{topics.input} on {connection.bootstrap}", output)


def _wishes(options: dict[str, Any], *, keeps_pace: bool) -> Wishes:
    from ray_fraud.generator.run_plan import Wishes
    from ray_fraud.generator.stream import ALL_SCENARIOS

    start: datetime | None = options.pop("start")
    scenarios = tuple(map(Scenario, options["scenarios"])) or ALL_SCENARIOS
    return Wishes(
        **options | {"scenarios": scenarios},
        start_time=None if start is None else start.replace(tzinfo=UTC).timestamp(),
        keeps_pace=keeps_pace,
    )


def _to_file(file: Path, plan: RunPlan, clock: SteadyClock, labels: Labels, output: Output) -> None:
    from ray_fraud.generator.run_plan import PlanError

    if plan.settings.length_seconds is None:
        raise PlanError("--to needs an end: add --count N, --seconds S or --days N")
    _show(_run(plan, FileTarget(file), clock, labels), plan, str(file), output)


def _run(plan: RunPlan, target: Target, clock: SteadyClock, labels: Labels) -> SendReport:
    from ray_fraud.generator.stream import transactions

    return run_stream(
        transactions(plan.settings),
        target,
        clock,
        labels,
        event_start=plan.settings.start_time,
        speed=plan.speed,
        wall_limit_seconds=plan.wall_limit_seconds,
    )


def _send_prepared(
    file: Path, plan: LoadPlan, connection: KafkaConnection, topics: Topics, output: Output
) -> None:
    from ray_fraud.generator.channel import KafkaBatchChannel
    from ray_fraud.generator.load_run import run_load
    from ray_fraud.generator.prepared import read_templates

    templates = read_templates(file)
    channel = KafkaBatchChannel(connection, topics.input)
    with closing(channel), stop_on_signals() as stopped:
        report = run_load(templates, channel, SteadyClock(), plan, stopped)
    if report.failed:
        raise StoreError("kafka", f"{report.failed} of {report.sent} records failed: {channel.first_error}")
    facts = msgspec.to_builtins(report)
    show("generate", facts, output, lambda: facts_table({"target": topics.input, **facts}))


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
    show("generate", facts, output, lambda: facts_table(facts))
