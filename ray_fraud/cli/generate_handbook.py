"""`ray-fraud generate --scenario handbook`: the public data set, or fresh data like it.

Never: what the data are; that is the generator's.
"""

from __future__ import annotations

import math
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ray_fraud.cli.generate_run import ProgressLine, facts_table, kafka_of, run_stream
from ray_fraud.cli.output import Output, show
from ray_fraud.generator.pace import SteadyClock
from ray_fraud.generator.send import SendReport
from ray_fraud.generator.targets import KafkaTarget
from ray_fraud.generator.transaction import HandbookScenario

if TYPE_CHECKING:
    from ray_fraud.generator.handbook import HandbookSettings, HandbookTransactions

HANDBOOK = "handbook"
_ALWAYS = {"scenarios", "seed_shift", "days", "data_dir", "output"}
_FITTING = {
    True: _ALWAYS | {"file"},
    False: _ALWAYS | {"tps", "speed", "seconds", "count", "labels", "kafka", "connections_file"},
}
"""Options that mean something, with a file and without one."""


def generate_handbook(context: click.Context) -> None:
    """The command, once it is known that its scenario is the handbook."""
    options = context.params
    _refuse_unfit(context, options["file"] is not None)
    settings = _settings(options)
    clock, output = SteadyClock(), options["output"]
    if options["file"] is not None:
        _to_file(options["file"], settings, clock, output)
    else:
        _to_kafka(options, settings, clock, output)


def _refuse_unfit(context: click.Context, to_file: bool) -> None:
    options = context.params
    if set(options["scenarios"]) != {HANDBOOK}:
        raise click.UsageError(
            f"--scenario {HANDBOOK} is a data set of its own: leave the other scenarios out"
        )
    for each in context.command.params:
        given = context.get_parameter_source(each.name or "") is ParameterSource.COMMANDLINE
        if given and each.name not in _FITTING[to_file]:
            beside = " to a file" if to_file else ""
            raise click.UsageError(
                f"{each.opts[0]} means nothing with --scenario {HANDBOOK}{beside}: leave it out"
            )
    if options["tps"] and options["speed"]:
        raise click.UsageError("--tps and --speed fix each other here: leave one of them out")


def _settings(options: dict[str, Any]) -> HandbookSettings:
    from ray_fraud.generator.handbook import HandbookSettings
    from ray_fraud.generator.run_plan import PlanError

    days = float(HandbookSettings().days if options["days"] is None else options["days"])
    if not days.is_integer():
        raise PlanError(f"--days {days:g}: the data of --scenario {HANDBOOK} have whole days")
    try:
        return HandbookSettings(seed_shift=options["seed_shift"] or 0, days=int(days))
    except ValueError as error:
        raise PlanError(f"--{str(error).replace('_', '-', 1)}") from error


def _made(settings: HandbookSettings, clock: SteadyClock) -> HandbookTransactions:
    from ray_fraud.generator.handbook import handbook_transactions

    line = ProgressLine(clock)

    def customers_done(count: int) -> None:
        line(lambda: f"making: {count:,} of {settings.customers:,} customers")

    return handbook_transactions(settings, customers_done)


def _to_file(file: Path, settings: HandbookSettings, clock: SteadyClock, output: Output) -> None:
    from ray_fraud.generator.handbook_file import check_name, write_handbook

    check_name(file)
    began = clock.now()
    made = _made(settings, clock)
    write_handbook(made, file)
    facts = _facts(str(file), made, settings) | {"seconds": round(clock.now() - began, 3)}
    show("generate", facts, output, lambda: facts_table(facts))


def _facts(target: str, made: HandbookTransactions, settings: HandbookSettings) -> dict[str, Any]:
    import numpy as np

    by_scenario = np.bincount(made.scenario, minlength=len(HandbookScenario) + 1)[1:].tolist()
    return {
        "target": target,
        "transactions": len(made),
        "frauds": int(made.fraud.sum()),
        "frauds_by_scenario": {
            scenario.value: count for scenario, count in zip(HandbookScenario, by_scenario, strict=True)
        },
        "seed_shift": settings.seed_shift,
        "first_event_time": float(made.timestamp[0]),
        "last_event_time": float(made.timestamp[-1]),
        "digest": made.digest(),
    }


def _to_kafka(
    options: dict[str, Any], settings: HandbookSettings, clock: SteadyClock, output: Output
) -> None:
    from ray_fraud.generator.handbook_stream import handbook_stream
    from ray_fraud.stores.log.kafka_writer import KafkaLogWriter

    connection, topics = kafka_of(options["kafka"], options["connections_file"], options["data_dir"])
    with closing(KafkaLogWriter(connection)) as writer:
        made = _made(settings, clock)
        report = run_stream(
            islice(handbook_stream(made), options["count"]),
            KafkaTarget(writer, topics),
            clock,
            options["labels"],
            event_start=float(made.timestamp[0]),
            speed=_speed(options, made, settings),
            wall_limit_seconds=options["seconds"],
        )
    facts = _sent(report, f"{topics.input} on {connection.bootstrap}", settings)
    show("generate", facts, output, lambda: facts_table(facts))


def _speed(options: dict[str, Any], made: HandbookTransactions, settings: HandbookSettings) -> float:
    """Seconds of event time per second: --tps is the mean over day and night."""
    from ray_fraud.generator.handbook import DAY_SECONDS

    if options["tps"]:
        return float(options["tps"] * settings.days * DAY_SECONDS / len(made))
    return float(options["speed"] or math.inf)


def _sent(report: SendReport, target: str, settings: HandbookSettings) -> dict[str, Any]:
    return {
        "target": target,
        "transactions": report.transactions,
        "frauds": sum(report.frauds.values()),
        "frauds_by_scenario": {name.value: count for name, count in sorted(report.frauds.items())},
        "labels": report.labels,
        "seed_shift": settings.seed_shift,
        "first_event_time": report.first_event_time,
        "last_event_time": report.last_event_time,
        "seconds": round(report.seconds, 3),
        "tps": round(report.tps, 1),
        "late_max_ms": round(report.late_max_ms, 1),
        "late_over_20_ms": report.late_over_20_ms,
    }
