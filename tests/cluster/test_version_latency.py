"""What a version costs to score, from a real endpoint of metrics to the command's table."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client import generate_latest, start_http_server
from prometheus_client.registry import CollectorRegistry

from actors.config import HotPathConfig
from actors.metrics_hub import SnapshotCollector
from cluster.local.paths import StackPaths
from cluster.local.version_latency import VersionLatency, latencies_of, latency_rows, version_latencies
from ray_fraud.domain.version_metrics import VERSION_ROWS, VERSION_SECONDS
from ray_fraud.stores.connections import (
    Connections,
    KafkaConnection,
    LakeLocation,
    PostgresConnection,
    RedisConnection,
    to_json,
)
from ray_fraud.telemetry.meter import Meter, read_snapshot

NOWHERE = Connections(
    kafka=KafkaConnection("nowhere.invalid:9092"),
    redis=RedisConnection("redis://nowhere.invalid:6379/0"),
    postgres=PostgresConnection("postgresql://nowhere.invalid/x"),
    lake=LakeLocation("file:///nowhere"),
)


def endpoint() -> CollectorRegistry:
    """Two partitions that score by two versions; a third version was never asked."""
    hub = SnapshotCollector()
    for partition in range(2):
        meter = Meter(f"partition-{partition}", "a")
        for version, seconds, rows in (("1", 0.002, 10), ("2", 0.0002, 1)):
            labels = {"model": "isolation_forest", "version": version}
            meter.observe(VERSION_SECONDS, [seconds] * 100, **labels)
            meter.count(VERSION_ROWS, 100 * rows, **labels)
        meter.observe(VERSION_SECONDS, [7.0] * 2 * partition, model="isolation_forest", version="2")
        meter.count(VERSION_ROWS, 0, model="gradient_boosting", version="1")
        hub.add(read_snapshot(meter.snapshot()))
    registry = CollectorRegistry()
    registry.register(hub)
    return registry


@contextmanager
def platform_in(folder: Path) -> Iterator[None]:
    server, thread = start_http_server(0, addr="127.0.0.1", registry=endpoint())
    paths = StackPaths(folder)
    paths.hot_path.parent.mkdir(parents=True, exist_ok=True)
    paths.hot_path.write_bytes(to_json(HotPathConfig(connections=NOWHERE, metrics_port=server.server_port)))
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
        assert not any(each is thread for each in threading.enumerate())


def test_each_version_has_its_means_and_the_bound_that_calls_keep(tmp_path: Path) -> None:
    with platform_in(tmp_path):
        found = version_latencies(tmp_path)
    assert sorted(found) == ["isolation_forest:1", "isolation_forest:2"]
    one, two = found["isolation_forest:1"], found["isolation_forest:2"]
    assert (one.calls, one.rows, one.p99_ms) == (200, 2_000, 2.5)
    assert [one.call_ms, one.row_us] == pytest.approx([2.0, 200.0])
    # 202 calls, of which two were longer than any bound: the 99th of 100 is within.
    assert (two.calls, two.rows, two.p99_ms) == (202, 200, 0.25)
    assert version_latencies(tmp_path) == {}, "nothing answers any more"


def test_without_a_platform_nothing_is_known(tmp_path: Path) -> None:
    assert version_latencies(tmp_path) == {}
    StackPaths(tmp_path).hot_path.parent.mkdir(parents=True, exist_ok=True)
    StackPaths(tmp_path).hot_path.write_text("no JSON")
    assert version_latencies(tmp_path) == {}
    assert latencies_of("") == {}


def test_calls_beyond_every_bound_have_none_and_lines_show_it() -> None:
    slow = VersionLatency("isolation_forest:3", 5, 1_000, 2_000.0, 10_000.0, None)
    lines = latency_rows([slow, None])
    assert [line[1:] for line in lines] == [("1,000", "–"), ("2000.000", "–"), ("–", "–"), ("10000.0", "–")]
    registry = endpoint()
    assert latencies_of(generate_latest(registry).decode())["isolation_forest:2"].p99_ms == 0.25
