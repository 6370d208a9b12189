"""Sends a stream to a target at the intended times.

Never: making transactions, deciding the rate, a Kafka client.
"""

from collections.abc import Callable, Iterable
from enum import StrEnum

import msgspec

from ray_fraud.generator.encode import encode_key, encode_label, encode_transaction
from ray_fraud.generator.pace import Clock, Lateness, Schedule
from ray_fraud.generator.targets import Target
from ray_fraud.generator.transaction import Fraud, GeneratedTransaction

_LONGEST_SLEEP_SECONDS = 0.5
"""So that a wish to stop is noticed soon."""


class Labels(StrEnum):
    """Which transactions get a label."""

    FRAUD = "fraud"
    ALL = "all"
    NONE = "none"


class SendReport(msgspec.Struct):
    """What a run has sent so far. `frauds` counts by scenario."""

    transactions: int = 0
    labels: int = 0
    frauds: dict[Fraud, int] = {}
    first_event_time: float | None = None
    last_event_time: float | None = None
    seconds: float = 0.0
    """Wall time, waiting for the last acknowledgement included."""
    late_max_ms: float = 0.0
    late_over_20_ms: int = 0

    @property
    def tps(self) -> float:
        return self.transactions / self.seconds if self.seconds > 0 else 0.0


def send(
    stream: Iterable[GeneratedTransaction],
    target: Target,
    schedule: Schedule,
    clock: Clock,
    *,
    labels: Labels = Labels.FRAUD,
    should_stop: Callable[[], bool] = lambda: False,
    progress: Callable[[SendReport], None] = lambda _report: None,
) -> SendReport:
    """Send everything, or until `should_stop`; then wait for the acknowledgements.

    `progress` is called on every wake-up and every thousand transactions.

    Raises:
        StoreUnavailable, StoreRefused: from a Kafka target.
    """
    report, lateness, began = SendReport(), Lateness(), clock.now()
    for made in stream:
        due = schedule.due(made.event_time)
        now = clock.now()
        if due is not None and due > now:
            report.seconds = now - began
            progress(report)
            now = _wait_until(due, clock, should_stop)
        if should_stop():
            break
        lateness.add(0.0 if due is None else (now - due) * 1000.0)
        _send_one(made, round((now if due is None else due) * 1000.0), target, labels, report)
        if report.transactions % 1000 == 0:
            report.seconds = clock.now() - began
            progress(report)
    target.finish()
    report.seconds = clock.now() - began
    report.late_max_ms, report.late_over_20_ms = lateness.max_ms, lateness.noticeable
    progress(report)
    return report


def _wait_until(due: float, clock: Clock, should_stop: Callable[[], bool]) -> float:
    now = clock.now()
    while now < due and not should_stop():
        clock.sleep(min(due - now, _LONGEST_SLEEP_SECONDS))
        now = clock.now()
    return now


def _send_one(
    made: GeneratedTransaction, timestamp_ms: int, target: Target, labels: Labels, report: SendReport
) -> None:
    key = encode_key(made.transaction.user_id)
    target.transaction(key, encode_transaction(made.transaction), timestamp_ms)
    report.transactions += 1
    report.last_event_time = made.event_time
    if report.first_event_time is None:
        report.first_event_time = made.event_time
    if made.scenario is not None:
        report.frauds[made.scenario] = report.frauds.get(made.scenario, 0) + 1
    if labels is Labels.ALL or (labels is Labels.FRAUD and made.scenario is not None):
        target.label(key, encode_label(made.label), timestamp_ms)
        report.labels += 1
