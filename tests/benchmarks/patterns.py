"""Recall and precision of every rule against the generator's ground truth, and their cost.

    python -m tests.benchmarks.patterns --users 2000 --days 30
    python -m tests.benchmarks.patterns --users 200000 --hours 6
    python -m tests.benchmarks.patterns --rows 10000000

Generates a history with all kinds of fraud, runs every rule over it with its default parameters, and compares
the members of findings with the labels; `tests/batch/pattern_quality.py` says what recall and precision are.
A search that runs by default looks at six hours, and at the newest two million rows of them: `--hours 6`, and
for a busy platform fewer hours with `--tps`. With `--rows` the history is repeated under new users, a period
later each time, up to that many rows, and only time and memory count.

Never: a rule whose parameters were fitted to the seed that is measured; the default seed is another one.
"""

import resource
import sys
import time
from collections import Counter
from collections.abc import Callable

import click
import msgspec
import pyarrow as pa
from rich.table import Table

from batch.patterns.columns_of import pattern_columns, with_cells
from batch.patterns.rules import totals_of_joins, totals_of_users
from ray_fraud.cli.output import Output, output_option, progress, show
from ray_fraud.domain.patterns.coordinated import coordinated
from ray_fraud.domain.patterns.finding import Finding
from ray_fraud.domain.patterns.frequency import frequency
from ray_fraud.domain.patterns.geographic import geographic_clusters
from ray_fraud.domain.patterns.settings import PatternSettings
from ray_fraud.domain.patterns.temporal import temporal
from tests.batch.pattern_quality import MEANT_FOR, Quality, history, hot_quality, pattern_quality, stream_of


class Measured(msgspec.Struct, frozen=True):
    rows: int
    frauds: dict[str, int]
    quality: list[Quality]
    seconds: dict[str, float]
    peak_mb: float


def repeated(table: pa.Table, rows: int, users: int) -> pa.Table:
    """At least that many rows: the same history again and again under new users."""
    copies = []
    at = table.schema.get_field_index("event_time")
    times = table["event_time"].cast(pa.int64()).to_numpy()
    span = int(times.max() - times.min()) + 1
    for number in range(-(-rows // table.num_rows)):
        copy = table.set_column(0, "user_id", pa.array(table["user_id"].to_numpy() + number * users))
        later = pa.array(times + number * span).cast(pa.timestamp("us", "UTC"))
        copies.append(copy.set_column(at, "event_time", later))
    return pa.concat_tables(copies).slice(0, rows).combine_chunks()


def run(table: pa.Table) -> tuple[list[Finding], dict[str, float]]:
    """All findings, and the seconds of each step."""
    settings = PatternSettings()
    seconds: dict[str, float] = {}
    findings: list[Finding] = []
    began = time.perf_counter()
    columns = pattern_columns(with_cells(table))
    _ = columns.by_user
    seconds["columns"] = time.perf_counter() - began
    began = time.perf_counter()
    totals = totals_of_users(columns, settings) + totals_of_joins(columns, settings)
    seconds["totals"] = time.perf_counter() - began
    rules: dict[str, Callable[[], list[Finding]]] = {
        "frequency": lambda: frequency(columns, settings.frequency, totals),
        "geographic": lambda: geographic_clusters(columns, settings.geographic, totals),
        "temporal": lambda: temporal(columns, settings.temporal, totals),
        "coordinated": lambda: coordinated(columns, settings.coordinated, totals),
    }
    for name, rule in rules.items():
        began = time.perf_counter()
        findings += rule()
        seconds[name] = time.perf_counter() - began
    seconds["all"] = sum(seconds.values())
    return findings, seconds


@click.command(help=__doc__)
@click.option("--users", type=click.IntRange(min=1), default=2_000, show_default=True)
@click.option("--days", type=float, default=30.0, show_default=True)
@click.option("--hours", type=float, default=None, help="Instead of days.")
@click.option("--tps", type=float, default=None, help="Transactions per second; else four a day and user.")
@click.option("--seed", type=int, default=77, show_default=True)
@click.option("--fraud-share", type=float, default=0.02, show_default=True)
@click.option("--rows", type=int, default=None, help="Repeat the history up to this many rows.")
@output_option
def main(
    users: int,
    days: float,
    hours: float | None,
    tps: float | None,
    seed: int,
    fraud_share: float,
    rows: int | None,
    output: Output,
) -> None:
    hours = 24.0 * days if hours is None else hours
    progress.print(f"generating {hours:g} hours of {users:,} users")
    past = history(stream_of(users, hours, seed, fraud_share, tps))
    kinds = past.scenarios[past.scenarios != ""].tolist()
    table = past.table if rows is None else repeated(past.table, rows, users)
    progress.print(f"running the rules over {table.num_rows:,} rows")
    findings, seconds = run(table)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    judged = [*pattern_quality(findings, past.scenarios), *hot_quality(past)] if rows is None else []
    measured = Measured(table.num_rows, dict(sorted(Counter(kinds).items())), judged, seconds, peak)
    show("benchmark patterns", msgspec.to_builtins(measured), output, lambda: _table(measured))


def _table(measured: Measured) -> Table:
    titles = ("rule", "findings", "with frauds", "members", "precision", "recall by kind of fraud")
    table = Table(*titles, title=f"{measured.rows:,} rows")
    for one in measured.quality:
        precision = "–" if one.precision is None else f"{one.precision:.2f}"
        recall = ", ".join(f"{kind} {share:.2f}" for kind, share in one.recall.items())
        if not MEANT_FOR[one.rule]:
            recall = f"no scenario; {recall}" if recall else "no scenario"
        table.add_row(one.rule, f"{one.findings:,}", f"{one.right:,}", f"{one.members:,}", precision, recall)
    for kind, frauds in measured.frauds.items():
        table.add_row(kind, "", f"{frauds:,}", "", "", "transactions of that kind")
    for name, seconds in measured.seconds.items():
        table.add_row(name, "", "", "", "", f"{seconds:.2f} s")
    table.add_row("peak memory", "", "", "", "", f"{measured.peak_mb:,.0f} MB")
    return table


if __name__ == "__main__":
    sys.exit(main())
