"""Latency of the hot path while a batch of the cold path runs: `python -m tests.benchmarks.beside_batch`.

A stack of its own. Three times a backlog (by default what five minutes of 500 transactions a second leave) is
drained and then brought into the lake by a batch: the first one by itself, whose processes have to start; the
second one by itself, whose processes are there; the third one beside a load. The latency of alerts is taken
outside at that rate, once without a batch and once with the third one: of that only the alerts count
whose transactions were sent while it ran. With `--history` the lake has that many generated rows of the last
minutes before, as on a platform that runs for a while: the search for patterns looks at them, too. With
`--paced` a backlog is sent at that rate, as transactions come: sent at once it is full of bursts to find.

Never: rates of two runs side by side; the ratio of one run is the result.
"""

import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np

from cluster.local.bench.children import observing
from cluster.local.bench.observer import Seen
from cluster.local.bench.plan import QUICK
from cluster.local.bench.run import Bench, progress_of_partitions
from cluster.local.cold_path import batch_config, start_cold_path
from cluster.local.cold_path_client import NoColdPath, run_batch
from cluster.local.failures import LocalStackError
from cluster.local.hot_path import HotPathNotReady, start_hot_path, wait_until_ready
from cluster.local.ray_node import RayOptions
from cluster.local.running import bring_down
from cluster.local.stack import LocalStack, load_connections
from ray_fraud.cli.output import expects, progress, quiet_libraries
from ray_fraud.generator.load_run import LoadReport
from ray_fraud.generator.prepared import START_TIME
from ray_fraud.generator.stream import StreamSettings
from ray_fraud.stores.errors import StoreError
from tests.benchmarks.lake_history import append_stream, in_a_process

BATCH_TIMEOUT_SECONDS = 300.0
WARM_UP_SECONDS = 5.0
FIRST_NOTICE_SECONDS = 20.0
BATCH_MINUTES = 5
SEED = 1
"""Of the benchmark's load, see `Bench`."""
BACKLOGS, LOADS = 3, 2
WHOLE, STEPS = "whole", ("ingest", "patterns", "features")


class Latency(msgspec.Struct, frozen=True):
    alerts: int
    p50_ms: float
    p99_ms: float


class Batch(msgspec.Struct, frozen=True):
    rows: int
    seconds: float
    report: dict[str, Any]


class Measured(msgspec.Struct, frozen=True):
    first: Batch
    second: Batch
    third: Batch
    alone: Latency
    beside: Latency
    ratio: float
    """p99 beside a batch ÷ p99 alone."""
    by_step: dict[str, Latency]
    """Beside it, by what the batch did."""


