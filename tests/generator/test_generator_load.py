"""The load generator on a simulated clock and a channel in memory."""

import io
import json
from collections.abc import Mapping

import pytest
from kafka.record.default_records import DefaultRecordBatch

from ray_fraud.generator.load_run import LoadPlan, run_load
from ray_fraud.generator.prepared import Template, prepare, read_templates
from ray_fraud.stores.log.partitioning import partition_of
from tests.generator.simulated_clock import SimulatedClock

START = 1_767_225_600.0


class MemoryChannel:
    """Three partitions; each request takes `cost_seconds`; requests numbered in `broken` fail."""

    partitions = 3

    def __init__(
        self, clock: SimulatedClock, cost_seconds: float = 0.0, broken: frozenset[int] = frozenset()
    ) -> None:
        self.clock = clock
        self.cost_seconds = cost_seconds
        self.broken = broken
        self.acknowledged = 0
        self.failed = 0
        self.requests: list[tuple[float, dict[int, tuple[bytes, int]]]] = []

    def send(self, batches: Mapping[int, tuple[bytes, int]]) -> None:
        count = sum(records for _, records in batches.values())
        if len(self.requests) in self.broken:
            self.failed += count
        else:
            self.acknowledged += count
        self.requests.append((self.clock.time, dict(batches)))
        self.clock.time += self.cost_seconds

    def wait(self, seconds: float) -> None:
        self.clock.sleep(seconds)

    def wait_for_room(self, seconds: float) -> None: ...

    def unfinished(self) -> int:
        return 0

    def records(self) -> list[tuple[int, float, int, bytes, bytes]]:
        """(partition, sent at, record timestamp in ms, key, value) of everything sent."""
        return [
            (partition, at, record.timestamp, record.key, record.value)
            for at, batches in self.requests
            for partition, (batch, _) in batches.items()
            for record in DefaultRecordBatch(batch)
        ]


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> list[Template]:
    file = tmp_path_factory.mktemp("load") / "prepared.jsonl"
    content = io.BytesIO()
    prepare(content, seed=1, users=500, count=2000)
    file.write_bytes(content.getvalue())
    return read_templates(file)


def test_a_paced_load_has_its_rate_on_the_grid(templates: list[Template]) -> None:
    clock = SimulatedClock(START)
    channel = MemoryChannel(clock)
    report = run_load(templates, channel, clock, LoadPlan(500, 20))
    assert report.sent == report.acknowledged == pytest.approx(10_000, rel=0.05)
    assert report.late_max_ms < 0.01
    assert report.tps == pytest.approx(500, rel=0.05)
    for _, at, timestamp_ms, _, value in channel.records():
        assert at * 1000 == pytest.approx(timestamp_ms, abs=0.01)
        assert json.loads(value)["timestamp"] * 1000 == pytest.approx(timestamp_ms)
    assert clock.sleeps <= 2001


def test_ids_are_unique_and_keys_lie_in_their_partition(templates: list[Template]) -> None:
    clock = SimulatedClock(START)
    channel = MemoryChannel(clock)
    run_load(templates, channel, clock, LoadPlan(2000, 5))
    records = channel.records()
    assert len({json.loads(value)["transaction_id"] for *_, value in records}) == len(records) > 9000
    assert all(partition_of(key, 3) == partition for partition, _, _, key, _ in records)


def test_two_runs_share_no_id(templates: list[Template]) -> None:
    ids: list[str] = []
    for _ in range(2):
        clock = SimulatedClock(START)
        channel = MemoryChannel(clock)
        run_load(templates, channel, clock, LoadPlan(100, 1))
        ids += [json.loads(value)["transaction_id"] for *_, value in channel.records()]
    assert len(set(ids)) == len(ids)


def test_a_slow_channel_is_sent_late_and_in_full(templates: list[Template]) -> None:
    clock = SimulatedClock(START)
    channel = MemoryChannel(clock, cost_seconds=0.05)
    report = run_load(templates, channel, clock, LoadPlan(500, 4))
    assert report.sent == pytest.approx(2000, rel=0.1)
    timestamps = {timestamp for _, _, timestamp, _, _ in channel.records()}
    assert max(timestamps) - min(timestamps) < 4000
    assert report.late_max_ms > 10_000
    assert report.late_over_20_ms > 1900


def test_without_a_rate_exactly_the_count_is_sent(templates: list[Template]) -> None:
    clock = SimulatedClock(START)
    channel = MemoryChannel(clock, cost_seconds=0.001)
    report = run_load(templates, channel, clock, LoadPlan(0, None, 12_345))
    assert report.sent == report.acknowledged == 12_345
    assert len(channel.records()) == 12_345


def test_a_huge_tick_is_split_into_several_requests(templates: list[Template]) -> None:
    clock = SimulatedClock(START)
    channel = MemoryChannel(clock)
    report = run_load(templates, channel, clock, LoadPlan(40_000, 1, tick_ms=1000))
    assert len(channel.records()) == report.sent > 35_000


def test_failed_records_are_reported(templates: list[Template]) -> None:
    clock = SimulatedClock(START)
    channel = MemoryChannel(clock, broken=frozenset({3, 4}))
    report = run_load(templates, channel, clock, LoadPlan(1000, 1))
    assert report.failed > 0
    assert report.acknowledged + report.failed == report.sent


def test_it_stops_when_asked(templates: list[Template]) -> None:
    clock = SimulatedClock(START)
    channel = MemoryChannel(clock)
    report = run_load(templates, channel, clock, LoadPlan(100, None), lambda: clock.time > START + 2)
    assert report.seconds == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("plan", [{"tps": -1.0}, {"tps": 1.0, "tick_ms": 0}])
def test_a_wrong_plan_is_named(plan: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"^{list(plan)[-1]}: "):
        LoadPlan(seconds=1, **plan)  # type: ignore[arg-type]  # wrong on purpose
