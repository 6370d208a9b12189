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
ROWS_TAKEN_BACK = Metric(
    "fraud_detection_lake_rows_taken_back_total",
    MetricKind.COUNTER,
    "rows",
    "Rows removed from `transactions` because the log had lost their records. Any: see `log_gaps`, and ask "
    "the producers for the lost ones.",
)

LOSS_METRICS: tuple[Metric, ...] = (LOG_GAPS, UNWRITABLE_RECORDS, ROWS_TAKEN_BACK)
