"""The whole hot path for tests: embedded servers, local Ray, Serve, actors; and what a test does to it.

It has servers of its own, so that no other test's clean-up (a flushed Redis, a dropped topic) meets a
running partition.

Never: a sleep in the place of a condition; a process that outlives `close`.
"""

import logging
import os
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
import tenacity

from actors.build import partition_id
from actors.config import BATCH, NAMESPACE, HotPathConfig
from batch.priority import VARIABLE
from cluster.local.audit import StackAudit, audit_stack
from cluster.local.kafka import EmbeddedKafka
from cluster.local.ledger import Ledger
from cluster.local.paths import StackPaths
from cluster.local.ports import Ports
from cluster.local.postgres import EmbeddedPostgres
from cluster.local.valkey import EmbeddedValkey
from ray_fraud.domain.record import PartitionId
from ray_fraud.generator.channel import KafkaBatchChannel
from ray_fraud.generator.load_run import LoadPlan, LoadReport, run_load
from ray_fraud.generator.pace import SteadyClock
from ray_fraud.generator.prepared import Template, prepare, read_templates
from ray_fraud.stores.connections import Connections, LakeLocation, Topics
from ray_fraud.stores.errors import StoreUnavailable
from ray_fraud.stores.ledger.postgres import PostgresLedger
from ray_fraud.stores.log.kafka_admin import KafkaLogAdmin
from ray_fraud.stores.log.kafka_reader import KafkaLogReader
from ray_fraud.telemetry.meter import Snapshot, read_snapshot
from tests.actors.scrape import Scrape, scrape
from tests.stores.ledger_world import reached

T = TypeVar("T")

POLL_SECONDS = 0.1
DRAIN_SECONDS = 60.0
READY_SECONDS = 240.0
DEFAULT_TOPICS = Topics()
ALERT_SHARE = 0.05
TICK_MS = 50
"""Twenty requests a second: the load leaves the machine to what is tested."""
SCORING_TIMEOUT_MS = 2_000
"""Eight times the default: on a busy test machine a call that takes longer fails for another reason."""


def eventually(what: str, probe: Callable[[], T | None], seconds: float) -> T:
    """The first answer of `probe` that is neither None nor False; fails the test after `seconds`.

    A store that asks to try again is asked again.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            answer = probe()
        except StoreUnavailable:
            answer = None
        if answer is not None and answer is not False:
            return answer
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:.0f} s: {what}")
        time.sleep(POLL_SECONDS)


@dataclass
class Platform:
    """A running hot path. Partitions are named by their number."""

    config: HotPathConfig
    templates: list[Template]
    ledger: PostgresLedger
    postgres: EmbeddedPostgres
    readers: dict[int, KafkaLogReader]
    alert_readers: list[KafkaLogReader]
    partitions: dict[int, PartitionId]
    closing: ExitStack = field(default_factory=ExitStack)

    def status(self) -> dict[int, dict[str, Any]]:
        """Each partition's status; one without an owner has no `epoch`."""
        from cluster.local.hot_path import hot_path_status

        return {entry["partition"]: entry for entry in hot_path_status()["partitions"]}

    def epochs(self) -> dict[int, int]:
        """Once every partition has an owner."""

        def probe() -> dict[int, int] | None:
            status = self.status()
            if all("epoch" in entry for entry in status.values()):
                return {number: entry["epoch"] for number, entry in status.items()}
            return None

        return eventually("every partition has an owner", probe, 60)

    def batch_metrics(self) -> Snapshot:
        """What the batch actor tells now; the endpoint has it some seconds later."""
        import ray

        actor: Any = ray.get_actor(BATCH, namespace=NAMESPACE)
        return read_snapshot(ray.get(actor.metrics.remote(), timeout=60))

    def scrape(self) -> Scrape:
        return scrape(self.config.metrics_port)

    @contextmanager
    def load(self, tps: float = 300.0) -> Iterator[LoadReport]:
        """Sends at that rate while the block runs; the report is filled at its end."""
        report = LoadReport()
        stop = threading.Event()
        first_error: list[str] = []

        def send() -> None:
            connections = self.config.connections
            channel = KafkaBatchChannel(connections.kafka, connections.topics.transactions)
            try:
                plan = LoadPlan(tps=tps, seconds=None, tick_ms=TICK_MS)
                done = run_load(self.templates, channel, SteadyClock(), plan, stop.is_set)
            finally:
                channel.close()
            for name in LoadReport.__struct_fields__:
                setattr(report, name, getattr(done, name))
            first_error.append(channel.first_error)

        sender = threading.Thread(target=send, name="load")
        begun = self.log_ends()
        sender.start()
        try:
            eventually("the load arrives", lambda: self.log_ends() != begun, 20)
            yield report
        finally:
            stop.set()
            sender.join(60)
        # On a busy machine a request may fail, which the load does not repeat; what was acknowledged counts.
        assert 0 < report.acknowledged <= sum(self.log_ends().values()) - sum(begun.values()), first_error

    def log_ends(self) -> dict[int, int]:
        return {number: reader.bounds().end for number, reader in self.readers.items()}

    def settle(self) -> dict[int, int]:
        """Waits until every record has settled and the sink has read every alert; the logs' ends."""
        ends = self.log_ends()

        def settled() -> bool:
            status = self.status()
            return all(status[number].get("settled_offset", -1) >= end for number, end in ends.items())

        def sunk() -> bool:
            return all(
                (reached(self.ledger, reader.partition) or 0) >= reader.bounds().end
                for reader in self.alert_readers
            )

        eventually("every record has settled", settled, DRAIN_SECONDS)
        eventually("the sink has read every alert", sunk, DRAIN_SECONDS)
        return ends

    def assert_exact(self) -> StackAudit:
        """After a drain: what is stored equals a replay of everything that was ever sent."""
        ends = self.settle()
        audit = audit_stack(self.config, ends)
        assert audit.agrees, audit
        assert audit.records == sum(ends.values())
        assert audit.processed + audit.duplicates + audit.dead_lettered + audit.quarantined == audit.records
        return audit

    def kill(self, partition: int) -> int:
        """SIGKILL to the owner's process; its epoch."""
        entry = self.status()[partition]
        os.kill(entry["pid"], signal.SIGKILL)
        return int(entry["epoch"])

    def await_owner_after(self, epoch: int, partition: int, seconds: float) -> dict[str, Any]:
        """The status of a later owner, once it has caught up with what its predecessor left."""

        def probe() -> dict[str, Any] | None:
            entry = self.status()[partition]
            caught_up = entry.get("epoch", 0) > epoch and entry["settled_offset"] >= entry["barrier"]
            return entry if caught_up else None

        return eventually(f"partition {partition} has an owner after epoch {epoch}", probe, seconds)

    def close(self) -> None:
        self.closing.close()


