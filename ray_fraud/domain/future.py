"""The refusal of a transaction that claims to be of the future.

The limit is applied where records are taken (`partition`, and the ingest of the lake), because it is the one
fault that the value alone does not show: it needs the record's Kafka timestamp and the settings.

Never: a clock.
"""

from ray_fraud.domain.rejection import Rejection, RejectionCode
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.domain.transaction import Transaction


def in_future(transaction: Transaction, record_ms: int, settings: DetectionSettings) -> Rejection:
    """The refusal; `record_ms` is the Kafka timestamp of its record, unix milliseconds."""
    skew_seconds = (transaction.event_ms - record_ms) / 1000
    message = (
        f"timestamp: {transaction.timestamp!r} is {skew_seconds:,.3f} s later than its record's Kafka "
        f"timestamp {record_ms} ms, {settings.max_future_skew_seconds:,.15g} s are allowed; "
        f"check the producer's clock"
    )
    return Rejection(RejectionCode.TIMESTAMP_IN_FUTURE, "timestamp", message)
