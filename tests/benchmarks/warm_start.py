"""Latency while a partition is new: `python -m tests.benchmarks.warm_start --seconds 40`.

Brings up a whole platform as `ray-fraud demo` does, sends generated transactions, and looks at the alerts of
three phases: from the first record on, after every owner was killed and its successor said that it was ready,
and after another split was put into force. One JSON object on stdout:

    {"tps", "startup_seconds", "phases": [{"name", "alerts", "p50_ms", "p95_ms", "p99_ms", "max_ms",
                                           "slowest_by_second_ms": [...]}]}

Latency is from the intended send time to the alert being durable, seen from another process. It is no test: a
figure of a busy machine says little.

Never: a verdict on the machine; an alert of before a phase's beginning.
"""

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np

from cluster.local.bench.children import Observer, observing
from cluster.local.demo import DemoPlan, generating
from cluster.local.hot_path import hot_path_status, wait_until_ready
from cluster.local.running import Running, bring_down, bring_up
from cluster.local.stack import LocalStack
from ray_fraud.stores.connections import to_json
from ray_fraud.stores.ledger import model_changes
from ray_fraud.stores.ledger.model_events import Cause
from ray_fraud.stores.ledger.postgres_registry import PostgresRegistry

Progress = Callable[[str], None]

OBSERVER_SECONDS = 20.0
SPLIT_SECONDS = 30.0
LAST_ALERTS_SECONDS = 3.0


class Phase(msgspec.Struct):
    """The alerts of transactions that were sent within one phase."""

    name: str
    alerts: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    slowest_by_second_ms: list[float]
    """By second of sending, counted from the phase's beginning; 0 in one without an alert."""


def phase_of(name: str, seen: list[tuple[float, float]], begin: float, seconds: float) -> Phase:
    """`seen`: unix seconds of sending and milliseconds of latency."""
    mine = [(sent - begin, latency) for sent, latency in seen if begin <= sent < begin + seconds]
    slowest = [0.0] * int(seconds)
    for after, latency in mine:
        second = min(int(after), len(slowest) - 1)
        slowest[second] = max(slowest[second], round(latency, 1))
    latencies = np.array([latency for _, latency in mine] or [np.nan])
    p50, p95, p99 = (round(float(np.percentile(latencies, share)), 1) for share in (50, 95, 99))
    return Phase(name, len(mine), p50, p95, p99, round(float(latencies.max()), 1), slowest)


class Run:
    """One platform under load."""

    def __init__(self, running: Running, observer: Observer, seconds: float) -> None:
        self._running = running
        self._observer = observer
        self._seconds = seconds
        self._seen: list[tuple[float, float]] = []

    def phase(self, name: str, begin: float) -> Phase:
        """Waits until the phase is over and its alerts are there."""
        time.sleep(max(0.0, begin + self._seconds + LAST_ALERTS_SECONDS - time.time()))
        for report in self._observer.new():
            self._seen += zip((ms / 1000 for ms in report.sent_ms), report.latencies_ms, strict=True)
        return phase_of(name, self._seen, begin, self._seconds)

    def first_sent(self) -> float:
        """Unix seconds at which the first of the alerts seen so far was sent."""
        while not self._seen:
            time.sleep(0.5)
            for report in self._observer.new():
                self._seen += zip((ms / 1000 for ms in report.sent_ms), report.latencies_ms, strict=True)
        return min(sent for sent, _ in self._seen)

    def replace_owners(self) -> float:
        """Kills every owner; unix seconds at which the last successor was ready."""
        killed = {entry["partition"]: entry["epoch"] for entry in hot_path_status()["partitions"]}
        for entry in hot_path_status()["partitions"]:
            os.kill(entry["pid"], signal.SIGKILL)
        while not all(_succeeded(entry, killed) for entry in hot_path_status()["partitions"]):
            time.sleep(0.2)
        wait_until_ready(lambda _: None)
        return time.time()

    def change_split(self) -> float:
        """Gives the versions other shares; unix seconds of the change in the registry."""
        with closing(PostgresRegistry(self._running.config.connections.postgres)) as registry:
            rows = registry.versions()
            labels = [row.label for row in rows]
            shares = model_changes.shares_by_label(rows, {labels[0]: 7_000, labels[1]: 3_000})
            cause = Cause("benchmark", "warm start")
            registry.set_split(shares, expected_fingerprint=registry.fingerprint(), cause=cause)
        return time.time()


def _succeeded(entry: dict[str, Any], killed: dict[int, int]) -> bool:
    return entry.get("epoch", 0) > killed[entry["partition"]] and not entry["replaying"]


@click.command(help=__doc__)
@click.option("--seconds", type=click.FloatRange(min=5), default=40.0, show_default=True, help="Of a phase.")
@click.option("--tps", type=click.FloatRange(min=1), default=100.0, show_default=True)
def main(seconds: float, tps: float) -> None:
    with tempfile.TemporaryDirectory(prefix="ray-fraud-warm-", ignore_cleanup_errors=True) as folder:
        stack = LocalStack(Path(folder))
        began = time.time()

        def progress(line: str) -> None:
            sys.stderr.write(f"{time.time() - began:6.1f} {line}\n")

        try:
            phases = measure(stack, seconds, tps, progress)
        finally:
            bring_down(stack, progress)
    startup, measured = phases
    answer = {"tps": tps, "startup_seconds": round(startup, 1), "phases": measured}
    sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")


def measure(
    stack: LocalStack, seconds: float, tps: float, progress: Callable[[str], None]
) -> tuple[float, list[Phase]]:
    """Seconds until the platform was healthy, and the three phases."""
    began = time.time()
    running = bring_up(stack, progress, training=False)
    startup = time.time() - began
    file = stack.paths.data_dir / "connections.json"
    file.write_bytes(to_json(running.config.connections))
    with observing(file) as observer:
        observer.wait_for_first(OBSERVER_SECONDS)
        progress("streaming")
        with generating(stack, DemoPlan(seconds=0, tps=tps, seed=7, users=1_000)):
            run = Run(running, observer, seconds)
            phases = [run.phase("first records", run.first_sent())]
            progress("killing every owner")
            phases.append(run.phase("after take-over", run.replace_owners()))
            progress("changing the split")
            phases.append(run.phase("after a model change", run.change_split()))
    return startup, phases


if __name__ == "__main__":
    main()
