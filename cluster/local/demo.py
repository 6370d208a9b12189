"""One demonstration run: a stack, a stream, what it does, and whether its alerts are right.

    bring up → generate (own process) → watch (own process) → settle → audit → bring down

Never: printing (the command line renders what `Figures` says); a stack that somebody else started.
"""

import contextlib
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from batch.features.run import feature_tables_of
from cluster.local.audit import StackAudit, audit_stack
from cluster.local.bench.children import Observer, end, observing
from cluster.local.bench.observer import Seen
from cluster.local.cold_path_client import NoColdPath, batch_status, run_batch
from cluster.local.failures import GeneratorError
from cluster.local.hot_path import hot_path_status
from cluster.local.running import Running, bring_down, bring_up
from cluster.local.stack import LocalStack
from ray_fraud.stores.connections import to_json
from ray_fraud.stores.tables.delta import DeltaTransactions

Progress = Callable[[str], None]

TICK_SECONDS = 0.5
SETTLE_TIMEOUT_SECONDS = 60.0
BATCH_TIMEOUT_SECONDS = 180.0
ALL_RUNS = 1_000
OBSERVER_TIMEOUT_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class DemoPlan:
    seconds: float
    """0: until stopped."""
    tps: float
    seed: int
    users: int


@dataclass(slots=True)
class Figures:
    """What can be shown while it runs."""

    began: float
    startup_seconds: float = 0.0
    first_alert_seconds: float | None = None
    first_offsets: dict[int, int] = field(default_factory=dict)
    """Where each partition stood before the stream; a later owner has another barrier."""
    streaming_seconds: float = 0.0
    processed: int = 0
    processed_per_second: float = 0.0
    lag: int = 0
    alerts: Counter[str] = field(default_factory=Counter)
    arms: Counter[str] = field(default_factory=Counter)
    latencies_ms: list[float] = field(default_factory=list)

    def percentile(self, percent: float) -> float | None:
        """Of the latencies so far, milliseconds; None before the first alert."""
        return float(np.percentile(self.latencies_ms, percent)) if self.latencies_ms else None

    def add(self, reports: list[Seen]) -> None:
        for seen in reports:
            self.latencies_ms += seen.latencies_ms
            self.alerts.update(seen.rules)
            if seen.sent_ms and self.first_alert_seconds is None:
                arrived = min(s + latency for s, latency in zip(seen.sent_ms, seen.latencies_ms, strict=True))
                self.first_alert_seconds = arrived / 1000 - self.began


@dataclass(frozen=True, slots=True)
class LakeCheck:
    """What a last run of the cold path left."""

    rows: int
    """Of the table `transactions`."""
    feature_rows: int
    different_alerts: int
    """Alerts of the hot rules that the lake's fold and the hot path do not share, in all runs."""


@dataclass(frozen=True, slots=True)
class DemoResult:
    figures: Figures
    produced: int
    audit: StackAudit
    lake: LakeCheck

    @property
    def agrees(self) -> bool:
        """The audit reads the whole log, also what an earlier demonstration left in the same folder."""
        before = sum(self.figures.first_offsets.values())
        return self.audit.agrees and self.audit.records == before + self.produced and self.lake_agrees

    @property
    def lake_agrees(self) -> bool:
        """Every accepted record is one row of the lake, and the rows fold to the same alerts."""
        rows = (self.lake.rows, self.lake.feature_rows)
        wanted = (self.audit.processed + self.audit.duplicates, self.audit.processed)
        return rows == wanted and not self.lake.different_alerts


def run_demo(
    stack: LocalStack,
    plan: DemoPlan,
    began: float,
    progress: Progress,
    show: Callable[[Figures], None],
) -> DemoResult:
    """Runs the whole demonstration; Ctrl-C ends the stream early and everything after it in order.

    Args:
        stack: of a data folder that no running stack uses.
        plan: how long, how fast, which seed.
        began: unix seconds at which the command began.
        progress: one line about a step.
        show: called about twice a second while it streams.

    Raises:
        LocalStackError, StoreError, HotPathNotReady: the message says what to do.
    """
    figures = Figures(began)
    try:
        # A minute gives nothing to train on.
        running = bring_up(stack, progress, training=False)
        connections_file = stack.paths.data_dir / "connections.json"
        connections_file.write_bytes(to_json(running.config.connections))
        with observing(connections_file) as observer:
            observer.wait_for_first(OBSERVER_TIMEOUT_SECONDS)
            figures.startup_seconds = time.time() - began
            figures.first_offsets = _settled_offsets()
            progress(f"healthy after {figures.startup_seconds:.1f} s, streaming")
            produced = _stream(stack, plan, figures, observer, show)
            progress("settling")
            ends = _settle(produced, figures, observer)
            figures.add(observer.stop())
        show(figures)
        progress("comparing with a single-threaded replay of the same log")
        audit = _audit_when_sunk(running, ends)
        progress("bringing the log into the lake, and folding it there")
        lake = _lake_check(running)
    except BaseException:
        bring_down(stack, progress)
        raise
    bring_down(stack, progress)
    return DemoResult(figures, produced, audit, lake)