def open_platform(topics: Topics = DEFAULT_TOPICS) -> Platform:
    """Starts everything; takes half a minute."""
    with ExitStack() as closing:
        folder = Path(
            closing.enter_context(tempfile.TemporaryDirectory(prefix="rf-hot-", ignore_cleanup_errors=True))
        )
        paths = StackPaths(folder)
        paths.prepare()
        ports = Ports(paths)
        connections, postgres = _start_servers(closing, paths, ports, topics)
        config = HotPathConfig(
            connections=connections,
            metrics_port=ports.claim("metrics"),
            model_cache=str(folder / "models"),
            scoring_timeout_ms=SCORING_TIMEOUT_MS,
        )
        _start_ray(closing, folder)
        _start_hot_path(config)
        platform = _observed(closing, config, postgres, _templates(folder))
        platform.closing = closing.pop_all()
        return platform


def _start_servers(
    closing: ExitStack, paths: StackPaths, ports: Ports, topics: Topics
) -> tuple[Connections, EmbeddedPostgres]:
    ledger = Ledger(paths)
    kafka = EmbeddedKafka(paths, ledger, ports)
    postgres = EmbeddedPostgres(paths, ledger, ports)
    redis = EmbeddedValkey(paths, ledger, ports)
    for server in (kafka, postgres, redis):
        closing.callback(server.stop)
    with ThreadPoolExecutor(3) as pool:
        starting = pool.submit(kafka.start), pool.submit(postgres.start), pool.submit(redis.start)
        lake = LakeLocation(paths.lake.as_uri())
        results = starting[0].result(), starting[2].result(), starting[1].result()
        connections = Connections(*results, lake, topics)
    return connections, postgres


def _start_ray(closing: ExitStack, folder: Path) -> None:
    patch = closing.enter_context(pytest.MonkeyPatch.context())
    patch.setenv("RAY_AUTH_MODE", "disabled")
    patch.setenv("RAY_worker_niceness", "0")
    # A batch's processes would not start in time on a machine that is busy with other work.
    patch.setenv(VARIABLE, "0")
    patch.setenv("RAY_worker_register_timeout_seconds", "900")
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    patch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    with warnings.catch_warnings():
        # Ray's and pydantic's own warnings about each other, while Ray Serve is imported and started.
        warnings.simplefilter("ignore")
        import ray
        from ray import serve

    # Ray gives its own node 30 s to start, which a busy machine may exceed.
    for attempt in tenacity.Retrying(stop=tenacity.stop_after_attempt(3), after=lambda _: ray.shutdown()):
        with attempt:
            ray.init(
                num_cpus=8,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                namespace=NAMESPACE,
                object_store_memory=200 << 20,
                _temp_dir=str(folder / f"ray{attempt.retry_state.attempt_number}"),
            )
    closing.callback(ray.shutdown)
    closing.callback(serve.shutdown)


def _start_hot_path(config: HotPathConfig) -> None:
    from cluster.local.cold_path import batch_config, start_cold_path
    from cluster.local.hot_path import prepare_models, prepare_stores, start_hot_path, wait_until_ready

    prepare_stores(config.connections, print)
    prepare_models(config, print)
    start_hot_path(config)
    wait_until_ready(print, READY_SECONDS)
    # It runs when a test asks for it: its rhythm would fall into other tests.
    start_cold_path(msgspec.structs.replace(batch_config(config), settle=timedelta(hours=12)))


def _templates(folder: Path) -> list[Template]:
    prepared = folder / "prepared.jsonl"
    with prepared.open("wb") as file:
        prepare(file, seed=1, users=2_000, count=5_000, alert_share=ALERT_SHARE)
    return read_templates(prepared)


def _observed(
    closing: ExitStack, config: HotPathConfig, postgres: EmbeddedPostgres, templates: list[Template]
) -> Platform:
    connections, topics = config.connections, config.connections.topics
    ledger = PostgresLedger(connections.postgres, name="ray-fraud test")
    closing.callback(ledger.close)
    admin = KafkaLogAdmin(connections.kafka)
    closing.callback(admin.close)

    def readers(topic: str, count: int) -> list[KafkaLogReader]:
        made = []
        for number in range(count):
            made.append(KafkaLogReader(connections.kafka, topic, partition_id(admin, topic, number)))
            closing.callback(made[-1].close)
        return made

    inputs = readers(topics.transactions, topics.partitions)
    return Platform(
        config=config,
        templates=templates,
        ledger=ledger,
        postgres=postgres,
        readers=dict(enumerate(inputs)),
        alert_readers=readers(topics.alerts, admin.partition_count(topics.alerts)),
        partitions={number: reader.partition for number, reader in enumerate(inputs)},
    )
