"""Sending: open loop, at the intended times, with the labels asked for; no test here waits."""

import json
import math
from datetime import timedelta

import pytest

from ray_fraud.generator.pace import Schedule
from ray_fraud.generator.send import Labels, SendReport, send
from ray_fraud.generator.stream import StreamSettings, transactions
from ray_fraud.generator.targets import KafkaTarget
from ray_fraud.generator.transaction import GeneratedTransaction
from ray_fraud.stores.connections import Topics
from ray_fraud.stores.errors import StoreUnavailable
from ray_fraud.stores.log.memory import MemoryBroker
from tests.generator.simulated_clock import SimulatedClock

START = 1_767_225_600.0
TOPICS = Topics()


class Collected:
    """A target that keeps everything, each send taking `cost_seconds` of the clock."""

    def __init__(self, clock: SimulatedClock, cost_seconds: float = 0.0) -> None:
        self.clock = clock
        self.cost_seconds = cost_seconds
        self.transactions: list[tuple[bytes, bytes, int, float]] = []
        self.labels: list[dict[str, object]] = []
        self.finished = False

    def transaction(self, key: bytes, value: bytes, timestamp_ms: int) -> None:
        self.transactions.append((key, value, timestamp_ms, self.clock.time))
        self.clock.time += self.cost_seconds

    def label(self, key: bytes, value: bytes, timestamp_ms: int) -> None:  # noqa: ARG002
        self.labels.append(json.loads(value))

    def finish(self) -> None:
        self.finished = True


def stream(count: int = 2000, fraud_share: float = 0.0, rate_hz: float = 100.0) -> list[GeneratedTransaction]:
    return list(transactions(StreamSettings(START, count=count, fraud_share=fraud_share, rate_hz=rate_hz)))


def test_a_punctual_sender_sends_each_record_on_its_tick() -> None:
    clock = SimulatedClock(START)
    target = Collected(clock)
    made = stream()
    report = send(made, target, Schedule(START, START, 1.0), clock)
    for each, (key, _, timestamp_ms, sent_at) in zip(made, target.transactions, strict=True):
        assert key == str(each.transaction.user_id).encode()
        assert timestamp_ms % 5 == 0
        assert 0 <= timestamp_ms - each.event_time * 1000 < 5.001
        assert sent_at * 1000 == pytest.approx(timestamp_ms, abs=0.01)
    assert target.finished
    assert report.late_max_ms < 0.01
    assert report.tps == pytest.approx(100, rel=0.1)


def test_it_sleeps_at_most_once_a_tick() -> None:
    clock = SimulatedClock(START)
    report = send(stream(rate_hz=5000.0, count=5000), Collected(clock), Schedule(START, START, 1.0), clock)
    assert clock.sleeps <= report.seconds / 0.005 + 1


def test_a_sender_that_falls_behind_keeps_the_intended_times() -> None:
    clock = SimulatedClock(START)
    target = Collected(clock, cost_seconds=0.02)
    made = stream()
    report = send(made, target, Schedule(START, START, 1.0), clock)
    for each, (_, _, timestamp_ms, _) in zip(made, target.transactions, strict=True):
        assert 0 <= timestamp_ms - each.event_time * 1000 < 5.001
    assert report.late_max_ms == pytest.approx(20_000, rel=0.1)
    assert report.late_over_20_ms > 1900


def test_a_fast_clock_compresses_the_send_times_only() -> None:
    clock = SimulatedClock(5_000_000_000.0)
    target = Collected(clock)
    made = stream()
    report = send(made, target, Schedule(START, clock.time, 10.0), clock)
    assert report.seconds == pytest.approx((made[-1].event_time - START) / 10, abs=0.01)
    assert json.loads(target.transactions[-1][1])["timestamp"] == made[-1].event_time
    assert report.first_event_time == made[0].event_time
    assert report.last_event_time == made[-1].event_time


