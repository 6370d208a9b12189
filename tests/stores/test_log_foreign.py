"""What foreign producers write, read by hot and cold path: librdkafka against a real Kafka."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import pytest

from batch.ingest.plan import Slice
from batch.ingest.read import read_slice
from cluster.local.paths import StackPaths
from ray_fraud.domain.masking import DIGITS_HIDDEN
from ray_fraud.domain.record import Cut, Record
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.stores.connections import KafkaConnection
from ray_fraud.stores.log.kafka_admin import KafkaLogAdmin
from ray_fraud.stores.log.kafka_reader import KafkaLogReader
from ray_fraud.stores.log.kafka_writer import KafkaLogWriter
from ray_fraud.stores.log.limits import KEPT_VALUE_BYTES
from ray_fraud.stores.log.port import LogDamaged
from tests.domain.samples import decoder, record, transaction
from tests.stores.librdkafka import Sent, damage_batch, new_topic, producer_of, segment_of, send

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
NOW_MS = 1_790_000_000_000
SHORT = timedelta(milliseconds=300)


@pytest.fixture(scope="module")
def admin(kafka_server: KafkaConnection) -> Iterator[KafkaLogAdmin]:
    with closing(KafkaLogAdmin(kafka_server)) as client:
        yield client


def transactions(count: int = 300) -> list[Sent]:
    """Valid ones, with headers as a tracing library adds them."""
    made = []
    for number in range(count):
        one = record(number, transaction(f"t{number}", user_id=number % 7, seconds=float(number)))
        made.append(Sent(one.key, one.value, one.timestamp_ms, [("traceparent", b"00-%032d" % number)]))
    return made


def as_records(sent: list[Sent], *, stamp: int | None = None) -> list[Record]:
    """What a reader returns for what was sent to an empty topic."""
    return [
        Record(
            offset,
            one.timestamp_ms if stamp is None else stamp,
            one.key,
            one.value,
            tuple((k, v.encode() if isinstance(v, str) else v) for k, v in one.headers),
        )
        for offset, one in enumerate(sent)
    ]


def read_to(reader: KafkaLogReader, end: int) -> list[Record]:
    """Everything up to a position."""
    records: list[Record] = []
    deadline = time.monotonic() + 30
    while reader.position() < end:
        records += reader.poll(100, SHORT)
        assert time.monotonic() < deadline, f"only at {reader.position()} of {end}"
    return records


@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_is_read_by_hot_and_cold_path(
    kafka_server: KafkaConnection, admin: KafkaLogAdmin, codec: str
) -> None:
    sent = transactions()
    topic, partition = new_topic(admin)
    send(producer_of(kafka_server, compression_type=codec), topic, *sent)
    with closing(KafkaLogReader(kafka_server, topic, partition)) as reader:
        assert read_to(reader, len(sent)) == as_records(sent)
        reader.seek(123)
        assert [one.offset for one in read_to(reader, len(sent))] == list(range(123, len(sent)))
        piece = Slice(partition, 7, len(sent) - 7)
        tables = list(read_slice(reader, piece, decoder(), DetectionSettings()))
    assert [row for table in tables for row in table["transaction_id"].to_pylist()] == [
        f"t{number}" for number in range(7, len(sent) - 7)
    ]


@pytest.mark.parametrize("codec", CODECS[1:])
def test_a_topic_that_compresses_is_read_and_written_by_ourselves(
    kafka_server: KafkaConnection, admin: KafkaLogAdmin, codec: str
) -> None:
    topic, partition = new_topic(admin, compression_type=codec)
    sent = transactions(20)
    with (
        closing(KafkaLogWriter(kafka_server)) as writer,
        closing(KafkaLogReader(kafka_server, topic, partition)) as reader,
    ):
        for one in as_records(sent):
            writer.send(
                topic, key=one.key, value=one.value, headers=one.headers, timestamp_ms=one.timestamp_ms
            )
        writer.flush(timedelta(seconds=10))
        assert read_to(reader, len(sent)) == as_records(sent)


def test_headers_keys_and_tombstones_are_read_as_they_are(
    kafka_server: KafkaConnection, admin: KafkaLogAdmin
) -> None:
    sent = [
        Sent(None, None, NOW_MS),
        Sent(b"", b"", NOW_MS),
        Sent(b"\xff\x00", None, NOW_MS, [("a", None), ("a", b""), ("a", b"1"), ("", b"x")]),
        Sent(b"k", b"v", NOW_MS, [("ü" * 40, b"\x00" * 300)] * 100),
        Sent(b"k", b"v", 1),
    ]
    topic, partition = new_topic(admin)
    send(producer_of(kafka_server, compression_type="zstd"), topic, *sent)
    with closing(KafkaLogReader(kafka_server, topic, partition)) as reader:
        assert read_to(reader, len(sent)) == as_records(sent)


def test_a_broker_that_stamps_records_is_believed(
    kafka_server: KafkaConnection, admin: KafkaLogAdmin
) -> None:
    topic, partition = new_topic(admin, message_timestamp_type="LogAppendTime")
    before = round(time.time() * 1000)
    send(producer_of(kafka_server, compression_type="lz4"), topic, *transactions(20))
    with closing(KafkaLogReader(kafka_server, topic, partition)) as reader:
        stamps = {one.timestamp_ms for one in read_to(reader, 20)}
    assert all(before - 1_000 <= stamp <= round(time.time() * 1000) + 1_000 for stamp in stamps)


@pytest.mark.parametrize("codec", ["gzip", "lz4", "zstd"])
def test_a_value_of_forty_megabytes_is_cut_and_told(
    kafka_server: KafkaConnection, admin: KafkaLogAdmin, codec: str
) -> None:
    value = b"x" * 40_000_000
    producer = producer_of(kafka_server, compression_type=codec, message_max_bytes=50_000_000)
    topic, partition = new_topic(admin)
    send(producer, topic, Sent(b"k", value, NOW_MS, [("h", b"v")]), *transactions(3))
    with closing(KafkaLogReader(kafka_server, topic, partition)) as reader:
        huge, *others = read_to(reader, 4)
    assert huge.value == value[:KEPT_VALUE_BYTES]
    assert huge.cut == Cut(len(value), hashlib.sha256(value.translate(DIGITS_HIDDEN)).digest(), 1, 1, 4)
    assert [one.value for one in others] == [one.value for one in transactions(3)]


def test_transactions_end_where_their_markers_end(
    kafka_server: KafkaConnection, admin: KafkaLogAdmin
) -> None:
    """Committed ones are read, aborted and open ones are not; the position passes over every marker."""
    topic, partition = new_topic(admin)
    producer = producer_of(kafka_server, transactional_id=topic, compression_type="snappy")
    producer.init_transactions(30)
    sent = transactions(6)
    with closing(KafkaLogReader(kafka_server, topic, partition)) as reader:
        producer.begin_transaction()
        send(producer, topic, *sent[:2])
        producer.commit_transaction(30)
        assert [one.offset for one in read_to(reader, 3)] == [0, 1]
        producer.begin_transaction()
        send(producer, topic, *sent[2:4])
        producer.abort_transaction(30)
        assert read_to(reader, 6) == []
        assert reader.bounds().end == 6
        producer.begin_transaction()
        send(producer, topic, *sent[4:])
        assert reader.poll(100, SHORT) == ()
        assert (reader.position(), reader.bounds().end, reader.end_offset()) == (6, 6, 6)
        assert admin.ends(topic).ends == {0: 6}
        producer.commit_transaction(30)
        assert [one.offset for one in read_to(reader, 9)] == [6, 7]
        assert (reader.position(), reader.bounds().end, reader.end_offset()) == (9, 9, 9)


def test_a_damaged_batch_has_a_name_and_the_log_goes_on_behind_it(
    kafka_server: KafkaConnection, admin: KafkaLogAdmin, server_paths: StackPaths
) -> None:
    topic, partition = new_topic(admin)
    sent = transactions(9)
    producer = producer_of(kafka_server, compression_type="lz4")
    for begin in (0, 3, 6):
        send(producer, topic, *sent[begin : begin + 3])
    damage_batch(segment_of(server_paths.kafka, topic), 1)
    with closing(KafkaLogReader(kafka_server, topic, partition)) as reader:
        assert [one.offset for one in reader.poll(100, timedelta(seconds=10))] == [0, 1, 2]
        for _ in range(2):
            with pytest.raises(LogDamaged) as damaged:
                reader.poll(100, timedelta(seconds=10))
            assert damaged.value.args == (0, 3, 6, "its checksum is wrong")
            assert reader.position() == 3
        reader.seek(6)
        assert read_to(reader, 9) == as_records(sent)[6:]
        tables = list(read_slice(reader, Slice(partition, 0, 9), decoder(), DetectionSettings()))
    outcomes = [row for table in tables for row in table["outcome"].to_pylist()]
    assert outcomes == [None] * 3 + ["unreadable"] * 3 + [None] * 3
