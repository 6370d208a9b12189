"""Our loop over a record batch against kafka-python's own, and against damaged batches."""

import gzip
import hashlib
import struct
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from kafka.record.memory_records import MemoryRecords
from kafka.record.util import calc_crc32c
from kafka.structs import TopicPartition

from ray_fraud.domain.masking import DIGITS_HIDDEN
from ray_fraud.domain.record import Cut, Record
from ray_fraud.stores.log import kafka_inflate
from ray_fraud.stores.log.kafka_batches import DamagedBatch, RecordsOfPartition, records_of
from ray_fraud.stores.log.kafka_inflate import GZIP, LZ4, NONE, SNAPPY, ZSTD
from ray_fraud.stores.log.kafka_records import LARGE_BYTES
from ray_fraud.stores.log.limits import KEPT_HEADERS_BYTES, KEPT_KEY_BYTES, KEPT_VALUE_BYTES, POLL_BYTES

CODECS = (NONE, GZIP, SNAPPY, LZ4, ZSTD)
PLACE = TopicPartition("t", 0)

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


def read(content: bytes) -> list[Record]:
    return [record for records, _, _ in records_of(batch_of(content)) for record in records]


def at_offset(content: bytes, offset: int) -> bytes:
    """The batch as the broker stores it."""
    return struct.pack(">q", offset) + content[8:]


def signed(content: bytes | bytearray) -> bytes:
    """With the checksum of what it holds now."""
    crc = calc_crc32c(memoryview(bytes(content))[DefaultRecordBatch.ATTRIBUTES_OFFSET :])
    start = DefaultRecordBatch.CRC_OFFSET
    return bytes(content[:start]) + struct.pack(">I", crc) + bytes(content[start + 4 :])


def taken(content: bytes, *, from_offset: int = 0, end: int = 10**9, n: int = 7) -> list[Record]:
    """All records of a response, as kafka-python's fetcher takes them."""
    part = RecordsOfPartition(from_offset, PLACE, MemoryRecords(content))
    part.end_offset = end
    records: list[Record] = []
    while part:
        position = part.next_fetch_offset
        records += part.take(n)
        assert part.next_fetch_offset >= position
        assert not records or part.next_fetch_offset > records[-1].offset
    return records


def outcome(content: bytes, end: int) -> tuple[DamagedBatch | None, list[Record]]:
    """The damage that ends the reading of a response, if any, else its records."""
    try:
        return None, taken(content, end=end)
    except DamagedBatch as damage:
        return damage, []


@given(st.lists(entries, min_size=1, max_size=20), st.sampled_from(CODECS))
def test_equals_kafka_pythons_own_reading(batch_entries: list[Entry], compression: int) -> None:
    content = built(batch_entries, compression)
    own = [
        Record(record.offset, record.timestamp, record.key, record.value, tuple(record.headers))
        for record in batch_of(content)
    ]
    assert read(content) == own
    assert taken(content) == own


@given(
    st.lists(st.lists(entries, min_size=1, max_size=5), min_size=1, max_size=4),
    st.integers(0, 2000),
    st.integers(1, 6),
)
def test_a_response_in_portions_from_any_offset(batches: list[list[Entry]], begin: int, n: int) -> None:
    content, base = b"", 0
    for number, batch_entries in enumerate(batches):
        content += at_offset(built(batch_entries, CODECS[number]), base)
        base += sum(entry[0] for entry in batch_entries[1:]) + 1
    everything = taken(content, n=10_000)
    begin = min(begin, base - 1)
    assert taken(content, from_offset=begin, n=n) == [one for one in everything if one.offset >= begin]


def test_a_broker_that_stamps_records_itself_is_believed() -> None:
    content = bytearray(built([(1, 5_000, b"k", b"v", []), (1, 6_000, b"k", b"v" * 70_000, [])]))
    content[22] |= 0x08  # the attributes' bit "timestamp type": log append time
    assert [record.timestamp_ms for record in read(bytes(content))] == [6_000, 6_000]


@given(st.data(), st.sampled_from(CODECS))
def test_a_damaged_batch_is_an_error_or_a_list_of_records_never_anything_else(
    data: st.DataObject, compression: int
) -> None:
    """Its checksum fits: whoever wrote it was wrong."""
    batch_entries: list[Entry] = [(1, 1_000 + n, b"key", b"value" * 30, [("name", b"x")]) for n in range(5)]
    content = bytearray(built(batch_entries, compression))
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(8, len(content) - 1))
        content[position] = data.draw(st.integers(0, 255))
    content[16] = 2
    following = at_offset(built([(1, 1, None, b"after", [])]), 5)
    damage, records = outcome(signed(content) + following, end=6)
    if damage is not None:
        assert 0 <= damage.from_offset < damage.to_offset <= 6
    assert [record.offset for record in records] == sorted({record.offset for record in records})
    assert all(0 <= record.offset < 6 for record in records)


def test_a_wrong_checksum_costs_its_batch_and_nothing_else() -> None:
    good = built([(1, 1, None, b"a", []), (1, 1, None, b"b", [])])
    bad = bytearray(at_offset(good, 2))
    bad[-1] ^= 1
    part = RecordsOfPartition(0, PLACE, MemoryRecords(good + bytes(bad) + at_offset(good, 4)))
    part.end_offset = 6
    assert [record.offset for record in part.take(100)] == [0, 1]
    assert part.next_fetch_offset == 2
    with pytest.raises(DamagedBatch) as damaged:
        part.take(100)
    assert damaged.value.args == (2, 4, "its checksum is wrong")


