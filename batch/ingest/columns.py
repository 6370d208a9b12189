"""From records of the log to rows of the table, in columns.

Every offset becomes exactly one row: an accepted transaction, a refused record, a hole, damage, or a record
that was accepted and that no row of the table can hold: no single record stops a commit. What is no
transaction has nulls in all other columns and says in `outcome` why, so that offsets can be counted wherever
the rows go.

Never: I/O; a refused value.
"""

from collections.abc import Mapping, Sequence
from itertools import repeat

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from ray_fraud.domain.accept import accept
from ray_fraud.domain.contract import MAX_USER_ID
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.masking import mask_card_numbers
from ray_fraud.domain.record import DecodedRecord, PartitionId, Record
from ray_fraud.domain.rejection import Rejection
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.domain.windows import DAY_MS
from ray_fraud.stores.tables.columns import PARTITION_COLUMN, SCHEMA
from ray_fraud.stores.tables.port import Quarantined

OUTCOME = "outcome"
"""Null for an accepted record, `hole`, `unreadable`, or the rejection code."""
HOLE = "hole"
UNREADABLE = "unreadable"
UNWRITABLE = "unwritable"
"""An accepted record that cannot be a row of the table; it goes to the quarantine."""
NOTE = "note"
"""Why a record is unwritable, and what it was; null for all others."""
ROWS: pa.Schema = pa.schema(
    [
        *(field.with_nullable(True) for field in SCHEMA),
        pa.field(OUTCOME, pa.string()),
        pa.field(NOTE, pa.string()),
    ]
)

_US_PER_MS = 1000
_TIMES_MS = range(-62_135_596_800_000, 253_402_300_800_000)
"""Years 1 to 9999, which every reader of the table can show."""
CANNOT_BE_WRITTEN = (pa.ArrowException, ValueError, TypeError, OverflowError, ArithmeticError)
"""What Arrow raises of a value that its type does not hold; texts that are no Unicode are a `ValueError`."""
MAX_ORIGINAL, MAX_REASON = 4096, 512


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
    unjudged: list[pa.Table] = []
    decode = decoder.decode
    expected = from_offset
    for record in records:
        others.extend(zip(range(expected, record.offset), repeat(HOLE)))
        expected = record.offset + 1
        try:
            verdict = accept(record, decode, settings)
        except CANNOT_BE_WRITTEN as error:
            unjudged.append(_quarantined(record, None, partition, error))
            continue
        if isinstance(verdict, Rejection):
            others.append((record.offset, verdict.code))
        else:
            accepted.append(verdict)
    others.extend(zip(range(expected, to_offset), repeat(HOLE)))
    tables = _writable(accepted, partition, {record.offset: record for record in records})
    return pa.concat_tables([*tables, *unjudged, *([_others(others, partition)] if others else [])])


def _writable(
    records: Sequence[DecodedRecord], partition: PartitionId, sent: Mapping[int, Record]
) -> list[pa.Table]:
    """Their rows; those of one that no table can hold say so, and the others are none the worse for it."""
    try:
        return [_accepted(records, partition)]
    except CANNOT_BE_WRITTEN as error:
        if len(records) > 1:
            half = len(records) // 2
            return [
                *_writable(records[:half], partition, sent),
                *_writable(records[half:], partition, sent),
            ]
        only = records[0]
        return [_quarantined(sent[only.offset], only.transaction.user_id, partition, error)]


def _quarantined(sent: Record, user_id: int | None, partition: PartitionId, error: Exception) -> pa.Table:
    original = mask_card_numbers(sent.value or b"")[:MAX_ORIGINAL].decode("utf-8", "backslashreplace")
    row = Quarantined(
        partition,
        sent.offset,
        user_id if user_id is not None and 0 <= user_id <= MAX_USER_ID else None,
        sent.timestamp_ms if abs(sent.timestamp_ms) <= MAX_USER_ID else None,
        _said(error),
        original,
    )
    return _others([(sent.offset, UNWRITABLE)], partition, msgspec.json.encode(row).decode())


def _said(error: Exception) -> str:
    """Card numbers never reach a table or a log."""
    told = mask_card_numbers(str(error).encode("utf-8", "backslashreplace")).decode("utf-8", "replace")
    return f"cannot be a row of the table: {told[:MAX_REASON]}"


def _within_times(name: str, times_ms: pa.Array) -> pa.Array:
    ends = pc.min_max(times_ms).as_py()
    for end in (ends["min"], ends["max"]):
        if end is not None and end not in _TIMES_MS:
            raise ValueError(f"{name}: {end} ms is not within the years 1 to 9999")
    return times_ms


def _accepted(records: Sequence[DecodedRecord], partition: PartitionId) -> pa.Table:
    rows = [record.transaction for record in records]
    places = [row.location for row in rows]
    cards = [row.card for row in rows]
    event_ms = _within_times("event_time", pa.array([record.event_ms for record in records], pa.int64()))
    record_ms = _within_times(
        "record_time", pa.array([record.timestamp_ms for record in records], pa.int64())
    )
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
        "user_text": [row.user_text for row in rows],
        "payload_digest": [record.digest for record in records],
        PARTITION_COLUMN: pc.floor(pc.divide(event_ms.cast(pa.float64()), float(DAY_MS)))
        .cast(pa.int32())
        .cast(pa.date32()),
        OUTCOME: pa.nulls(count, pa.string()),
        NOTE: pa.nulls(count, pa.string()),
    }
    return pa.table(columns, schema=ROWS)


def unreadable_rows(partition: PartitionId, from_offset: int, to_offset: int) -> pa.Table:
    """One row per offset of `[from_offset, to_offset)` of a log that is damaged there."""
    return _others([(offset, UNREADABLE) for offset in range(from_offset, to_offset)], partition)


def _others(offsets: Sequence[tuple[int, str]], partition: PartitionId, note: str | None = None) -> pa.Table:
    count = len(offsets)
    known = {
        "topic_id": pa.repeat(partition.topic_id, count),
        "partition": pa.repeat(pa.scalar(partition.partition, pa.int32()), count),
        "offset": [offset for offset, _ in offsets],
        OUTCOME: [str(outcome) for _, outcome in offsets],
        NOTE: pa.array([note] * count, pa.string()),
    }
    return pa.table(
        {field.name: known.get(field.name, pa.nulls(count, field.type)) for field in ROWS}, schema=ROWS
    )
