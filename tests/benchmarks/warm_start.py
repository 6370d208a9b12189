"""Latency while something is new: `python -m tests.benchmarks.warm_start --seconds 20`.

Brings up a whole platform as `ray-fraud demo` does, sends generated transactions, and looks at the alerts of
these phases (`--phase NAME` chooses some of them, also repeatedly; the first one is always there):

    first records   from the first record on
    take-over       after every owner was killed and its successor said that it was ready
    split           after other shares of the same versions
    new version     after a promotion of a version whose files no process has seen
    rollback        after the way back to the version before
    back again      after the new version came back, which is still loaded
    features        after feature tables were published in the moment of a change of shares
    settings        after other settings

One JSON object on stdout:

    {"tps", "high_amount", "startup_seconds", "phases": [{"name", "alerts", "p50_ms", "p95_ms", "p99_ms",
      "max_ms", "above_150_ms", "degraded", "slowest_by_second_ms": [...]}]}

The limit of amounts is lowered (`--high-amount`) so that a phase has hundreds of alerts. Latency is from the
intended send time to the alert being durable, seen from another process. It is no test: a figure of a busy
machine says little.

Never: a verdict on the machine; an alert of before a phase's beginning.
"""

import os
import re
import signal
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np
import ray

from actors.build import feature_table_files, scorer_config
from actors.config import NAMESPACE, partition_actor_name
from cluster.local.bench.children import Observer, observing
from cluster.local.demo import DemoPlan, generating
from cluster.local.hot_path import hot_path_status, wait_until_ready
from cluster.local.running import Running, bring_down, bring_up
from cluster.local.stack import LocalStack
from ray_fraud.domain.feature_tables import FeatureTables, UserRiskTable
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.stores.connections import to_json
from ray_fraud.stores.feature_tables.encoding import TableFacts
from ray_fraud.stores.feature_tables.parts import put_tables
from ray_fraud.stores.feature_tables.postgres import PostgresFeatureRefreshes
from ray_fraud.stores.ledger import model_changes
from ray_fraud.stores.ledger.model_events import Cause
from ray_fraud.stores.ledger.postgres_registry import PostgresRegistry
from ray_fraud.stores.ledger.registry import ModelVersion, NewModel, Share

Progress = Callable[[str], None]

OBSERVER_SECONDS = 20.0
LAST_ALERTS_SECONDS = 3.0
SLOW_MS = 150.0
USERS = 1_000
CAUSE = Cause("benchmark", "warm start")
DEGRADED = re.compile(r"^fraud_detection_degraded_scores_total\S* (\S+)$", re.MULTILINE)


class Phase(msgspec.Struct):
    """The alerts of transactions that were sent within one phase."""

    name: str
    alerts: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    above_150_ms: int
    degraded: int
    """Rows that partitions scored themselves because the scorer did not answer in time."""
    slowest_by_second_ms: list[float]
    """By second of sending, counted from the phase's beginning; 0 in one without an alert."""


def phase_of(
    name: str, seen: list[tuple[float, float]], begin: float, seconds: float, degraded: int
) -> Phase:
    """`seen`: unix seconds of sending and milliseconds of latency."""
    mine = [(sent - begin, latency) for sent, latency in seen if begin <= sent < begin + seconds]
    slowest = [0.0] * int(seconds)
    for after, latency in mine:
        second = min(int(after), len(slowest) - 1)
        slowest[second] = max(slowest[second], round(latency, 1))
    latencies = np.array([latency for _, latency in mine] or [np.nan])
    p50, p95, p99 = (round(float(np.percentile(latencies, share)), 1) for share in (50, 95, 99))
    slow = int((latencies > SLOW_MS).sum())
    most = round(float(latencies.max()), 1)
    return Phase(name, len(mine), p50, p95, p99, most, slow, degraded, slowest)


