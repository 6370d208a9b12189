"""Rows, ranges and gaps for the tests of the table `transactions`."""

from datetime import UTC, date, datetime, timedelta

import pyarrow as pa

from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.tables.columns import SCHEMA
from ray_fraud.stores.tables.port import LogGapRow, ReadRange

TOPIC = "transactions"
FIRST = PartitionId("cluster", "topic-id", 0)
SECOND = PartitionId("cluster", "topic-id", 1)
_AT = datetime(2026, 11, 25, 12, 30, 15, 123_000, tzinfo=UTC)
_TODAY = _AT.date()


def rows(
    partition: PartitionId, from_offset: int, to_offset: int, day: date = _TODAY, *, shift_ms: int = 0
) -> pa.Table:
    """One accepted row for each offset."""
    at = _AT + timedelta(milliseconds=shift_ms)
    row = {
        "topic_id": partition.topic_id,
        "partition": partition.partition,
        "record_time": at,
        "event_time": at,
        "user_id": 7,
        "amount": 12.5,
        "timestamp": at.timestamp(),
        "payload_digest": bytes(16),
        "event_date": day,
    }
    offsets = range(from_offset, to_offset)
    content = [{**row, "offset": offset, "transaction_id": f"tx-{offset}"} for offset in offsets]
    return pa.Table.from_pylist(content, schema=SCHEMA)


def read_range(partition: PartitionId, from_offset: int, to_offset: int) -> ReadRange:
    """All of its offsets accepted."""
    return ReadRange(partition, TOPIC, from_offset, to_offset, to_offset - from_offset, {}, 0)


def gap(partition: PartitionId, from_offset: int, to_offset: int | None) -> LogGapRow:
    return LogGapRow(partition, TOPIC, from_offset, to_offset, "lost", 1_790_000_000_000)
