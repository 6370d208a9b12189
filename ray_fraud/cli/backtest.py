"""`ray-fraud backtest`: what rules and models would have done over a labelled file or a period of the lake.

Never: a stack that has to run, unless registered models or the lake's verdicts are asked for.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from cluster.local.paths import StackPaths
from cluster.local.stack_record import load_connections
from ray_fraud.cli.backtest_view import report_data, report_view
from ray_fraud.cli.import_options import layout_options, understood
from ray_fraud.cli.moments import duration, moment, moment_of
from ray_fraud.cli.output import (
    Output,
    data_dir_option,
    output_option,
    quiet_libraries,
    show,
)
from ray_fraud.cli.ranges import WholeRange
from ray_fraud.cli.settings_file import DETECTION, SettingsFile
from ray_fraud.cli.steps import steps_bar
from ray_fraud.cli.workers import default_workers
from ray_fraud.domain.alert import HOT_RULES, RuleName
from ray_fraud.domain.settings import DetectionSettings

if TYPE_CHECKING:
    from batch.backtest.history import Delays
    from batch.backtest.measure import GivenModel
    from batch.backtest.read_file import ReadHistory
    from batch.backtest.request import BacktestRequest
    from batch.training.labelled import Period
    from batch.training.settings import Algorithm

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
LABEL = re.compile(r"[^:\s/]+:[1-9][0-9]*")
RULES_BY_NAME = {rule.value: rule for rule in RuleName}

C = TypeVar("C", bound=Callable[..., Any])
_When = "DATE_OR_TIME"


def _period_options(command: C) -> C:
    for name, text in reversed(
        [
            ("train-start", "Train models on events from here on …"),
            ("train-end", "… and before this."),
            ("test-start", "Judge events from here on …  [default: as soon as training's labels are known]"),
            ("test-end", "… and before this.  [default: the end]"),
            (
                "known-from",
                "Of compromised cards: older frauds do not count.  [default: the training's start]",
            ),
        ]
    ):
        command = click.option(f"--{name}", callback=moment, metavar=_When, help=text)(command)
    return command


def _delay_options(command: C) -> C:
    for name, default, text in reversed(
        [
            ("label-delay", "7d", "From a transaction to its verdict, for all three that follow."),
            ("feature-delay", None, "… to when features show it."),
            ("training-delay", None, "… to when training may use it."),
            ("filter-delay", None, "… to when its card is known as compromised."),
            ("refresh", "1h", "Event time between two refreshes of the feature tables."),
        ]
    ):
        command = click.option(
            f"--{name}",
            callback=duration,
            default=default,
            show_default=default,
            metavar="DURATION",
            help=text,
        )(command)
    return command


def _rules(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[RuleName, ...]:
    if value is None:
        return HOT_RULES
    names = [name.strip() for name in value.split(",")]
    if unknown := [name for name in names if name not in RULES_BY_NAME]:
        raise click.BadParameter(f"there is no rule {unknown[0]}; rules are {', '.join(RULES_BY_NAME)}")
    return tuple(RULES_BY_NAME[name] for name in names)


@click.command("backtest")
@click.argument("source", metavar="FILE_OR_PERIOD")
@_period_options
@_delay_options
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="MODEL",
    help="An algorithm to train, a registered NAME:VERSION, or a folder with a model's files; repeatable.  "
    "[default: all algorithms, without a training the models of a first start]",
)
@click.option("--rules", callback=_rules, metavar="NAMES", help="With commas.  [default: the hot rules]")
@click.option("--top-k", type=WholeRange(min=1), default=100, show_default=True, help="Cards a day.")
@click.option(
    "--exclude-known-compromised", is_flag=True, help="Leave cards with a known fraud out of the test."
)
@layout_options
@click.option("--training", "training_file", type=FILE, help="TOML of training settings.")
@click.option("--settings", "settings_file", type=FILE, help="TOML of detection settings.")
@click.option("--card-key-file", type=FILE, help="The key of card tokens, hex, for files with card numbers.")
@click.option(
    "--alerts",
    "alerts_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the test's alerts there, Parquet.",
)
@click.option("--workers", type=WholeRange(1, 64), default=default_workers, show_default="one per core")
@data_dir_option
@output_option
def backtest(source: str, *, data_dir: Path, output: Output, workers: int, **options: Any) -> None:
    """Run the hot path's fold, rules and models over labelled history and measure what they find.

    FILE_OR_PERIOD is a Parquet, CSV or JSON file with a label column (`--map fraud=COLUMN`), or a period of
    the lake like 2026-10-01..2026-11-01, whose labels are the verdicts. Periods include their start, not
    their end.
    """
    from batch.backtest.alerts_file import write_alerts
    from batch.backtest.given import first_models
    from batch.backtest.job import backtest as run_backtest
    from batch.backtest.parts import in_processes
    from batch.backtest.training import train_in_processes

    quiet_libraries()
    began = time.monotonic()
    detection = DETECTION.holding(StackPaths(data_dir), options["settings_file"])
    trained, others = _split_models(options["models"], training=options["train_start"] is not None)
    delays, request = _request(options, detection, trained)
    given = _given(others, data_dir)
    with steps_bar() as tell:
        read = _read(source, options, detection, data_dir, workers, delays.training_ms, tell)
        if not given and request.train is None:
            # They take seconds: only once there is something to judge them by.
            given = first_models()
        done = run_backtest(
            read.history, request, given, in_processes(workers), train_in_processes(workers), tell
        )
    if options["alerts_file"] is not None:
        write_alerts(options["alerts_file"], read.history, done)
    data = report_data(done.report, delays, read.refusals, time.monotonic() - began)
    show("backtest", data, output, lambda: report_view(data))


def _request(
    options: dict[str, Any], detection: DetectionSettings, trained: tuple[Algorithm, ...]
) -> tuple[Delays, BacktestRequest]:
    from batch.backtest.history import Delays
    from batch.backtest.request import BacktestRequest
    from batch.training.settings import TrainingSettings

    delay = options["label_delay"]
    delays = Delays(*(options[name] or delay for name in ("feature_delay", "training_delay", "filter_delay")))
    train, test = (_period(options, name) for name in ("train", "test"))
    file = options["training_file"]
    kind = SettingsFile(TrainingSettings, "training.toml")
    training = TrainingSettings() if file is None else kind.read(file)
    if trained:
        training = msgspec.structs.replace(training, algorithms=trained)
    return delays, BacktestRequest(
        test=test,
        train=train,
        delays=delays,
        detection=detection,
        training=training,
        refresh_ms=options["refresh"],
        rules=options["rules"],
        top_k=options["top_k"],
        exclude_compromised=options["exclude_known_compromised"],
        known_from_ms=options["known_from"],
    )


def _period(options: dict[str, Any], name: str) -> Period | None:
    from batch.training.labelled import Period

    start, end = options[f"{name}_start"], options[f"{name}_end"]
    if (start is None) != (end is None):
        missing = f"--{name}-start" if start is None else f"--{name}-end"
        raise click.UsageError(f"{missing} is missing: a period has a start and an end")
    if start is None:
        return None
    if start >= end:
        raise click.UsageError(f"--{name}-start must be earlier than --{name}-end, which is not part of it")
    return Period(start, end)


def _split_models(values: tuple[str, ...], *, training: bool) -> tuple[tuple[Algorithm, ...], list[str]]:
    """Algorithms to train, and all else."""
    from batch.training.settings import Algorithm

    names = {algorithm.value: algorithm for algorithm in Algorithm}
    trained = tuple(names[value] for value in values if value in names)
    if trained and not training:
        raise click.UsageError(f"--model {trained[0]} is to be trained: give --train-start and --train-end")
    others = [value for value in values if value not in names]
    for value in others:
        if not Path(value).is_dir() and not LABEL.fullmatch(value):
            raise click.UsageError(
                f"--model {value}: give one of {', '.join(names)}, NAME:VERSION, or a model's folder"
            )
    return trained, others


def _given(values: list[str], data_dir: Path) -> list[GivenModel]:
    from batch.backtest.given import model_in, registered_models
    from batch.scoring.plan import resolve
    from ray_fraud.stores.lake import lake_filesystem
    from ray_fraud.stores.ledger.postgres_registry import PostgresRegistry
    from ray_fraud.stores.ledger.postgres_session import PATIENT
    from ray_fraud.stores.models.lake import LakeModelFiles

    folders = [Path(value) for value in values if Path(value).is_dir()]
    labels = [value for value in values if not Path(value).is_dir()]
    models = [model_in(folder) for folder in folders]
    if labels:
        connections = load_connections(data_dir)
        with closing(
            PostgresRegistry(connections.postgres, name="ray-fraud backtest", limits=PATIENT)
        ) as registry:
            versions = resolve(registry.versions(), labels, live=False)
        models += registered_models(LakeModelFiles(*lake_filesystem(connections.lake)), versions)
    return models


def _read(
    source: str,
    options: dict[str, Any],
    detection: DetectionSettings,
    data_dir: Path,
    workers: int,
    maturity_ms: int,
    tell: Callable[[str, int, int], None],
) -> ReadHistory:
    from batch.backtest.read_file import FileRequest, ReadHistory, Refusals, read_file
    from batch.backtest.read_lake import read_lake
    from batch.training.labelled import Period
    from ray_fraud.stores.tables.delta import DeltaTransactions
    from ray_fraud.stores.verdicts.postgres import PostgresVerdicts

    file = Path(source)
    start, separator, end = source.partition("..")
    if separator and not file.exists():
        period = Period(moment_of(start), moment_of(end))
        if period.from_ms >= period.until_ms:
            raise click.UsageError(f"{source}: the period's start must be earlier than its end")
        connections = load_connections(data_dir)
        with closing(PostgresVerdicts(connections.postgres, name="ray-fraud backtest")) as verdicts:
            history = read_lake(
                DeltaTransactions(connections.lake), verdicts, period, round(time.time() * 1000), maturity_ms
            )
        return ReadHistory(history, Refusals(), len(history))
    if not file.is_file():
        raise click.UsageError(f"{source}: no such file; a period of the lake is written START..END")
    file_format, layout = understood(file, options)
    request = FileRequest(
        file,
        file_format,
        layout.mapping,
        layout.fraud,
        detection,
        options["card_key_file"],
        layout.form,
    )
    return read_file(request, workers, lambda done, in_all: tell("reading", done, in_all))