def test_without_a_pace_records_carry_the_time_of_sending() -> None:
    clock = SimulatedClock(6_000_000_000.0)
    target = Collected(clock, cost_seconds=0.001)
    send(stream(100), target, Schedule(START, clock.time, math.inf), clock)
    assert clock.sleeps == 0
    assert all(abs(ms - at * 1000) <= 0.5 for _, _, ms, at in target.transactions)


@pytest.mark.parametrize("labels", Labels)
def test_labels_are_for_whom_they_were_asked(labels: Labels) -> None:
    clock = SimulatedClock(START)
    target, made = Collected(clock), stream(fraud_share=0.2)
    report = send(made, target, Schedule(START, START, 1.0), clock, labels=labels)
    frauds = [each.transaction.transaction_id for each in made if each.scenario]
    expected = {
        Labels.FRAUD: frauds,
        Labels.ALL: [each.transaction.transaction_id for each in made],
        Labels.NONE: [],
    }
    assert [label["transaction_id"] for label in target.labels] == expected[labels]
    assert report.labels == len(target.labels)
    assert sum(report.frauds.values()) == len(frauds)


def test_it_stops_when_asked_even_in_a_long_pause() -> None:
    clock = SimulatedClock(START)
    target = Collected(clock)
    report = send(
        stream(rate_hz=0.001),
        target,
        Schedule(START, START, 1.0),
        clock,
        should_stop=lambda: clock.time >= START + 3,
    )
    assert report.seconds <= 3.6
    assert target.finished


def test_progress_is_told_now_and_then() -> None:
    seen: list[int] = []

    def progress(report: SendReport) -> None:
        seen.append(report.transactions)

    clock = SimulatedClock(START)
    send(stream(2500), Collected(clock), Schedule(START, START, math.inf), clock, progress=progress)
    assert seen == [1000, 2000, 2500]


def test_on_kafka_key_value_time_and_label_arrive() -> None:
    broker, clock, made = MemoryBroker(), SimulatedClock(START), stream(300, fraud_share=0.2)
    for topic in (TOPICS.transactions, TOPICS.labels):
        broker.create(topic, 3)
    send(made, KafkaTarget(broker.writer(), TOPICS), Schedule(START, START, 1.0), clock)
    records = broker.records(TOPICS.transactions)
    values = {json.loads(record.value or b"")["transaction_id"]: record for record in records}
    assert values.keys() == {each.transaction.transaction_id for each in made}
    for each in made:
        record = values[each.transaction.transaction_id]
        assert record.key == str(each.transaction.user_id).encode()
        assert 0 <= record.timestamp_ms - each.event_time * 1000 < 5.001
    assert len(broker.records(TOPICS.labels)) == sum(each.scenario is not None for each in made)


class Unacknowledged:
    def wait(self, timeout: timedelta) -> None:  # noqa: ARG002
        raise StoreUnavailable("kafka", "no answer")


class SilentWriter:
    """Takes everything and acknowledges nothing."""

    sent = 0

    def send(self, topic: str, **_: object) -> Unacknowledged:  # noqa: ARG002
        self.sent += 1
        return Unacknowledged()

    def flush(self, timeout: timedelta) -> None: ...

    def close(self) -> None: ...


def test_unacknowledged_records_are_never_ignored_nor_gathered_without_limit() -> None:
    clock = SimulatedClock(START)
    writer = SilentWriter()
    few = KafkaTarget(writer, TOPICS)  # type: ignore[arg-type]  # its pendings only fail
    with pytest.raises(StoreUnavailable):
        send(stream(10), few, Schedule(START, START, math.inf), clock)
    many = KafkaTarget(writer, TOPICS)  # type: ignore[arg-type]
    writer.sent = 0
    with pytest.raises(StoreUnavailable):
        send(stream(20_000), many, Schedule(START, START, math.inf), clock)
    assert writer.sent < 10_100
