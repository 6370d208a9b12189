"""Metrics of records that the lake lacks.

Never: a record.
"""

from ray_fraud.domain.metric import Metric, MetricKind

LOG_GAPS = Metric(
    "fraud_detection_log_gaps",
    MetricKind.GAUGE,
    "gaps",
    "Gaps of the log that the cold path ever found: records are lost to the lake. A new one: see `log_gaps`.",
)
UNWRITABLE_RECORDS = Metric(
    "fraud_detection_unwritable_records",
    MetricKind.GAUGE,
    "records",
    "Accepted records that could not become rows of the lake. Any: see `quarantine`, which says why.",
)

LOSS_METRICS: tuple[Metric, ...] = (LOG_GAPS, UNWRITABLE_RECORDS)