class Beside(Bench):
    """The benchmark's stack and load, with a cold path that runs when it is asked."""

    def measure(self, records: int, tps: int, seconds: float, history: int, backlog_tps: int) -> Measured:
        config = self._prepare()
        try:
            self._unsent = iter(self._prepared.read_bytes().splitlines(keepends=True))
            self._fill(history, tps)
            start_hot_path(config)
            wait_until_ready(progress.print)
            start_cold_path(msgspec.structs.replace(batch_config(config), settle=timedelta(days=1)))
            self._drained(records, backlog_tps)
            first = self._batch_by_itself()
            self._drained(records, backlog_tps)
            second = self._batch_by_itself()
            self._drained(records, backlog_tps)
            self._warm_up()
            (alone,) = self._watched(tps, seconds, None)[0].values()
            progress.print(f"alone: {alone}")
            with ThreadPoolExecutor(1) as pool:
                run = pool.submit(self._batch)
                by_step, done = self._watched(tps, seconds, run.result)
            beside = by_step.pop(WHOLE)
            progress.print(f"beside a batch: {beside}")
        finally:
            bring_down(self._stack, progress.print)
        return Measured(first, second, _batch(done), alone, beside, beside.p99_ms / alone.p99_ms, by_step)

    def _fill(self, rows: int, tps: int) -> None:
        if rows:
            progress.print(f"a history of {rows:,} rows")
            span = rows / tps
            # The load's own world up to its own hour: or shops would open, and cities wake up, as it begins.
            stream = StreamSettings(
                START_TIME - span, seed=SEED, users=self._plan.users, rate_hz=float(tps), span_seconds=span
            )
            later_us = round((time.time() - START_TIME) * 1e6)
            lake = load_connections(self._stack.paths.data_dir).lake.url
            in_a_process(append_stream, lake, stream, BATCH_MINUTES * 60 * tps, later_us)

    def _batch_by_itself(self) -> Batch:
        done = _batch(run_batch(lambda _: None, BATCH_TIMEOUT_SECONDS))
        progress.print(f"by itself: {done.rows:,} rows in {done.seconds:.1f} s")
        return done

    def _drained(self, records: int, tps: int) -> None:
        self._load_next(records, tps)
        while progress_of_partitions()[1]:
            time.sleep(0.5)

    def _load_next(self, count: int, tps: int) -> LoadReport:
        """Sends records that were not sent before: those that come again would be patterns."""
        with self._prepared.open("wb") as file:
            file.writelines(islice(self._unsent, count))
        return self._load("--tps", str(tps), "--count", str(count))

    def _batch(self) -> dict[str, Any]:
        time.sleep(WARM_UP_SECONDS)
        return run_batch(lambda _: None, BATCH_TIMEOUT_SECONDS)

    def _watched(self, tps: int, seconds: float, batch: Any) -> tuple[dict[str, Latency], dict[str, Any]]:
        """Latency over the load's time, or over that of the batch and of each of its steps."""
        with observing(self._connections_file) as observer:
            observer.wait_for_first(FIRST_NOTICE_SECONDS)
            load = self._load_next(round(tps * seconds), tps)
            done = {} if batch is None else batch()
            time.sleep(2.0)
            reports = observer.stop()
        warm_ms = load.started_ms + WARM_UP_SECONDS * 1000
        spans = _spans(done) if done else {WHOLE: (0.0, float("inf"))}
        return {
            step: _latency(reports, max(begin, warm_ms), end) for step, (begin, end) in spans.items()
        }, done


def _spans(done: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """From when to when the batch and its steps took, unix milliseconds."""
    at_ms = done["started"] * 1000
    spans = {WHOLE: (at_ms, done["ended"] * 1000)}
    for step in STEPS:
        until_ms = at_ms + done["report"][step]["seconds"] * 1000
        spans[step] = at_ms, until_ms
        at_ms = until_ms
    return spans


def _batch(done: dict[str, Any]) -> Batch:
    return Batch(done["report"]["ingest"]["accepted"], done["ended"] - done["started"], done["report"])


def _latency(reports: list[Seen], from_ms: float, to_ms: float) -> Latency:
    chosen = [
        latency
        for seen in reports
        for sent, latency in zip(seen.sent_ms, seen.latencies_ms, strict=True)
        if from_ms <= sent <= to_ms
    ]
    p50, p99 = np.percentile(chosen, (50, 99)) if chosen else (np.nan, np.nan)
    return Latency(len(chosen), float(p50), float(p99))


@click.command(help=__doc__)
@click.option("--records", type=click.IntRange(min=1), default=150_000, show_default=True)
@click.option("--tps", type=click.IntRange(min=1), default=500, show_default=True)
@click.option("--seconds", type=float, default=45.0, show_default=True, help="Of each of the two loads.")
@click.option("--history", type=click.IntRange(min=0), default=0, show_default=True, help="Rows.")
@click.option("--paced", is_flag=True, help="Backlogs at --tps, not as fast as they can be sent.")
@expects(LocalStackError, StoreError, HotPathNotReady, NoColdPath, TimeoutError, ConnectionError)
def main(records: int, tps: int, seconds: float, history: int, *, paced: bool) -> None:
    quiet_libraries()
    folder = Path(tempfile.mkdtemp(prefix="ray-fraud-beside-"))
    try:
        stack = LocalStack(folder, ray=RayOptions(dashboard=False), progress=progress.print)
        plan = msgspec.structs.replace(
            QUICK, prepared_records=BACKLOGS * records + LOADS * round(tps * seconds)
        )
        bench = Beside(stack, plan, progress.print)
        measured = bench.measure(records, tps, seconds, history, tps if paced else 0)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(measured)).decode() + "\n")


if __name__ == "__main__":
    main()
