"""The part of the catalogue that tells whether partitions get on, seen from outside of their owners.

Never: recording anything.
"""

from ray_fraud.domain.metric import Metric, MetricKind

EFFECTS = ("dead_letter", "alert")

LAG = Metric(
    "fraud_detection_lag_records",
    MetricKind.GAUGE,
    "records",
    "Log end, as the brokers tell it, minus settled offset. Growing: the partition is slower than its input.",
    {"partition": None},
)
PARTITION_OWNED = Metric(
    "fraud_detection_partition_owned",
    MetricKind.GAUGE,
    "bool",
    "1 while an owner answers, 0 while none does; also for partitions that were added to the topic. 0 for a "
    "minute: see `ray-fraud status`.",
    {"partition": None},
)
STALLED = Metric(
    "fraud_detection_partition_stalled_seconds",
    MetricKind.GAUGE,
    "seconds",
    "How long records wait while nothing settles, from the set limit on; else 0. Above 0: `ray-fraud status` "
    "says why.",
    {"partition": None},
)
STALLED_OWNERS = Metric(
    "fraud_detection_stalled_owners_total",
    MetricKind.COUNTER,
    "owners",
    "Owners that were ended because their partition stalled. Each one: see the supervisor's log.",
)
TOPICS_REPLACED = Metric(
    "fraud_detection_topics_replaced_total",
    MetricKind.COUNTER,
    "topics",
    "Times that a topic was found deleted and made again. `transactions`: every user begins anew.",
    {"topic": ("transactions", "fraud_alerts")},
)
UNREADABLE = Metric(
    "fraud_detection_unreadable_offsets",
    MetricKind.GAUGE,
    "offsets",
    "Offsets of the log that cannot be read and are passed over, on record. Above 0: look at the brokers' "
    "disks; `ray-fraud status` and the partition's log say which and why.",
    {"partition": None},
)
REFUSED_EFFECTS = Metric(
    "fraud_detection_refused_effects_total",
    MetricKind.COUNTER,
    "attempts",
    "Attempts to write what a topic refuses for another reason than its size: the partition stands until the "
    "topic or its rights are mended. Above 0: the owner's log names topic and reason.",
    {"effect": EFFECTS},
)
LOG_CUT_OFFS = Metric(
    "fraud_detection_log_cut_offs_total",
    MetricKind.COUNTER,
    "losses",
    "Times that the log was found to have lost records which had been observed. Each one: see the gaps.",
    {"partition": None},
)
TOPIC_CUT_OFFS = Metric(
    "fraud_detection_topic_cut_offs_total",
    MetricKind.COUNTER,
    "losses",
    "Times that a topic beside `transactions` was found to have lost records which had been read; what has "
    "their offsets now is read, too. Each one: see the gaps, or the dead letter.",
    {"topic": ("fraud_alerts", "producers")},
)
LOCKS_REFUSED = Metric(
    "fraud_detection_postgres_locks_refused_total",
    MetricKind.COUNTER,
    "calls",
    "Calls of owners and the sink that gave up waiting for a lock of PostgreSQL, and are repeated. Growing: "
    "the log says which session holds it.",
)

PROGRESS_METRICS = (
    LAG,
    PARTITION_OWNED,
    STALLED,
    STALLED_OWNERS,
    TOPICS_REPLACED,
    UNREADABLE,
    REFUSED_EFFECTS,
    LOG_CUT_OFFS,
    TOPIC_CUT_OFFS,
    LOCKS_REFUSED,
)
