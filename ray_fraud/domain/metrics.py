"""The catalogue of metrics: the one place that names them.

Code, documentation, dashboards and alert rules are checked against it. Label values come from
closed sets, so the number of series is bounded whatever the traffic contains.

Never: recording anything (see `ray_fraud.telemetry.meter`), a label with a user, a transaction or free text.
"""

from enum import StrEnum

import msgspec

from ray_fraud.domain.alert import HOT_RULES, RuleName, Severity
from ray_fraud.domain.drift_metrics import DRIFT_METRICS
from ray_fraud.domain.live_comparison import Role
from ray_fraud.domain.loss_metrics import LOSS_METRICS
from ray_fraud.domain.metric import Metric, MetricKind
from ray_fraud.domain.place_metrics import PLACE_METRICS
from ray_fraud.domain.progress_metrics import PROGRESS_METRICS
from ray_fraud.domain.rejection import RejectionCode
from ray_fraud.domain.rekey_metrics import REKEY_METRICS
from ray_fraud.domain.version_metrics import VERSION_METRICS

COLD_RULES = tuple(rule for rule in RuleName if rule not in HOT_RULES)


class Component(StrEnum):
    KAFKA = "kafka"
    REDIS = "redis"
    POSTGRES = "postgres"
    RAY = "ray"
    SERVE = "serve"
    PARTITIONS = "partitions"
    """Of the input: each has an owner that gets on. No outside system, so nothing else counts its errors."""


SYSTEMS = tuple(component for component in Component if component is not Component.PARTITIONS)

LAKE = "lake"
"""Has errors, but no health of its own: the hot path goes on without it."""


LAKE_TABLES = (
    "transactions",
    "log_gaps",
    "quarantine",
    "ml_features",
    "scores",
    "batch_scores",
    "lake_deletions",
    "lake_care",
)
"""The tables that the lake can have; one that no part of the platform has made yet is passed over."""


class TransactionStatus(StrEnum):
    PROCESSED = "processed"
    DUPLICATE = "duplicate"
    DEAD_LETTERED = "dead_lettered"
    QUARANTINED = "quarantined"


