"""Sending prepared records at an exact rate and little cost.

Records are sent on a fixed grid of ticks; how many fall on a tick is Poisson, decided before it comes. All
records of a tick carry its time as Kafka timestamp and as event time.

Never: spinning, retries, sending less because the broker is slow (except without a rate, `tps = 0`).
"""

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from ray_fraud.generator.chance import generator
from ray_fraud.generator.channel import BatchChannel
from ray_fraud.generator.pace import Clock, Lateness
from ray_fraud.generator.prepared import Template
from ray_fraud.generator.wire import MAX_BATCH_RECORDS, WireTemplate, record_batch, wire_template
from ray_fraud.stores.log.partitioning import partition_of

TICK_MS = 10
"""Half of it is the mean time that a record of a smooth arrival process would wait for its tick."""
_FULL_SPEED_BATCH = 500
_LAST_ACKNOWLEDGEMENT_SECONDS = 30.0


class LoadReport(msgspec.Struct):
    sent: int = 0
    acknowledged: int = 0
    failed: int = 0
    """Refused or unanswered; nothing is sent again."""
    started_ms: int = 0
    """First and last record timestamp, unix milliseconds."""
    ended_ms: int = 0
    seconds: float = 0.0
    tps: float = 0.0
    late_max_ms: float = 0.0
    late_over_20_ms: int = 0
    """Records that left more than 20 ms after their intended time."""
    cpu_seconds: float = 0.0
    cpu_us_per_record: float = 0.0


@dataclass(frozen=True)
class LoadPlan:
    tps: float
    """Records per second; 0: as fast as the broker takes them."""
    seconds: float | None
    """None: until `count`, or until told to stop."""
    count: int | None = None
    seed: int = 0
    tick_ms: int = TICK_MS

    def __post_init__(self) -> None:
        if self.tps < 0:
            raise ValueError(f"tps: {self.tps} must be at least 0")
        if not 1 <= self.tick_ms <= 1000:
            raise ValueError(f"tick_ms: {self.tick_ms} must lie between 1 and 1000")


class Cycle:
    """The records of one partition, again and again."""

    def __init__(self, templates: Sequence[WireTemplate]) -> None:
        self._templates = list(templates)
        self._next = 0

    def __len__(self) -> int:
        return len(self._templates)

    def take(self, count: int) -> list[WireTemplate]:
        """The next `count` records."""
        begin, self._next = self._next, self._next + count
        taken = self._templates[begin : self._next]
        while self._next >= len(self._templates):
            self._next -= len(self._templates)
            taken += self._templates[: self._next] if len(taken) < count else []
        return taken


def partition_cycles(templates: Sequence[Template], partitions: int) -> dict[int, Cycle]:
    """The records by the partition that their key belongs to (Kafka's default, murmur2)."""
    groups: dict[int, list[WireTemplate]] = {}
    for template in templates:
        groups.setdefault(partition_of(template.key, partitions), []).append(wire_template(template))
    return {partition: Cycle(group) for partition, group in sorted(groups.items())}


def run_load(
    templates: Sequence[Template],
    channel: BatchChannel,
    clock: Clock,
    plan: LoadPlan,
    should_stop: Callable[[], bool] = lambda: False,
) -> LoadReport:
    """Send until the plan's end, wait for acknowledgements, and say what happened."""
    cycles = partition_cycles(templates, channel.partitions)
    run = _Run(cycles, channel, clock, plan, should_stop)
    cpu_before = time.process_time()
    report = run.paced() if plan.tps > 0 else run.unpaced()
    deadline = clock.now() + _LAST_ACKNOWLEDGEMENT_SECONDS
    while channel.unfinished() and clock.now() < deadline:
        channel.wait(0.01)
    report.acknowledged, report.failed = channel.acknowledged, channel.failed + channel.unfinished()
    report.cpu_seconds = time.process_time() - cpu_before
    if report.sent:
        report.cpu_us_per_record = report.cpu_seconds / report.sent * 1e6
    return report


class _Run:
    def __init__(
        self,
        cycles: dict[int, Cycle],
        channel: BatchChannel,
        clock: Clock,
        plan: LoadPlan,
        should_stop: Callable[[], bool],
    ) -> None:
        self._cycles = cycles
        self._channel = channel
        self._clock = clock
        self._plan = plan
        self._should_stop = should_stop
        self._id_prefix = str(uuid.uuid4())[:24].encode()
        self._report = LoadReport()

    def paced(self) -> LoadReport:
        plan, clock, report, lateness = self._plan, self._clock, self._report, Lateness()
        total = sum(map(len, self._cycles.values()))
        means = [plan.tps * plan.tick_ms / 1000.0 * len(cycle) / total for cycle in self._cycles.values()]
        rng = generator(plan.seed, 7)
        ticks = None if plan.seconds is None else max(1, round(plan.seconds * 1000.0 / plan.tick_ms))
        due_ms = report.started_ms = round(clock.now() * 1000.0) + plan.tick_ms
        done = 0
        while (ticks is None or done < ticks) and not self._finished():
            counts = rng.poisson(means).tolist()
            late_ms = clock.now() * 1000.0 - due_ms
            if late_ms < 0.0:
                self._channel.wait(-late_ms / 1000.0)
                late_ms = clock.now() * 1000.0 - due_ms
            sent = self._send(self._capped(counts), due_ms)
            lateness.add(late_ms, sent)
            report.ended_ms = due_ms
            due_ms += plan.tick_ms
            done += 1
        report.seconds = done * plan.tick_ms / 1000.0
        report.tps = report.sent / report.seconds if report.seconds else 0.0
        report.late_max_ms, report.late_over_20_ms = lateness.max_ms, lateness.noticeable
        return report

    def unpaced(self) -> LoadReport:
        plan, clock, report = self._plan, self._clock, self._report
        began = clock.now()
        report.started_ms = round(began * 1000.0)
        total = sum(map(len, self._cycles.values()))
        shares = [
            max(1, round(_FULL_SPEED_BATCH * len(self._cycles) * len(cycle) / total))
            for cycle in self._cycles.values()
        ]
        while not self._finished() and (plan.seconds is None or clock.now() - began < plan.seconds):
            self._channel.wait_for_room(1.0)
            report.ended_ms = round(clock.now() * 1000.0)
            self._send(self._capped(shares), report.ended_ms)
        report.seconds = clock.now() - began
        report.tps = report.sent / report.seconds if report.seconds else 0.0
        return report

    def _finished(self) -> bool:
        return self._should_stop() or (self._plan.count is not None and self._report.sent >= self._plan.count)

    def _capped(self, counts: Sequence[int]) -> list[int]:
        """Not more than the plan's count in all."""
        left = None if self._plan.count is None else self._plan.count - self._report.sent
        if left is None or sum(counts) <= left:
            return list(counts)
        capped = []
        for count in counts:
            capped.append(min(count, left))
            left -= capped[-1]
        return capped

    def _send(self, counts: Sequence[int], timestamp_ms: int) -> int:
        """Send that many records of each partition, in several requests if a batch would be too large."""
        sent = 0
        rest = list(counts)
        while any(rest):
            batches: dict[int, tuple[bytes, int]] = {}
            for index, (partition, cycle) in enumerate(self._cycles.items()):
                count = min(rest[index], MAX_BATCH_RECORDS // 2)
                if count:
                    first = self._report.sent + sent
                    batch = record_batch(cycle.take(count), timestamp_ms, self._id_prefix, first)
                    batches[partition] = (batch, count)
                    rest[index] -= count
                    sent += count
            self._channel.send(batches)
        self._report.sent += sent
        return sent