class Run:
    """One platform under load."""

    def __init__(self, running: Running, observer: Observer, seconds: float) -> None:
        self._running = running
        self._observer = observer
        self._seconds = seconds
        self._seen: list[tuple[float, float]] = []

    def phase(self, name: str, change: "Callable[[Run], float]") -> Phase:
        """Makes the change, which tells when the phase began, and waits until all its alerts are there."""
        degraded = self._degraded()
        begin = change(self)
        time.sleep(max(0.0, begin + self._seconds + LAST_ALERTS_SECONDS - time.time()))
        self._collect()
        return phase_of(name, self._seen, begin, self._seconds, self._degraded() - degraded)

    def first_sent(self) -> float:
        """Unix seconds at which the first of the alerts seen so far was sent."""
        while not self._seen:
            time.sleep(0.5)
            self._collect()
        return min(sent for sent, _ in self._seen)

    def _collect(self) -> None:
        for report in self._observer.new():
            self._seen += zip((ms / 1000 for ms in report.sent_ms), report.latencies_ms, strict=True)

    def _degraded(self) -> int:
        url = f"http://127.0.0.1:{self._running.config.metrics_port}/metrics"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=5.0) as answer:
            return int(sum(map(float, DEGRADED.findall(answer.read().decode()))))

    def replace_owners(self) -> float:
        """Kills every owner; unix seconds at which the last successor was ready."""
        killed = {entry["partition"]: entry["epoch"] for entry in hot_path_status()["partitions"]}
        for entry in hot_path_status()["partitions"]:
            os.kill(entry["pid"], signal.SIGKILL)
        while not all(_succeeded(entry, killed) for entry in hot_path_status()["partitions"]):
            time.sleep(0.2)
        wait_until_ready(lambda _: None)
        return time.time()

    def change_split(self, share_bp: int = 7_000) -> float:
        """Gives production this share, and another version the rest; unix seconds of the change."""

        def shares(rows: Sequence[ModelVersion]) -> list[Share]:
            present = model_changes.in_production(rows)
            other = next(row for row in rows if row.id != present.id)
            return model_changes.shares_by_label(
                rows, {present.label: share_bp, other.label: 10_000 - share_bp}
            )

        return self._set(shares)

    def promote_new_version(self) -> float:
        """A version of the same trees under another digest takes production's place; as `change_split`."""
        files = scorer_config(self._running.config).model_files()
        with closing(PostgresRegistry(self._running.config.connections.postgres)) as registry:
            production = model_changes.in_production(registry.versions())
            stored = files.load(production.model_digest)
            manifest = msgspec.structs.replace(stored.manifest, version=stored.manifest.version + 100)
            digest = files.put(manifest, stored.onnx, stored.explain)
            row = registry.register(NewModel(manifest.model_name, digest, digest, manifest.threshold))
        return self._set(lambda rows: model_changes.promotion(rows, row.label))

    def roll_back(self) -> float:
        """The version before takes its place again; as `change_split`."""
        with closing(PostgresRegistry(self._running.config.connections.postgres)) as registry:
            events = registry.history()
        return self._set(lambda rows: model_changes.rollback(rows, events))

    def _set(self, shares: Callable[[Sequence[ModelVersion]], list[Share]]) -> float:
        with closing(PostgresRegistry(self._running.config.connections.postgres)) as registry:
            fingerprint = registry.fingerprint()
            registry.set_split(shares(registry.versions()), expected_fingerprint=fingerprint, cause=CAUSE)
        return time.time()

    def refresh_features(self) -> float:
        """Publishes tables of all users' known frauds, and changes shares; as `change_split`."""
        config = self._running.config
        ids = np.arange(USERS)
        users = UserRiskTable(user_ids=ids, frauds_30d=ids % 3, last_fraud_ms=np.full(USERS, 10**12))
        parts = put_tables(feature_table_files(config), FeatureTables(users=users), TableFacts(as_of_ms=1))
        with closing(PostgresFeatureRefreshes(config.connections.postgres)) as refreshes:
            refreshes.publish(parts.digest)
        return self.change_split(6_000)

    def change_settings(self) -> float:
        """Asks every owner for a slightly higher limit; unix seconds of the request."""
        settings = self._running.config.settings
        limit = msgspec.structs.replace(settings.high_amount, limit=settings.high_amount.limit + 1)
        packed = msgspec.json.encode(msgspec.structs.replace(settings, high_amount=limit))
        with closing(PostgresRegistry(self._running.config.connections.postgres)) as registry:
            split = msgspec.json.encode(registry.current_split())
        owners = [entry["partition"] for entry in hot_path_status()["partitions"]]
        handles = [ray.get_actor(partition_actor_name(owner), namespace=NAMESPACE) for owner in owners]
        began = time.time()
        ray.get([handle.propose.remote(split, packed) for handle in handles])
        return began


PHASES: dict[str, Callable[[Run], float]] = {
    "take-over": Run.replace_owners,
    "split": Run.change_split,
    "new version": Run.promote_new_version,
    "rollback": Run.roll_back,
    "back again": Run.roll_back,
    "features": Run.refresh_features,
    "settings": Run.change_settings,
}


def _succeeded(entry: dict[str, Any], killed: dict[int, int]) -> bool:
    return entry.get("epoch", 0) > killed[entry["partition"]] and not entry["replaying"]


@click.command(help=__doc__)
@click.option("--seconds", type=click.FloatRange(min=5), default=20.0, show_default=True, help="Of a phase.")
@click.option("--tps", type=click.FloatRange(min=1), default=100.0, show_default=True)
@click.option("--high-amount", type=click.FloatRange(min=0), default=250.0, show_default=True)
@click.option("--phase", "names", type=click.Choice(list(PHASES)), multiple=True, help="Default: all.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Kept, with the logs.")
def main(
    seconds: float, tps: float, high_amount: float, names: tuple[str, ...], data_dir: Path | None
) -> None:
    with tempfile.TemporaryDirectory(prefix="ray-fraud-warm-", ignore_cleanup_errors=True) as folder:
        stack = LocalStack(data_dir or Path(folder))
        began = time.time()

        def progress(line: str) -> None:
            sys.stderr.write(f"{time.time() - began:6.1f} {line}\n")

        limit = msgspec.structs.replace(DetectionSettings().high_amount, limit=high_amount)
        settings = msgspec.structs.replace(DetectionSettings(), high_amount=limit)
        try:
            startup, phases = measure(stack, settings, seconds, tps, names or tuple(PHASES), progress)
        finally:
            bring_down(stack, progress)
    answer = {"tps": tps, "high_amount": high_amount, "startup_seconds": round(startup, 1), "phases": phases}
    sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")


def measure(
    stack: LocalStack,
    settings: DetectionSettings,
    seconds: float,
    tps: float,
    names: Sequence[str],
    progress: Progress,
) -> tuple[float, list[Phase]]:
    """Seconds until the platform was healthy, and the phases."""
    began = time.time()
    running = bring_up(stack, progress, settings=settings, training=False)
    startup = time.time() - began
    file = stack.paths.data_dir / "connections.json"
    file.write_bytes(to_json(running.config.connections))
    with observing(file) as observer:
        observer.wait_for_first(OBSERVER_SECONDS)
        progress("streaming")
        with generating(stack, DemoPlan(seconds=0, tps=tps, seed=7, users=USERS)):
            run = Run(running, observer, seconds)
            phases = [run.phase("first records", Run.first_sent)]
            for name in names:
                progress(name)
                phases.append(run.phase(name, PHASES[name]))
                progress(msgspec.json.encode(phases[-1]).decode())
    return startup, phases


if __name__ == "__main__":
    main()
