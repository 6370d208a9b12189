"""The part of the catalogue that tells how re-keying gets on, by partition of the producers' topic.

Never: recording anything.
"""

from ray_fraud.domain.metric import Metric, MetricKind

REKEYED = Metric(
    "fraud_detection_rekeyed_total",
    MetricKind.COUNTER,
    "records",
    "Records brought from the producers' topic into the partitions of their users.",
    {"partition": None},
)
REKEY_LAG = Metric(
    "fraud_detection_rekey_lag_records",
    MetricKind.GAUGE,
    "records",
    "Records of the producers' topic that wait for it. Growing: see the log of the actor `ray-fraud-rekey`.",
    {"partition": None},
)
REKEY_LOST = Metric(
    "fraud_detection_rekey_lost_total",
    MetricKind.COUNTER,
    "offsets",
    "Offsets of the producers' topic that were gone or unreadable; each range is a dead letter that says so.",
    {"partition": None},
)
REKEY_METRICS = (REKEYED, REKEY_LAG, REKEY_LOST)
