"""The search for patterns by Ray Data beside that in one process: seconds and memory, in one run.

    python -m tests.benchmarks.patterns_by_ray --rows 1000000
    python -m tests.benchmarks.patterns_by_ray --rows 10000000 --skip-in-process

Writes a generated history into a lake in a temporary folder, all within the look-back, looks at it both ways
(by Ray three times: the first starts processes, the last leaves out users and cells without new rows), and
compares what they find. Memory is the peak of the proportional set sizes of all processes, the object store
included; the history is generated in a process of its own, which is gone by then. Tasks have the priority of
this process.

Never: a figure of a search that found something else.
"""

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import click
import msgspec
import psutil
import ray
from rich.table import Table

from batch.patterns.config import PatternConfig
from batch.patterns.dataset import look_by_ray
from batch.patterns.job import patterns_of
from batch.patterns.look import Look, look_in_process
from batch.patterns.rows import Seen
from batch.priority import VARIABLE
from ray_fraud.cli.output import Output, output_option, progress, show
from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.tables.delta import DeltaTransactions
from tests.batch.pattern_quality import history, stream_of
from tests.benchmarks.lake_history import PARTITION, append_history, in_a_process
from tests.benchmarks.patterns import repeated

COMMIT_ROWS = 200_000
SAMPLE_SECONDS = 0.5
FOREVER_HOURS = 24.0 * 365 * 1000
RAY_ENVIRONMENT = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}
"""It serves this process alone, and leaves no token behind."""
OLD_SHARE = 0.95
"""Of the rows, in the search that knows what earlier ones have seen."""


class Timed(msgspec.Struct, frozen=True):
    way: str
    seconds: float
    peak_mb: float
    findings: int


class Measured(msgspec.Struct, frozen=True):
    rows: int
    shard_rows: int
    ways: list[Timed]
    equal: bool | None
    """Both found the same; None if only one was asked."""


def fill(url: str, rows: int, users: int, days: float) -> None:
    """A generated history, again and again."""
    table = history(stream_of(users, 24.0 * days, 77, 0.02)).table
    append_history(LakeLocation(url), repeated(table, rows, users), COMMIT_ROWS)


@contextmanager
def peak_of(processes: Callable[[], list[psutil.Process]]) -> Iterator[Callable[[], float]]:
    """Tells the highest sum so far, in MB."""
    highest, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(SAMPLE_SECONDS):
            total = 0
            for process in processes():
                try:
                    total += process.memory_full_info().pss
                except psutil.Error:
                    continue
            highest[0] = max(highest[0], total / 1e6)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield lambda: highest[0]
    finally:
        done.set()
        thread.join(timeout=10)


def timed(way: str, look_at: Callable[[], Look]) -> tuple[Timed, Look]:
    progress.print(f"looking: {way}")
    own = psutil.Process()
    with peak_of(lambda: [own, *own.children(recursive=True)]) as peak:
        began = time.perf_counter()
        look = look_at()
        return Timed(way, time.perf_counter() - began, peak(), len(look.findings)), look


def measure(lake: LakeLocation, config: PatternConfig, *, in_process: bool) -> Measured:
    ways: list[Timed] = []
    found = []
    rows = 0

    def run(way: str, look_at: Callable[[], Look]) -> None:
        nonlocal rows
        one, look = timed(way, look_at)
        rows = look.rows
        ways.append(one)
        found.append(patterns_of(look.findings, look.members, "cluster"))

    # The small one first: memory that a process had once it may keep.
    os.environ |= RAY_ENVIRONMENT
    # Both ways with the priority of this process.
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, {VARIABLE: "0"}):
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _temp_dir=folder)
        try:
            run("Ray Data, first", lambda: look_by_ray(lake, config))
            run("Ray Data", lambda: look_by_ray(lake, config))
            since = Seen(((PARTITION.topic_id, PARTITION.partition, round(OLD_SHARE * rows)),))
            run(f"Ray Data, {1 - OLD_SHARE:.0%} of the rows new", lambda: look_by_ray(lake, config, since))
        finally:
            ray.shutdown()
    if in_process:
        run("one process", lambda: look_in_process(DeltaTransactions(lake), config))
    equal = found[0] == found[-1] == found[1] if in_process else None
    return Measured(rows, config.shard_rows, ways, equal)


@click.command(help=__doc__)
@click.option("--rows", type=int, default=1_000_000, show_default=True)
@click.option("--users", type=click.IntRange(min=1), default=5_000, show_default=True)
@click.option("--days", type=float, default=30.0, show_default=True)
@click.option("--shard-rows", type=int, default=PatternConfig().shard_rows, show_default=True)
@click.option("--skip-in-process", is_flag=True, help="Only by Ray Data: nothing to compare with.")
@output_option
def main(
    rows: int, users: int, days: float, shard_rows: int, *, skip_in_process: bool, output: Output
) -> None:
    progress.print(f"generating {days:g} days of {users:,} users, repeated to {rows:,} rows")
    config = PatternConfig(look_back_hours=FOREVER_HOURS, max_rows=rows, shard_rows=shard_rows)
    with tempfile.TemporaryDirectory() as folder:
        lake = LakeLocation(Path(folder).as_uri())
        in_a_process(fill, lake.url, rows, users, days)
        measured = measure(lake, config, in_process=not skip_in_process)
    show("benchmark patterns-by-ray", msgspec.to_builtins(measured), output, lambda: _table(measured))
    if measured.equal is False:
        raise click.ClickException("the two ways found different patterns")


def _table(measured: Measured) -> Table:
    table = Table("way", "seconds", "peak MB", "findings", title=f"{measured.rows:,} rows")
    for one in measured.ways:
        table.add_row(one.way, f"{one.seconds:.1f}", f"{one.peak_mb:,.0f}", f"{one.findings:,}")
    return table


if __name__ == "__main__":
    sys.exit(main())
