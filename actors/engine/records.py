"""Turning what the pipeline sees into metrics of the catalogue.

Never: a call; recording must cost microseconds.
"""

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from actors.engine.dead_letter_share import LIMIT_SHARE, DeadLetterShare
from actors.engine.misrouted import MisroutedAlarm
from actors.engine.owner import PartitionOwner
from ray_fraud.domain import metrics, progress_metrics
from ray_fraud.domain.alert import Alert
from ray_fraud.domain.metrics import TransactionStatus
from ray_fraud.domain.misrouting import Misrouted
from ray_fraud.domain.partition import Observed
from ray_fraud.domain.place_metrics import PLACEHOLDER_LOCATIONS
from ray_fraud.domain.split import Split
from ray_fraud.domain.version_metrics import VERSION_ROWS, VERSION_SECONDS, version_labels
from ray_fraud.scoring.scored_batch import ScoredBatch
from ray_fraud.telemetry.meter import Meter

logger = logging.getLogger(__name__)

LAG_SAMPLE_RECORDS = 64
"""Event lag is recorded for the newest record of a batch and evenly spaced others, up to this many."""


class BatchRecorder:
    """Records the batches of one partition."""

    def __init__(self, meter: Meter, owner: PartitionOwner, began: float) -> None:
        """`began`: monotonic time at which the take-over began."""
        self._meter = meter
        self._owner = owner
        self._share = DeadLetterShare()
        self.dead_letter_alarm = False
        number = owner.own.partition.partition
        self._partition = str(number)
        self._misrouted = MisroutedAlarm(number, owner.partitions)
        self.misrouted_alarm = False
        self._cut_at = time.monotonic()
        self._began = began
        self.recovery_seconds: float | None = None
        self.arm_counts: Counter[str] = Counter()
        """Scored transactions per model version, for the demo's A/B share."""
        self._state_bytes = sum(map(len, owner.state.users.values()))
        meter.set(metrics.EPOCH, owner.own.epoch, partition=self._partition)
        for status in TransactionStatus:
            meter.count(metrics.TRANSACTIONS, 0, status=status)
        # From the start: a counter that appears with its first event hides it from a rate.
        meter.count(metrics.MISROUTED, 0, partition=self._partition)
        meter.count(progress_metrics.LOG_CUT_OFFS, 0, partition=self._partition)
        for effect in progress_metrics.EFFECTS:
            meter.count(progress_metrics.REFUSED_EFFECTS, 0, effect=effect)

    def scored(self, split: Split, records: int, answer: ScoredBatch | None) -> None:
        meter = self._meter
        meter.observe(metrics.BATCH_SIZE, (records,))
        if answer is None:
            return
        meter.observe(metrics.ML_INFERENCE_LATENCY, (answer.seconds,))
        values, arms = answer.scores.values, answer.scores.arms
        if answer.degraded:
            meter.count(metrics.DEGRADED_SCORES, len(values))
        meter.observe(metrics.MODEL_SCORE, values.tolist())
        thresholds = np.array([arm.threshold for arm in split.arms])
        anomalies = int(np.count_nonzero(values > thresholds[arms]))
        meter.count(metrics.ML_PREDICTIONS, anomalies, prediction="anomaly")
        meter.count(metrics.ML_PREDICTIONS, len(values) - anomalies, prediction="normal")
        counts = np.bincount(arms, minlength=len(split.arms)).tolist()
        for arm, rows in zip(split.arms, counts, strict=True):
            self.arm_counts[arm.label] += rows
        # Seconds are missing if the replica is of a release that does not tell them.
        for arm, rows, seconds in zip(split.arms, counts, answer.arm_seconds, strict=False):
            if rows:
                meter.count(VERSION_ROWS, rows, **version_labels(arm))
                meter.observe(VERSION_SECONDS, (seconds,), **version_labels(arm))

    @property
    def misrouted(self) -> int:
        """Accepted records of users of other partitions since this owner began."""
        return self._misrouted.total

    def settled(
        self, observed: Observed, misrouted: Misrouted, seconds: float, newest_timestamp_ms: int
    ) -> None:
        meter, counts = self._meter, observed.counts
        now_ms = time.time() * 1000
        meter.count(metrics.TRANSACTIONS, counts.processed, status=TransactionStatus.PROCESSED)
        meter.count(metrics.TRANSACTIONS, counts.duplicates, status=TransactionStatus.DUPLICATE)
        meter.count(metrics.TRANSACTIONS, counts.rejected, status=TransactionStatus.DEAD_LETTERED)
        meter.count(metrics.TRANSACTIONS, counts.quarantined, status=TransactionStatus.QUARANTINED)
        meter.count(metrics.ID_REUSED, counts.id_reused)
        meter.count(metrics.LATE_BEYOND_STATE, counts.late_beyond_state)
        meter.count(metrics.MISROUTED, misrouted.count, partition=self._partition)
        self._misrouted.add(counts.processed + counts.duplicates, misrouted, time.monotonic())
        meter.count(PLACEHOLDER_LOCATIONS, counts.placeholder_locations)
        self._state_bytes += _size(observed.changed) - _size(observed.before)
        for code, number in Counter(dead.rejection.code for dead in observed.dead_letters).items():
            meter.count(metrics.DEAD_LETTERS, number, code=code)
        records = counts.processed + counts.duplicates + counts.rejected + counts.quarantined
        self._judge_share(self._share.add(records, counts.rejected))
        meter.observe(metrics.PROCESSING_LATENCY, (seconds,))
        step = max(1, len(observed.rows) // LAG_SAMPLE_RECORDS)
        lags = [(now_ms - row.timestamp_ms) / 1000 for row in observed.rows[::step]]
        meter.observe(metrics.EVENT_LAG, lags or [(now_ms - newest_timestamp_ms) / 1000])

    def passed_over(self, observed: Observed) -> None:
        """Offsets without a record; what cannot be read ends as quarantined."""
        quarantined = observed.counts.quarantined
        self._meter.count(metrics.TRANSACTIONS, quarantined, status=TransactionStatus.QUARANTINED)

    def _judge_share(self, alarm: bool) -> None:
        if alarm and not self.dead_letter_alarm:
            logger.error(
                "partition %s: more than %.0f %% of the newest records are refused: see their codes in the "
                "dead letters",
                self._partition,
                LIMIT_SHARE * 100,
            )
        self.dead_letter_alarm = alarm
        self._meter.set(metrics.DEAD_LETTER_ALARM, float(alarm), partition=self._partition)

    def alerted(self, alerts: Sequence[Alert]) -> None:
        for (rule, severity), number in Counter((a.rule_name, a.severity) for a in alerts).items():
            self._meter.count(metrics.ALERTS, number, rule_name=rule, severity=severity)

    def cut(self, now: float) -> None:
        self._cut_at = now

    def progress(self, now: float) -> None:
        """Once a second: cut age, users, and once how long recovery took."""
        owner, meter = self._owner, self._meter
        if self.recovery_seconds is None and not owner.replaying:
            self.recovery_seconds = now - self._began
            meter.set(metrics.RECOVERY_SECONDS, self.recovery_seconds, partition=self._partition)
        self.misrouted_alarm = self._misrouted.judge(now)
        meter.set(metrics.MISROUTED_ALARM, float(self.misrouted_alarm), partition=self._partition)
        meter.set(metrics.CUT_AGE, now - self._cut_at, partition=self._partition)
        meter.set(metrics.USERS, len(owner.state.users), partition=self._partition)
        meter.set(metrics.STATE_BYTES, self._state_bytes, partition=self._partition)


def _size(states: Mapping[int, bytes | None]) -> int:
    return sum(len(state) for state in states.values() if state is not None)