class RunStatus(StrEnum):
    """How a run of the cold path stands."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


SECONDS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
PARTITION: dict[str, tuple[str, ...] | None] = {"partition": None}

TRANSACTIONS = Metric(
    "fraud_detection_transactions_total",
    MetricKind.COUNTER,
    "transactions",
    "Records that left the hot path, by how they ended.",
    {"status": tuple(TransactionStatus)},
)
ALERTS = Metric(
    "fraud_detection_alerts_total",
    MetricKind.COUNTER,
    "alerts",
    "Alerts acknowledged by the alert topic. A jump of one rule: look at its newest alerts.",
    {"rule_name": HOT_RULES, "severity": tuple(Severity)},
)
PROCESSING_LATENCY = Metric(
    "fraud_detection_processing_latency_seconds",
    MetricKind.HISTOGRAM,
    "seconds",
    "From reading a micro-batch to its effects being acknowledged.",
    buckets=SECONDS_BUCKETS,
)
EVENT_LAG = Metric(
    "fraud_detection_event_lag_seconds",
    MetricKind.HISTOGRAM,
    "seconds",
    "From a record's Kafka timestamp to its effects being acknowledged: what the customer waits.",
    buckets=SECONDS_BUCKETS,
)
BATCH_SIZE = Metric(
    "fraud_detection_batch_size",
    MetricKind.HISTOGRAM,
    "records",
    "Records per scored micro-batch: small when quiet, large when behind.",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000),
)
ML_PREDICTIONS = Metric(
    "fraud_detection_ml_predictions_total",
    MetricKind.COUNTER,
    "transactions",
    "Scored transactions by verdict.",
    {"prediction": ("normal", "anomaly")},
)
ML_INFERENCE_LATENCY = Metric(
    "fraud_detection_ml_inference_latency_seconds",
    MetricKind.HISTOGRAM,
    "seconds",
    "One scoring call for one micro-batch, as the caller saw it.",
    buckets=SECONDS_BUCKETS,
)
MODEL_SCORE = Metric(
    "fraud_detection_model_score",
    MetricKind.HISTOGRAM,
    "score",
    "Scores; a moving distribution is drift.",
    buckets=tuple(round(0.05 * step, 2) for step in range(1, 21)),
)
SYSTEM_HEALTH = Metric(
    "fraud_detection_system_health",
    MetricKind.GAUGE,
    "bool",
    "1 healthy, 0 not. 0 for minutes: see the component's log and `ray-fraud status`.",
    {"component": tuple(Component)},
)
CUT_AGE = Metric(
    "fraud_detection_cut_age_seconds",
    MetricKind.GAUGE,
    "seconds",
    "Age of the newest state in Redis. Large: Redis is slow or down; only recovery time is at stake.",
    PARTITION,
)
DEAD_LETTERS = Metric(
    "fraud_detection_dead_letters_total",
    MetricKind.COUNTER,
    "records",
    "Refused records by code.",
    {"code": tuple(RejectionCode)},
)
DEAD_LETTER_ALARM = Metric(
    "fraud_detection_dead_letter_alarm",
    MetricKind.GAUGE,
    "bool",
    "1 while the share of refused records is above its limit: a producer is broken, or we are.",
    PARTITION,
)
MISROUTED = Metric(
    "fraud_detection_misrouted_total",
    MetricKind.COUNTER,
    "records",
    "Accepted records whose user belongs to another partition, duplicates among them. Any: a producer "
    "uses another key or partitioner, see docs/producers.md.",
    PARTITION,
)
MISROUTED_ALARM = Metric(
    "fraud_detection_misrouted_alarm",
    MetricKind.GAUGE,
    "bool",
    "1 while such records come, and for ten minutes after the last: users' histories are torn apart.",
    PARTITION,
)
DEGRADED_SCORES = Metric(
    "fraud_detection_degraded_scores_total",
    MetricKind.COUNTER,
    "transactions",
    "Scored locally because Serve was slow or down; the scores are the same.",
)
FENCED_WRITES = Metric(
    "fraud_detection_fenced_writes_total",
    MetricKind.COUNTER,
    "writes",
    "Writes of an old owner that a store refused. More than a handful: two owners fight.",
    {"component": (Component.POSTGRES, Component.REDIS, Component.KAFKA)},
)
ID_REUSED = Metric(
    "fraud_detection_id_reused_total",
    MetricKind.COUNTER,
    "transactions",
    "A transaction id seen again with another payload.",
)
LATE_BEYOND_STATE = Metric(
    "fraud_detection_late_beyond_state_total",
    MetricKind.COUNTER,
    "transactions",
    "Older than the user's newest event by 24 h or more: only rules without history apply.",
)
USERS = Metric("fraud_detection_users", MetricKind.GAUGE, "users", "Users with state.", PARTITION)
STATE_BYTES = Metric(
    "fraud_detection_state_bytes", MetricKind.GAUGE, "bytes", "Packed size of all user states.", PARTITION
)
ERRORS = Metric(
    "fraud_detection_errors_total",
    MetricKind.COUNTER,
    "errors",
    "Failed calls of an outside system; each was retried or a rung of the degradation ladder taken.",
    {"component": (*SYSTEMS, LAKE)},
)
EPOCH = Metric(
    "fraud_detection_epoch", MetricKind.GAUGE, "epoch", "Owner's epoch: counts take-overs.", PARTITION
)
RECOVERY_SECONDS = Metric(
    "fraud_detection_recovery_seconds",
    MetricKind.GAUGE,
    "seconds",
    "From the start of the last take-over to the end of its replay.",
    PARTITION,
)

BATCH_RUNS = Metric(
    "fraud_detection_batch_runs_total",
    MetricKind.COUNTER,
    "runs",
    "Runs of the cold path, by how they ended. Failures in a row: see `ray-fraud batch status`.",
    {"status": tuple(RunStatus)},
)
BATCH_OFFSETS = Metric(
    "fraud_detection_batch_offsets_total",
    MetricKind.COUNTER,
    "offsets",
    "Offsets that the cold path brought into the lake, by what became of them.",
    {"outcome": ("accepted", "rejected", "hole")},
)
BATCH_SECONDS = Metric(
    "fraud_detection_batch_seconds",
    MetricKind.HISTOGRAM,
    "seconds",
    "Duration of a run of the cold path. Near the interval: batches fall behind.",
    buckets=(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0),
)
BATCH_LAG = Metric(
    "fraud_detection_batch_lag_records",
    MetricKind.GAUGE,
    "records",
    "Offsets of the log that were not in the lake when the last run that could read both began.",
)
BATCH_AGE = Metric(
    "fraud_detection_batch_age_seconds",
    MetricKind.GAUGE,
    "seconds",
    "Since the last successful run of the cold path ended, or its process began and there was none yet. More "
    "than twice the interval: it is stuck.",
)
TRAINING_RUNS = Metric(
    "fraud_detection_training_runs_total",
    MetricKind.COUNTER,
    "runs",
    "Trainings, by how they ended. Failures in a row: see `ray-fraud train --status`.",
    {"status": tuple(RunStatus)},
)
TRAINING_SECONDS = Metric(
    "fraud_detection_training_seconds",
    MetricKind.HISTOGRAM,
    "seconds",
    "Duration of a training.",
    buckets=(10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0),
)
TRAINING_AGE = Metric(
    "fraud_detection_training_age_seconds",
    MetricKind.GAUGE,
    "seconds",
    "Since the last successful training ended, or its process began and there was none yet. More than twice "
    "its interval: models get old.",
)


class RunMeters(msgspec.Struct, frozen=True):
    """What a scheduler counts its runs by."""

    runs: Metric
    seconds: Metric
    age: Metric


BATCH_METERS = RunMeters(BATCH_RUNS, BATCH_SECONDS, BATCH_AGE)
TRAINING_METERS = RunMeters(TRAINING_RUNS, TRAINING_SECONDS, TRAINING_AGE)
FINDINGS = Metric(
    "fraud_detection_findings_total",
    MetricKind.COUNTER,
    "findings",
    "New findings of pattern rules, each one a cold alert. A jump: look at the newest in the alerts.",
    {"rule_name": COLD_RULES},
)
UNSEARCHED_ROWS = Metric(
    "fraud_detection_unsearched_rows_total",
    MetricKind.COUNTER,
    "rows",
    "Rows of the lake that no search for patterns looks at, because more came at once than `max_rows`. Any: "
    "look at them by hand, or set more.",
)
CARE_RUNS = Metric(
    "fraud_detection_care_runs_total",
    MetricKind.COUNTER,
    "runs",
    "Runs of the lake's daily care, by how they ended. Failed: the run's report in `batch_runs` says what.",
    {"status": (RunStatus.DONE, RunStatus.FAILED)},
)
CARE_AGE = Metric(
    "fraud_detection_care_age_seconds",
    MetricKind.GAUGE,
    "seconds",
    "Since the lake's last complete care ended. Above two days: files pile up and deleted bytes stay.",
)
CARE_SECONDS = Metric(
    "fraud_detection_care_seconds",
    MetricKind.GAUGE,
    "seconds",
    "Duration of the lake's last care; batches wait meanwhile.",
)
LAKE_FILES = Metric(
    "fraud_detection_lake_files",
    MetricKind.GAUGE,
    "files",
    "Files of the newest version of a table of the lake. Growing by the day: care does not get through.",
    {"table": LAKE_TABLES},
)
LAKE_BYTES = Metric(
    "fraud_detection_lake_bytes",
    MetricKind.GAUGE,
    "bytes",
    "Bytes of the newest version of a table of the lake; older versions take more until vacuum.",
    {"table": LAKE_TABLES},
)

FEATURE_ROWS = Metric(
    "fraud_detection_feature_rows_total",
    MetricKind.COUNTER,
    "rows",
    "Transactions whose features the cold path wrote to the lake.",
)
FOLDED_ALERTS = Metric(
    "fraud_detection_folded_alerts_total",
    MetricKind.COUNTER,
    "alerts",
    "Alerts of the hot rules as the cold path finds them again. `missed`, `unexpected`: hot and cold "
    "disagree, see its log. `without_model`: found where the hot path had no model.",
    {"outcome": ("equal", "missed", "unexpected", "without_model")},
)
FEATURE_REFRESHES = Metric(
    "fraud_detection_feature_refreshes_total",
    MetricKind.COUNTER,
    "refreshes",
    "New tables of merchants' risk and users' profiles that were published to the hot path.",
)

MODEL_SHARE = Metric(
    "fraud_detection_model_share",
    MetricKind.GAUGE,
    "ratio",
    "Users that versions of this role decide for. Which versions: `ray-fraud models list`.",
    {"role": tuple(Role)},
)
MODEL_ALERTS = Metric(
    "fraud_detection_model_alerts",
    MetricKind.GAUGE,
    "alerts",
    "Alerts of the rule `ml_anomaly` that live versions of this role made since they went live.",
    {"role": tuple(Role)},
)
MODEL_VERDICTS = Metric(
    "fraud_detection_model_verdicts",
    MetricKind.GAUGE,
    "verdicts",
    "Of these alerts, those that were judged. Few: neither precision nor a promotion can be relied on.",
    {"role": tuple(Role)},
)
MODEL_PRECISION = Metric(
    "fraud_detection_model_precision",
    MetricKind.GAUGE,
    "ratio",
    "Frauds among the alerts older than the maturity. Production's falling: see `ray-fraud models compare`.",
    {"role": tuple(Role)},
)
MODEL_DECISIONS = Metric(
    "fraud_detection_model_decisions_total",
    MetricKind.COUNTER,
    "decisions",
    "Changes that the rules of promotion made by themselves. Any `rolled_back`: see `ray-fraud models show`.",
    {"outcome": ("tested", "promoted", "refused", "rolled_back")},
)

CATALOGUE: tuple[Metric, ...] = (
    TRANSACTIONS,
    ALERTS,
    PROCESSING_LATENCY,
    EVENT_LAG,
    BATCH_SIZE,
    ML_PREDICTIONS,
    ML_INFERENCE_LATENCY,
    MODEL_SCORE,
    SYSTEM_HEALTH,
    *PROGRESS_METRICS,
    *PLACE_METRICS,
    *LOSS_METRICS,
    CUT_AGE,
    DEAD_LETTERS,
    DEAD_LETTER_ALARM,
    MISROUTED,
    MISROUTED_ALARM,
    DEGRADED_SCORES,
    FENCED_WRITES,
    ID_REUSED,
    LATE_BEYOND_STATE,
    USERS,
    STATE_BYTES,
    ERRORS,
    EPOCH,
    RECOVERY_SECONDS,
    BATCH_RUNS,
    BATCH_OFFSETS,
    BATCH_SECONDS,
    BATCH_LAG,
    BATCH_AGE,
    TRAINING_RUNS,
    TRAINING_SECONDS,
    TRAINING_AGE,
    FINDINGS,
    UNSEARCHED_ROWS,
    FEATURE_ROWS,
    FOLDED_ALERTS,
    FEATURE_REFRESHES,
    CARE_RUNS,
    CARE_AGE,
    CARE_SECONDS,
    LAKE_FILES,
    LAKE_BYTES,
    MODEL_SHARE,
    MODEL_ALERTS,
    MODEL_VERDICTS,
    MODEL_PRECISION,
    MODEL_DECISIONS,
    *REKEY_METRICS,
    *VERSION_METRICS,
    *DRIFT_METRICS,
)
