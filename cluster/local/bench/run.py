"""The benchmark: everything in one run on one stack, because machines differ and drift.

    backlog → ceiling C → drain → latency and sustained rate with Serve → latency in the actor (floor L0)

Never: a figure from inside a process that is measured, where it can be had from outside.
"""

import contextlib
import os
import platform
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from actors.config import HotPathConfig, Scoring
from cluster.local.bench.ceiling import Ceiling
from cluster.local.bench.children import observing
from cluster.local.bench.memory import bytes_per_user
from cluster.local.bench.observer import Seen
from cluster.local.bench.plan import BenchPlan, Latency, Report
from cluster.local.hot_path import (
    hot_path_status,
    prepare_models,
    prepare_stores,
    start_hot_path,
    stop_hot_path,
    wait_until_ready,
)
from cluster.local.ray_node import RayOptions
from cluster.local.running import bring_down, hot_path_config
from cluster.local.stack import LocalStack
from ray_fraud.domain import metrics
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.generator.load_run import LoadReport
from ray_fraud.generator.prepared import prepare
from ray_fraud.stores.connections import to_json

Progress = Callable[[str], None]

SAMPLE_SECONDS = 0.2
SETTLE_SECONDS = 3.0
DRAIN_TIMEOUT_SECONDS = 300.0
CHILD_TIMEOUT_SECONDS = 600.0
LAG_GROWTH_LIMIT_SECONDS = 0.5
"""A rate is sustained if the backlog at the end is below this many seconds of input."""


class Bench:
    """One run; each method measures one thing and writes it into the report."""

    def __init__(self, stack: LocalStack, plan: BenchPlan, progress: Progress) -> None:
        self._stack = stack
        self._plan = plan
        self._progress = progress
        self._connections_file = stack.paths.data_dir / "connections.json"
        self._prepared = stack.paths.data_dir / "prepared.jsonl"
        self._metrics_port = 0
        self.report = Report(machine=machine())

    def run(self) -> Report:
        """Measures everything; the stack is stopped at the end.

        Raises:
            LocalStackError, StoreError, HotPathNotReady: the message says what to do.
        """
        try:
            config = self._prepare()
            self._backlog()
            self._ceiling()
            start_hot_path(config)
            self._drain()
            wait_until_ready(self._progress)
            self._warm_up()
            for tps in self._plan.rates_tps:
                self._latency(tps, Scoring.SERVE)
            self._sustained()
            self._redeploy(msgspec.structs.replace(config, scoring=Scoring.LOCAL))
            for tps in self._plan.rates_tps:
                self._latency(tps, Scoring.LOCAL)
        finally:
            bring_down(self._stack, self._progress)
        self.report.bytes_per_user = bytes_per_user()
        self.report.derive_ratios()
        return self.report

    def _prepare(self) -> HotPathConfig:
        connections = self._stack.start_servers()
        self._stack.start_ray()
        config = hot_path_config(self._stack, connections, DetectionSettings(), Scoring.SERVE)
        prepare_stores(connections, self._progress)
        prepare_models(config, self._progress)
        self._connections_file.write_bytes(to_json(connections))
        self._metrics_port = config.metrics_port
        self._stack.connect()
        plan = self._plan
        self._progress(f"preparing {plan.prepared_records:,} records of {plan.users:,} users")
        with self._prepared.open("wb") as file:
            prepare(file, seed=1, users=plan.users, count=plan.prepared_records, alert_share=plan.alert_share)
        return config

    def _backlog(self) -> None:
        self._progress(f"backlog of {self._plan.backlog_records:,} records")
        self._load("--tps", "0", "--count", str(self._plan.backlog_records))

    def _ceiling(self) -> None:
        self._progress("ceiling: consume, decode, fold, write the cut in one process")
        output = self._child("cluster.local.bench.ceiling", "--seconds", str(self._plan.ceiling_seconds))
        result = msgspec.json.decode(output, type=Ceiling)
        self.report.ceiling_tps = result.tps
        observe_us = result.observe / result.records * 1e6
        self.report.steps_us = {
            "poll": result.poll / result.records * 1e6,
            "decode": result.decode_us,
            "fold": observe_us - result.decode_us,
            "commit": result.commit / result.records * 1e6,
        }

    def _drain(self) -> None:
        self._progress("draining the backlog, scored through Serve")
        samples: list[tuple[float, int]] = []
        deadline = time.monotonic() + DRAIN_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            try:
                settled, _ = progress_of_partitions()
            except (ValueError, KeyError, LookupError):
                settled = 0
            samples.append((time.monotonic(), settled))
            if settled >= self._plan.backlog_records:
                break
            time.sleep(SAMPLE_SECONDS)
        self.report.drain_tps = rate_of(samples)
        time.sleep(SETTLE_SECONDS)
        self.report.steps_us["score"] = score_us(scrape(self._metrics_port))
        partitions = hot_path_status()["partitions"]
        largest = max(partitions, key=lambda partition: partition["resident_bytes"])
        self.report.actor_rss_mb = largest["resident_bytes"] / 1e6
        self.report.actor_users = largest["users"]

    def _warm_up(self) -> None:
        """The broker's JVM compiles what small requests need; else the first latencies would pay for it."""
        self._progress("warming up")
        self._load("--tps", "2000", "--seconds", str(self._plan.warm_up_seconds * 2))

    def _latency(self, tps: int, scoring: Scoring) -> None:
        plan = self._plan
        self._progress(f"latency at {tps:,} TPS, scoring: {scoring}")
        with observing(self._connections_file) as observer:
            observer.wait_for_first(20.0)
            load = self._load("--tps", str(tps), "--seconds", str(plan.latency_seconds))
            time.sleep(SETTLE_SECONDS)
            reports = observer.stop()
        latencies = after_warm_up(reports, load.started_ms + plan.warm_up_seconds * 1000)
        p50, p95, p99 = np.percentile(latencies, (50, 95, 99)) if latencies else (np.nan,) * 3
        entry = Latency(
            tps, scoring.value, len(latencies), float(p50), float(p95), float(p99), sent_tps=load.tps
        )
        self.report.latency.append(entry)
        self._progress(f"  {len(latencies)} alerts, p50 {p50:.1f} ms, p99 {p99:.1f} ms")

    def _sustained(self) -> None:
        """The highest of the tried rates whose backlog does not grow."""
        for share in self._plan.sustained_shares:
            tps = round(share * self.report.drain_tps, -2)
            self._progress(f"sustained: {tps:,.0f} TPS for {self._plan.sustained_seconds:.0f} s")
            load = self._load("--tps", str(tps), "--seconds", str(self._plan.sustained_seconds))
            _, lag = progress_of_partitions()
            self._progress(f"  backlog at the end {lag:,} records ({lag / tps:.2f} s)")
            self._wait_for_no_lag()
            if lag <= LAG_GROWTH_LIMIT_SECONDS * tps and load.failed == 0:
                self.report.sustained_tps = load.tps
                return

    def _redeploy(self, config: HotPathConfig) -> None:
        self._progress("deploying again with scoring in the actor")
        stop_hot_path(self._progress)
        start_hot_path(config)
        wait_until_ready(self._progress)

    def _wait_for_no_lag(self) -> None:
        deadline = time.monotonic() + DRAIN_TIMEOUT_SECONDS
        while progress_of_partitions()[1] and time.monotonic() < deadline:
            time.sleep(SAMPLE_SECONDS)

    def _load(self, *options: str) -> LoadReport:
        output = self._child("ray_fraud.generator.load", "--prepared", str(self._prepared), *options)
        return msgspec.json.decode(output, type=LoadReport)

    def _child(self, module: str, *options: str) -> bytes:
        done = subprocess.run(
            [sys.executable, "-m", module, "--connections-file", str(self._connections_file), *options],
            stdout=subprocess.PIPE,
            timeout=CHILD_TIMEOUT_SECONDS,
            check=False,
        )
        if not done.stdout:
            raise RuntimeError(f"{module} ended with exit code {done.returncode} and no result")
        return done.stdout


