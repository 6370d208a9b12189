"""Our loop over a record batch against kafka-python's own, and against damaged batches."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.errors import CorruptRecordError
from kafka.record.default_records import DefaultRecordBatchBuilder
from kafka.record.memory_records import MemoryRecords

from ray_fraud.domain.record import Record
from ray_fraud.stores.log.kafka_batches import records_of

NONE, GZIP = 0, 1

payloads = st.none() | st.binary(max_size=40) | st.integers(60, 20_000).map(bytes)
headers = st.lists(st.tuples(st.text(max_size=8), st.none() | st.binary(max_size=200)), max_size=130)
entries = st.tuples(
    st.integers(1, 300),  # step of the offset: above 1 for compacted topics
    st.integers(0, 2**42),
    payloads,
    payloads,
    st.just([]) | headers,
)
Entry = tuple[int, int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]


def built(batch_entries: list[Entry], compression: int = NONE) -> bytes:
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=compression,
        is_transactional=False,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=2**30,
    )
    offset = 0
    for number, (step, timestamp, key, value, record_headers) in enumerate(batch_entries):
        offset = offset + step if number else 0
        builder.append(offset, timestamp, key, value, record_headers)
    return bytes(builder.build())


def batch_of(content: bytes) -> Any:
    return MemoryRecords(content).next_batch()


@given(st.lists(entries, min_size=1, max_size=20), st.sampled_from([NONE, GZIP]))
def test_equals_kafka_pythons_own_reading(batch_entries: list[Entry], compression: int) -> None:
    content = built(batch_entries, compression)
    own = [
        Record(record.offset, record.timestamp, record.key, record.value, tuple(record.headers))
        for record in batch_of(content)
    ]
    assert records_of(batch_of(content)) == own


def test_a_broker_that_stamps_records_itself_is_believed() -> None:
    content = bytearray(built([(1, 5_000, b"k", b"v", []), (1, 6_000, b"k", b"v", [])]))
    content[22] |= 0x08  # the attributes' bit "timestamp type": log append time
    assert [record.timestamp_ms for record in records_of(batch_of(bytes(content)))] == [6_000, 6_000]


@given(st.data())
def test_a_damaged_batch_is_an_error_or_a_list_of_records_never_anything_else(data: st.DataObject) -> None:
    content = bytearray(built([(1, 1_000 + n, b"key", b"value" * 30, [("name", b"x")]) for n in range(5)]))
    position = data.draw(st.integers(57, len(content) - 1))
    content[position] = data.draw(st.integers(0, 255))
    try:
        records = records_of(batch_of(bytes(content)))
    except CorruptRecordError:
        return
    assert len(records) == 5


def test_a_batch_cut_short_is_corrupt() -> None:
    batch = batch_of(built([(1, 1_000, b"key", b"value", [])]))
    batch._buffer = batch._buffer[:-3]
    with pytest.raises(CorruptRecordError):
        records_of(batch)