def _stream(
    stack: LocalStack, plan: DemoPlan, figures: Figures, observer: Observer, show: Callable[[Figures], None]
) -> int:
    """Lets the generator run to its end or to Ctrl-C; how many transactions it sent."""
    with generating(stack, plan) as process:
        began = time.monotonic()
        try:
            while process.poll() is None:
                _update(figures, observer, time.monotonic() - began)
                show(figures)
                time.sleep(TICK_SECONDS)
        except KeyboardInterrupt:
            process.terminate()
        output, _ = process.communicate(timeout=30.0)
    if process.returncode != 0:
        raise GeneratorError(
            f"the generator ended with exit code {process.returncode}; run it alone to see why: "
            "`ray-fraud up`, then `ray-fraud generate`"
        )
    report: dict[str, Any] = msgspec.json.decode(output)
    return int(report["data"]["transactions"])


@contextlib.contextmanager
def generating(stack: LocalStack, plan: DemoPlan) -> Iterator["subprocess.Popen[bytes]"]:
    options = {"--tps": plan.tps, "--seed": plan.seed, "--users": plan.users}
    if plan.seconds > 0:
        options["--seconds"] = plan.seconds
    arguments = [text for name, value in options.items() for text in (name, str(value))]
    command = [sys.executable, "-m", "ray_fraud.cli", "generate", "--output", "json"]
    process = subprocess.Popen(
        [*command, "--data-dir", str(stack.paths.data_dir), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        # Ctrl-C reaches this command only, which then ends its children in order.
        start_new_session=True,
    )
    try:
        yield process
    finally:
        end(process)


def _update(figures: Figures, observer: Observer, streaming_seconds: float) -> None:
    status = hot_path_status()
    partitions = [partition for partition in status["partitions"] if "settled_offset" in partition]
    processed = sum(p["settled_offset"] - figures.first_offsets.get(p["partition"], 0) for p in partitions)
    passed = streaming_seconds - figures.streaming_seconds
    if passed > 0:
        figures.processed_per_second = (processed - figures.processed) / passed
    figures.processed, figures.streaming_seconds = processed, streaming_seconds
    figures.lag = sum(max(0, (p["log_end"] or 0) - p["settled_offset"]) for p in partitions)
    figures.arms = sum((Counter(p["arm_counts"]) for p in partitions), Counter())
    figures.add(observer.new())


def _settle(produced: int, figures: Figures, observer: Observer) -> dict[int, int]:
    """Waits until every sent transaction has settled; the settled offset of each partition."""
    deadline = time.monotonic() + SETTLE_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        _update(figures, observer, figures.streaming_seconds + TICK_SECONDS)
        ends = _settled_offsets()
        if ends.keys() >= figures.first_offsets.keys() and figures.lag == 0 and figures.processed >= produced:
            return ends
        time.sleep(TICK_SECONDS)
    raise TimeoutError(
        f"{figures.processed} of {produced} transactions settled within {SETTLE_TIMEOUT_SECONDS:.0f} s"
    )


def _lake_check(running: Running) -> LakeCheck:
    """Has the cold path run once more, and looks at what is there afterwards.

    Raises:
        NoColdPath, TimeoutError, StoreError: it did not run, or its table cannot be read.
    """
    done = run_batch(lambda _: None, BATCH_TIMEOUT_SECONDS)
    if done["status"] != "done":
        raise NoColdPath(f"the cold path failed: {done['error']}")
    runs = [run["report"]["features"] for run in batch_status(ALL_RUNS)["runs"] if run["status"] == "done"]
    lake = running.config.connections.lake
    return LakeCheck(
        DeltaTransactions(lake).rows(),
        feature_tables_of(lake).features.rows(),
        sum(run["missed"] + run["unexpected"] for run in runs),
    )


def _settled_offsets() -> dict[int, int]:
    """By partition, of those that have an owner."""
    partitions = hot_path_status()["partitions"]
    return {p["partition"]: p["settled_offset"] for p in partitions if "settled_offset" in p}


def _audit_when_sunk(running: Running, ends: dict[int, int]) -> StackAudit:
    """The audit; the sink may still be repairing, so a difference is looked at again for a while."""
    deadline = time.monotonic() + SETTLE_TIMEOUT_SECONDS
    while True:
        audit = audit_stack(running.config, ends)
        if audit.agrees or time.monotonic() > deadline:
            return audit
        time.sleep(TICK_SECONDS)