def progress_of_partitions() -> tuple[int, int]:
    """(offsets settled, records waiting) over all partitions, from the log's start."""
    partitions = hot_path_status()["partitions"]
    settled = sum(partition["settled_offset"] for partition in partitions)
    waiting = sum((partition["log_end"] or 0) - partition["settled_offset"] for partition in partitions)
    return settled, waiting


def rate_of(samples: list[tuple[float, int]]) -> float:
    """Records per second from the first sample with progress to the last."""
    moving = [(at, settled) for at, settled in samples if settled > 0]
    if len(moving) < 2:
        return 0.0
    (first_at, first), (last_at, last) = moving[0], moving[-1]
    return (last - first) / (last_at - first_at)


def after_warm_up(reports: list[Seen], from_ms: float) -> list[float]:
    """Latencies of the alerts whose transactions were sent at or after `from_ms`."""
    return [
        latency
        for seen in reports
        for sent, latency in zip(seen.sent_ms, seen.latencies_ms, strict=True)
        if sent >= from_ms
    ]


def scrape(port: int) -> dict[str, float]:
    """The platform's metrics by name, added up over their labels; empty if the endpoint does not answer."""
    totals: dict[str, float] = {}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with (
        contextlib.suppress(OSError),
        opener.open(f"http://127.0.0.1:{port}/metrics", timeout=5) as page,
    ):
        for family in text_string_to_metric_families(page.read().decode()):
            for sample in family.samples:
                totals[sample.name] = totals.get(sample.name, 0.0) + sample.value
    return totals


def score_us(totals: dict[str, float]) -> float:
    """Microseconds that a partition waited for scores, per scored record."""
    seconds = totals.get(f"{metrics.ML_INFERENCE_LATENCY.name}_sum", 0.0)
    rows = totals.get(metrics.ML_PREDICTIONS.name, 0.0)
    return seconds / rows * 1e6 if rows else 0.0


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    return {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}


def run_bench(data_dir: Path, plan: BenchPlan, progress: Progress) -> Report:
    """Measures on a stack of its own in `data_dir`."""
    stack = LocalStack(data_dir, ray=RayOptions(dashboard=False), progress=progress)
    return Bench(stack, plan, progress).run()
