"""`ray-fraud verdicts simulate`: an analyst who knows the ground truth, for demonstrations.

Never: on a platform with real analysts' work (nothing of theirs is changed, but what it says is made up).
"""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from rich.table import Table

from cluster.local.stack_record import load_connections
from ray_fraud.cli.output import (
    Output,
    data_dir_option,
    output_option,
    progress,
    quiet_libraries,
    show,
)
from ray_fraud.cli.ranges import FiniteRange, WholeRange
from ray_fraud.generator.analyst import Habits, SimulatedAnalyst
from ray_fraud.generator.stopping import stop_on_signals
from ray_fraud.stores.errors import StoreUnavailable

if TYPE_CHECKING:
    from ray_fraud.generator.analyst_run import AnalystReport, AnalystRun

SECONDS = FiniteRange(min=0)
STEP_SECONDS = 1.0
LINE_SECONDS = 5.0
"""Between two lines of progress."""
PATIENCE_SECONDS = 120.0
"""So long a store may be away."""


@click.command()
@click.option("--delay", type=SECONDS, default=30, show_default=True, help="Seconds from alert to verdict.")
@click.option("--capacity-per-day", type=WholeRange(0), default=500, show_default=True, help="Reviews.")
@click.option(
    "--chargeback-delay",
    type=SECONDS,
    default=120,
    show_default=True,
    help="Seconds from a fraud to its chargeback, if nobody has judged it.",
)
@click.option("--error-rate", type=FiniteRange(0, 1), default=0, help="Share of wrong reviews.")
@click.option("--seed", type=WholeRange(0), default=0, show_default=True, help="Which ones are wrong.")
@click.option(
    "--event-time", is_flag=True, help="Delays and days of the transactions' own time: for history."
)
@click.option("--seconds", type=SECONDS, help="Stop after this time; 0: judge once what is due now.")
@data_dir_option
@output_option
def simulate(
    delay: float,
    capacity_per_day: int,
    chargeback_delay: float,
    error_rate: float,
    seed: int,
    *,
    event_time: bool,
    seconds: float | None,
    data_dir: Path,
    output: Output,
) -> None:
    """Judge alerts by the generator's ground truth, as analysts and banks would, until Ctrl-C.

    The most severe alerts are reviewed first; all alerts of a transaction are one review. Frauds that nobody
    has judged after the chargeback delay come as chargebacks. What has a verdict is left alone, so that a run
    goes on where another ended.
    """
    from ray_fraud.generator.analyst_run import AnalystRun
    from ray_fraud.generator.label_log import open_label_log
    from ray_fraud.stores.ledger.postgres_queries import PostgresAlertQueries
    from ray_fraud.stores.verdicts.postgres import PostgresVerdicts

    quiet_libraries()
    habits = Habits(round(delay * 1000), capacity_per_day, round(chargeback_delay * 1000), error_rate, seed)
    connections = load_connections(data_dir)
    analyst = SimulatedAnalyst(habits, 0 if event_time else _now_ms())
    with (
        closing(PostgresAlertQueries(connections.postgres)) as alerts,
        closing(PostgresVerdicts(connections.postgres)) as verdicts,
        closing(open_label_log(connections)) as labels,
        closing(AnalystRun(analyst, labels, alerts, verdicts, event_time=event_time)) as run,
    ):
        report = _until_the_end(run, seconds)
    show("verdicts simulate", msgspec.to_builtins(report), output, lambda: _table(report))


def _until_the_end(run: AnalystRun, seconds: float | None) -> AnalystReport:
    began = answered = told = time.monotonic()
    with stop_on_signals() as stopping:
        while True:
            try:
                report = run.step(_now_ms())
                answered = time.monotonic()
            except StoreUnavailable as error:
                if time.monotonic() - answered > PATIENCE_SECONDS:
                    raise
                progress.print(f"waiting: {error}")
                report = run.report
            now = time.monotonic()
            if stopping() or (seconds is not None and now - began >= seconds):
                return report
            if now - told >= LINE_SECONDS:
                told = now
                progress.print(_line(report))
            time.sleep(STEP_SECONDS)


def _now_ms() -> int:
    return round(time.time() * 1000)


def _line(report: AnalystReport) -> str:
    given = report.true_fraud + report.false_positive
    return (
        f"{given:,} reviews, {report.chargebacks:,} chargebacks; "
        f"open: {report.open_alerts:,} cases, {report.open_frauds:,} frauds"
    )


def _table(report: AnalystReport) -> Table:
    table = Table(title="Simulated analyst", box=None, show_header=False, title_justify="left")
    table.add_row("alerts seen, labels read", f"{report.alerts:,}, {report.labels:,}")
    table.add_row("reviewed: true fraud", f"{report.true_fraud:,}")
    table.add_row("reviewed: false positive", f"{report.false_positive:,}")
    table.add_row("chargebacks", f"{report.chargebacks:,}")
    table.add_row("cases that wait", f"{report.open_alerts:,}")
    table.add_row("frauds without a verdict", f"{report.open_frauds:,}")
    return table
