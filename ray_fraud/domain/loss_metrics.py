"""Metrics of records that the lake lacks though they were accepted.

Never: a record.
"""

from ray_fraud.domain.metric import Metric, MetricKind

UNWRITABLE_RECORDS = Metric(
    "fraud_detection_unwritable_records",
    MetricKind.GAUGE,
    "records",
    "Accepted records that could not become rows of the lake. Any: see `quarantine`, which says why.",
)

LOSS_METRICS: tuple[Metric, ...] = (UNWRITABLE_RECORDS,)