@pytest.mark.parametrize("length", [-(2**31), -13, -12, -5, 0, 3, 40, 2**31 - 1])
@pytest.mark.parametrize("position", [0, 1])
def test_a_wrong_length_of_a_batch_is_damage_or_a_response_that_ends(length: int, position: int) -> None:
    good = built([(1, 1, None, b"a" * 100, [])])
    batches = [bytearray(at_offset(good, number)) for number in range(3)]
    batches[position][8:12] = struct.pack(">i", length)
    damage, records = outcome(b"".join(batches), end=3)
    if damage is None:
        assert [record.offset for record in records] == list(range(position))
    else:
        assert position <= damage.from_offset < damage.to_offset <= 3


def test_a_batch_cut_short_is_corrupt() -> None:
    batch = batch_of(built([(1, 1_000, b"key", b"value", [])]))
    batch._buffer = batch._buffer[:-3]
    with pytest.raises(ValueError, match=r"cut short|fit|follow"):
        list(records_of(batch))


def test_a_number_without_end_costs_no_time() -> None:
    content = bytearray(built([(1, 1_000, b"key", b"v" * 2_000_000, [])]))
    content[61:] = b"\xff" * (len(content) - 61)
    with pytest.raises(ValueError, match="longer than ten bytes"):
        list(records_of(batch_of(bytes(content))))


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("size", [LARGE_BYTES - 30, LARGE_BYTES, 300_000, KEPT_VALUE_BYTES])
def test_a_value_up_to_the_limit_is_held_whole(codec: int, size: int) -> None:
    value = bytes(range(256)) * (size // 256 + 1)
    sent: list[Entry] = [(1, n, b"k", value[:size], [("h", b"v"), ("n", None)]) for n in range(4)]
    records = taken(built(sent, codec))
    assert [record.value for record in records] == [value[:size]] * 4
    assert [record.headers for record in records] == [(("h", b"v"), ("n", None))] * 4
    assert all(record.cut is None for record in records)


@pytest.mark.parametrize("codec", [GZIP, LZ4, ZSTD])
def test_a_huge_value_costs_no_more_memory_than_what_is_kept_of_it(codec: int) -> None:
    value = bytes(1000) + b"x4" * 20_000_000
    content = built([(1, 5, b"k", value, [("h", b"v")]), (1, 6, b"k", b"small", [])], codec)
    tracemalloc.start()
    huge, small = taken(content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert huge.value == value[:KEPT_VALUE_BYTES]
    assert huge.cut == Cut(len(value), hashlib.sha256(value.translate(DIGITS_HIDDEN)).digest(), 1, 1, 4)
    assert huge.headers == (("h", b"v"),)
    assert (small.value, small.cut) == (b"small", None)
    assert peak < 8 * kafka_inflate.PIECE_BYTES + 4 * len(content)


def test_a_huge_key_and_huge_headers_are_cut_too() -> None:
    many: list[tuple[str, bytes | None]] = [(f"n{n}", b"") for n in range(100_000)]
    content = built(
        [
            (1, 1, b"k" * 200_000, b"v", []),
            (1, 1, b"k", b"v", [("a", b"1"), ("big", b"x" * 5_000_000), ("c", b"2")]),
            (1, 1, b"k", b"v", many),
            (1, 1, b"k", b"v", [("n" * 200_000, b"v")]),
            (1, 1, b"k", None, [("", None)] * 70_000),
            (1, 1, b"last", b"v", []),
        ],
        GZIP,
    )
    key, header, number, name, nothing, last = taken(content)
    assert key.key == b"k" * KEPT_KEY_BYTES
    assert key.cut == Cut(1, b"", 200_000, 0, 0)
    assert [each[0] for each in header.headers] == ["a", "big"]
    assert header.cut is not None
    assert header.cut.header_count == 3
    assert header.cut.headers_size > 5_000_000
    assert number.headers == tuple(many[: len(number.headers) - 1]) + number.headers[-1:]
    assert 8_000 < len(number.headers) <= KEPT_HEADERS_BYTES
    assert name.headers[0][0].strip("n") == ""
    assert len(name.headers[0][0]) <= KEPT_HEADERS_BYTES
    assert len(nothing.headers) <= KEPT_HEADERS_BYTES
    assert last == Record(last.offset, 1, b"last", b"v")


def test_a_batch_that_inflates_absurdly_is_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_inflate, "MAX_INFLATED_BYTES", 3_000_000)
    content = built([(1, 1, None, b"x" * 4_000_000, [])], GZIP)
    with pytest.raises(DamagedBatch, match="become more than"):
        taken(content)


def test_a_poll_ends_when_its_bytes_are_used_up() -> None:
    value = b"x" * (POLL_BYTES // 32)
    content = built([(1, 1, None, value, []) for _ in range(100)], GZIP)
    part = RecordsOfPartition(0, PLACE, MemoryRecords(content))
    first = part.take(10_000)
    assert 20 < len(first) < 50
    assert part.full
    assert len(first) + len(part.take(10_000)) + len(part.take(10_000)) + len(part.take(10_000)) == 100


def test_several_members_of_gzip_are_one_stream() -> None:
    plain = built([(1, 1, None, b"abc", []), (1, 1, None, b"def", [])])
    content = bytearray(plain)
    content[22] |= GZIP
    content[61:] = gzip.compress(plain[61:70]) + gzip.compress(plain[70:])
    content[8:12] = struct.pack(">i", len(content) - 12)
    assert [record.value for record in read(bytes(content))] == [b"abc", b"def"]
