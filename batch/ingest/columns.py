"""From records of the log to rows of the table, in columns.

Every offset becomes exactly one row: an accepted transaction, a refused record, a hole or damage. What is no
transaction has nulls in all other columns and says in `outcome` why, so that offsets can be counted wherever
the rows go.

Never: I/O; a refused value.
"""

from collections.abc import Sequence
from itertools import repeat

import pyarrow as pa
import pyarrow.compute as pc

from ray_fraud.domain.accept import accept
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.record import DecodedRecord, PartitionId, Record
from ray_fraud.domain.rejection import Rejection
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.domain.windows import DAY_MS
from ray_fraud.stores.tables.columns import PARTITION_COLUMN, SCHEMA

OUTCOME = "outcome"
"""Null for an accepted record, `hole`, `unreadable`, or the rejection code."""
HOLE = "hole"
UNREADABLE = "unreadable"
ROWS: pa.Schema = pa.schema(
    [*(field.with_nullable(True) for field in SCHEMA), pa.field(OUTCOME, pa.string())]
)

_US_PER_MS = 1000


def rows_of(
    records: Sequence[Record],
    partition: PartitionId,
    from_offset: int,
    to_offset: int,
    decoder: Decoder,
    settings: DetectionSettings,
) -> pa.Table:
    """One row per offset of `[from_offset, to_offset)`; `records` are all that the log has of them."""
    accepted: list[DecodedRecord] = []
    others: list[tuple[int, str]] = []
    decode = decoder.decode
    expected = from_offset
    for record in records:
        others.extend(zip(range(expected, record.offset), repeat(HOLE)))
        expected = record.offset + 1
        verdict = accept(record, decode, settings)
        if isinstance(verdict, Rejection):
            others.append((record.offset, verdict.code))
        else:
            accepted.append(verdict)
    others.extend(zip(range(expected, to_offset), repeat(HOLE)))
    table = _accepted(accepted, partition)
    return pa.concat_tables([table, _others(others, partition)]) if others else table


def _accepted(records: Sequence[DecodedRecord], partition: PartitionId) -> pa.Table:
    rows = [record.transaction for record in records]
    places = [row.location for row in rows]
    cards = [row.card for row in rows]
    event_ms = pa.array([record.event_ms for record in records], pa.int64())
    record_ms = pa.array([record.timestamp_ms for record in records], pa.int64())
    count = len(rows)
    columns = {
        "topic_id": pa.repeat(partition.topic_id, count),
        "partition": pa.repeat(pa.scalar(partition.partition, pa.int32()), count),
        "offset": [record.offset for record in records],
        "record_time": pc.multiply(record_ms, _US_PER_MS).cast(SCHEMA.field("record_time").type),
        "event_time": pc.multiply(event_ms, _US_PER_MS).cast(SCHEMA.field("event_time").type),
        "transaction_id": [row.transaction_id for row in rows],
        "user_id": [row.user_id for row in rows],
        "amount": [row.amount for row in rows],
        "timestamp": [row.timestamp for row in rows],
        "lat": [None if place is None else place.lat for place in places],
        "lon": [None if place is None else place.lon for place in places],
        "city": [None if place is None else place.city for place in places],
        "country": [None if place is None else place.country for place in places],
        "merchant_id": [row.merchant_id for row in rows],
        "device_id": [row.device_id for row in rows],
        "currency": [row.currency for row in rows],
        "channel": [row.channel for row in rows],
        "card_token": [None if card is None else card.token for card in cards],
        "card_first6": [None if card is None else card.first6 for card in cards],
        "card_last4": [None if card is None else card.last4 for card in cards],
        "payload_digest": [record.digest for record in records],
        PARTITION_COLUMN: pc.floor(pc.divide(event_ms.cast(pa.float64()), float(DAY_MS)))
        .cast(pa.int32())
        .cast(pa.date32()),
        OUTCOME: pa.nulls(count, pa.string()),
    }
    return pa.table(columns, schema=ROWS)


def unreadable_rows(partition: PartitionId, from_offset: int, to_offset: int) -> pa.Table:
    """One row per offset of `[from_offset, to_offset)` of a log that is damaged there."""
    return _others([(offset, UNREADABLE) for offset in range(from_offset, to_offset)], partition)


def _others(offsets: Sequence[tuple[int, str]], partition: PartitionId) -> pa.Table:
    count = len(offsets)
    known = {
        "topic_id": pa.repeat(partition.topic_id, count),
        "partition": pa.repeat(pa.scalar(partition.partition, pa.int32()), count),
        "offset": [offset for offset, _ in offsets],
        OUTCOME: [str(outcome) for _, outcome in offsets],
    }
    return pa.table(
        {field.name: known.get(field.name, pa.nulls(count, field.type)) for field in ROWS}, schema=ROWS
    )
