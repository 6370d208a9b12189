"""What every log promises: run on the memory one and on a real Kafka."""

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Protocol

import pytest

from ray_fraud.domain.record import PartitionId, Record
from ray_fraud.stores.connections import Topics
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.log.limits import DEAD_LETTER_HEADROOM_BYTES
from ray_fraud.stores.log.memory import MemoryBroker
from ray_fraud.stores.log.partitioning import partition_of
from ray_fraud.stores.log.port import (
    EpochEnd,
    LogAdmin,
    LogBounds,
    LogDamaged,
    LogGap,
    LogReader,
    LogWriter,
    TopicReplaced,
    WrongPartitionCount,
)
from tests.stores.kafka_accidents import KafkaLogs

PATIENCE = timedelta(seconds=10)
NOW_MS = 1_790_000_000_000
"""Recent, since a broker's retention goes by the records' own timestamps."""


class Logs(Protocol):
    """One broker, and what can happen to it."""

    def reader(self, topic: str, partition: PartitionId) -> LogReader: ...

    def writer(self) -> LogWriter: ...

    def admin(self) -> LogAdmin: ...

    def add_hole(self, topic: str, partition: int) -> None: ...

    def delete_before(self, topic: str, partition: int, offset: int) -> None: ...

    def recreate(self, topic: str) -> None: ...

    def add_partitions(self, topic: str, count: int) -> None: ...


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.servers)])
def logs(request: pytest.FixtureRequest) -> Iterator[Logs]:
    if request.param == "memory":
        yield MemoryBroker()
        return
    with ExitStack() as stack:
        yield KafkaLogs(request.getfixturevalue("kafka_server"), stack)


@pytest.fixture
def topics(logs: Logs) -> Topics:
    """Four topics of this test's own, of three partitions each."""
    own = uuid.uuid4().hex[:8]
    names = Topics(f"{own}-transactions", f"{own}-dlq", f"{own}-alerts", f"{own}-labels")
    logs.admin().ensure_topics(names)
    return names


@pytest.fixture
def topic(topics: Topics) -> str:
    return topics.transactions


def partition_id(logs: Logs, topic: str, partition: int = 0) -> PartitionId:
    admin = logs.admin()
    return PartitionId(admin.cluster_id(), admin.topic_id(topic), partition)


def fill(logs: Logs, topic: str, *values: bytes, partition: int = 0) -> None:
    writer = logs.writer()
    for value in values:
        writer.send(topic, key=b"k", value=value, partition=partition, timestamp_ms=NOW_MS).wait(PATIENCE)


def drain(reader: LogReader, count: int, max_records: int = 100) -> list[Record]:
    """Poll until `count` records came."""
    records: list[Record] = []
    for _ in range(200):
        records += reader.poll(max_records, timedelta(milliseconds=200))
        if len(records) >= count:
            return records
    raise AssertionError(f"only {len(records)} of {count} records came")


def test_a_new_topic_is_empty(logs: Logs, topic: str) -> None:
    reader = logs.reader(topic, partition_id(logs, topic))
    assert reader.bounds() == LogBounds(0, 0)
    assert list(reader.poll(10, timedelta(milliseconds=50))) == []
    assert reader.position() == 0


def test_a_record_comes_back_as_it_was_sent(logs: Logs, topic: str) -> None:
    writer = logs.writer()
    headers = (("code", b"not_json"), ("empty", b""), ("offset", b"\x00\xff"))
    sent = writer.send(topic, key=b"7", value=b"\x00v", headers=headers, partition=2, timestamp_ms=NOW_MS)
    assert sent.wait(PATIENCE) == (2, 0)
    writer.send(topic, key=None, value=b"", partition=2, timestamp_ms=NOW_MS + 1).wait(PATIENCE)
    writer.send(topic, key=b"8", value=None, partition=2, timestamp_ms=NOW_MS - 5).wait(PATIENCE)
    reader = logs.reader(topic, partition_id(logs, topic, 2))
    assert drain(reader, 3) == [
        Record(0, NOW_MS, b"7", b"\x00v", headers),
        Record(1, NOW_MS + 1, None, b""),
        Record(2, NOW_MS - 5, b"8", None),
    ]
    assert reader.position() == 3
    assert reader.end_offset() == 3
    assert reader.bounds() == LogBounds(0, 3)


def test_headers_come_back_whatever_the_protocol_allows(logs: Logs, topic: str) -> None:
    """Names are any bytes, repeat and may be empty; a null value is written as an empty one."""
    not_utf8 = b"\xff\x00name".decode("utf-8", "surrogateescape")
    headers = (("", b"x"), ("a", None), ("a", b""), ("a", b"1"), (not_utf8, b"y"), ("ü", b"\xff"))
    logs.writer().send(topic, key=b"k", value=b"v", headers=headers, partition=0, timestamp_ms=NOW_MS).wait(
        PATIENCE
    )
    reader = logs.reader(topic, partition_id(logs, topic))
    written = tuple((name, value or b"") for name, value in headers)
    assert drain(reader, 1) == [Record(0, NOW_MS, b"k", b"v", written)]
    assert reader.position() == 1


def test_preparing_appends_nothing_and_sending_goes_on(logs: Logs, topic: str) -> None:
    writer = logs.writer()
    writer.prepare(topic)
    reader = logs.reader(topic, partition_id(logs, topic))
    assert reader.bounds() == LogBounds(0, 0)
    assert writer.send(topic, key=b"k", value=b"v", partition=0, timestamp_ms=NOW_MS).wait(PATIENCE) == (0, 0)


def test_a_batch_that_the_watch_refuses_is_damaged_and_never_unpacked(logs: Logs, topic: str) -> None:
    fill(logs, topic, b"0", b"1")
    reader = logs.reader(topic, partition_id(logs, topic))
    told: list[tuple[int, int]] = []

    def refuse_what_is_new(begin: int, end: int) -> str | None:
        told.append((begin, end))
        return "it is feared" if end > 2 else None

    reader.watch(refuse_what_is_new)
    assert [record.value for record in drain(reader, 2)] == [b"0", b"1"]
    fill(logs, topic, b"2")
    for _ in range(2):
        with pytest.raises(LogDamaged) as damaged:
            drain(reader, 1)
        assert damaged.value.args == (0, 2, 3, "it is feared")
        assert reader.position() == 2
    assert (min(told)[0], max(told)[1]) == (0, 3)
    reader.watch(None)
    assert [record.value for record in drain(reader, 1)] == [b"2"]


def test_a_key_decides_the_partition_as_kafkas_clients_do(logs: Logs, topic: str) -> None:
    writer = logs.writer()
    sent = {
        key: writer.send(topic, key=key, value=b"v", timestamp_ms=NOW_MS) for key in (b"1", b"42", b"100000")
    }
    for key, pending in sent.items():
        assert pending.wait(PATIENCE).partition == partition_of(key, 3)


def test_reading_in_portions_keeps_the_order_and_seeks_anywhere(logs: Logs, topic: str) -> None:
    fill(logs, topic, *(b"%d" % number for number in range(20)))
    reader = logs.reader(topic, partition_id(logs, topic))
    assert [record.offset for record in drain(reader, 20, max_records=3)] == list(range(20))
    reader.seek(17)
    assert [record.value for record in drain(reader, 3)] == [b"17", b"18", b"19"]
    reader.seek(4)
    assert reader.position() == 4
    first = drain(reader, 1, max_records=2)
    assert [record.offset for record in first] == [4, 5]
    assert reader.position() == 6


def test_a_reader_at_the_end_gets_what_comes_later(logs: Logs, topic: str) -> None:
    fill(logs, topic, b"old")
    reader = logs.reader(topic, partition_id(logs, topic))
    reader.seek(reader.bounds().end)
    assert list(reader.poll(10, timedelta(milliseconds=50))) == []
    fill(logs, topic, b"new")
    assert [record.value for record in drain(reader, 1)] == [b"new"]


def test_the_position_goes_past_holes(logs: Logs, topic: str) -> None:
    fill(logs, topic, b"a")
    logs.add_hole(topic, 0)
    reader = logs.reader(topic, partition_id(logs, topic))
    end = reader.bounds().end
    assert end > 1
    assert [record.offset for record in drain(reader, 1)] == [0]
    for _ in range(50):
        reader.poll(10, timedelta(milliseconds=100))
        if reader.position() == end:
            break
    assert reader.position() == end
    fill(logs, topic, b"b")
    assert [record.offset for record in drain(reader, 1)] == [end]


def test_a_position_below_the_log_is_a_gap(logs: Logs, topic: str) -> None:
    fill(logs, topic, b"a", b"b", b"c", b"d")
    logs.delete_before(topic, 0, 3)
    reader = logs.reader(topic, partition_id(logs, topic))
    assert reader.bounds() == LogBounds(3, 4)
    reader.seek(1)
    for _ in range(2):
        with pytest.raises(LogGap) as gap:
            drain(reader, 1)
        assert (gap.value.from_offset, gap.value.to_offset) == (1, 3)
        assert reader.position() == 1
    reader.seek(gap.value.to_offset)
    assert [record.value for record in drain(reader, 1)] == [b"d"]


def test_a_position_beyond_the_log_is_a_gap(logs: Logs, topic: str) -> None:
    fill(logs, topic, b"a", b"b")
    reader = logs.reader(topic, partition_id(logs, topic))
    reader.seek(9)
    with pytest.raises(LogGap) as gap:
        drain(reader, 1)
    assert (gap.value.from_offset, gap.value.to_offset) == (9, 2)


def test_the_broker_tells_where_a_leader_epoch_ends(logs: Logs, topic: str) -> None:
    fill(logs, topic, b"0", b"1", b"2")
    reader = logs.reader(topic, partition_id(logs, topic))
    assert reader.leader_epoch() == -1
    drain(reader, 3)
    epoch = reader.leader_epoch()
    assert epoch >= 0
    assert reader.end_of_epoch(epoch) == EpochEnd(epoch, 3)
    fill(logs, topic, b"3")
    assert reader.end_of_epoch(epoch) == EpochEnd(epoch, 4)
    assert reader.end_of_epoch(epoch + 1_000) is None


def test_a_seek_may_name_the_leader_epoch_before_it(logs: Logs, topic: str) -> None:
    fill(logs, topic, b"0", b"1", b"2")
    reader = logs.reader(topic, partition_id(logs, topic))
    drain(reader, 3)
    epoch = reader.leader_epoch()
    reader.seek(1, epoch)
    assert (reader.position(), reader.leader_epoch()) == (1, epoch)
    assert [record.value for record in drain(reader, 2)] == [b"1", b"2"]


def test_a_topic_made_again_is_another_log(logs: Logs, topic: str) -> None:
    fill(logs, topic, b"a", b"b")
    before = partition_id(logs, topic)
    reader = logs.reader(topic, before)
    assert len(drain(reader, 2)) == 2
    logs.recreate(topic)
    fill(logs, topic, b"x")
    with pytest.raises(TopicReplaced) as replaced:
        drain(reader, 1)
    after = partition_id(logs, topic)
    assert after.topic_id != before.topic_id
    assert (replaced.value.expected_id, replaced.value.found_id) == (before.topic_id, after.topic_id)
    with pytest.raises(TopicReplaced):
        logs.reader(topic, before).bounds()
    assert [record.value for record in drain(logs.reader(topic, after), 1)] == [b"x"]


def test_a_record_over_the_topics_limit_is_refused_and_its_neighbours_are_not(
    logs: Logs, topics: Topics
) -> None:
    writer = logs.writer()
    values = [b"before", bytes(3 * 1024 * 1024), b"after"]
    sent = [
        writer.send(topics.alerts, key=b"k", value=value, partition=1, timestamp_ms=NOW_MS)
        for value in values
    ]
    sent[0].wait(PATIENCE)
    with pytest.raises(StoreRefused):
        sent[1].wait(PATIENCE)
    sent[2].wait(PATIENCE)
    fill(logs, topics.alerts, b"later", partition=1)
    reader = logs.reader(topics.alerts, partition_id(logs, topics.alerts, 1))
    assert [record.value for record in drain(reader, 3)] == [b"before", b"after", b"later"]


def test_the_largest_input_fits_into_the_dead_letters_with_its_headers(logs: Logs, topics: Topics) -> None:
    writer = logs.writer()
    largest = 1024 * 1024
    while True:
        try:
            writer.send(topics.transactions, key=b"k", value=bytes(largest), timestamp_ms=NOW_MS).wait(
                PATIENCE
            )
        except StoreRefused:
            break
        largest *= 2
    accepted = largest // 2
    headers = (("why", bytes(DEAD_LETTER_HEADROOM_BYTES - 4096)),)
    pending = writer.send(
        topics.dead_letters, key=b"k", value=bytes(accepted), headers=headers, timestamp_ms=NOW_MS
    )
    pending.wait(PATIENCE)


def test_flush_waits_for_everything(logs: Logs, topic: str) -> None:
    writer = logs.writer()
    pending = [writer.send(topic, key=b"k", value=b"v", partition=0, timestamp_ms=NOW_MS) for _ in range(50)]
    writer.flush(PATIENCE)
    assert [sent.wait(timedelta()).offset for sent in pending] == list(range(50))


def test_a_record_without_key_and_value_is_refused(logs: Logs, topic: str) -> None:
    with pytest.raises(StoreRefused):
        logs.writer().send(topic, key=None, value=None).wait(PATIENCE)


def test_topics_are_made_once_and_checked_afterwards(logs: Logs, topics: Topics) -> None:
    admin = logs.admin()
    before = admin.topic_id(topics.alerts)
    admin.ensure_topics(topics)
    assert admin.topic_id(topics.alerts) == before
    assert admin.partition_count(topics.dead_letters) == 3
    more = Topics(topics.transactions, topics.dead_letters, topics.alerts, topics.labels, partitions=4)
    with pytest.raises(WrongPartitionCount, match="has 3 partitions, the settings say 4"):
        admin.ensure_topics(more)


def test_only_the_input_must_have_the_partitions_of_the_settings(logs: Logs, topics: Topics) -> None:
    admin = logs.admin()
    for written_by_key in (topics.alerts, topics.dead_letters, topics.labels):
        logs.add_partitions(written_by_key, 5)
    admin.ensure_topics(topics)
    logs.add_partitions(topics.transactions, 5)
    with pytest.raises(WrongPartitionCount, match="has 5 partitions, the settings say 3"):
        admin.ensure_topics(topics)


def test_ends_are_those_of_committed_records_in_every_partition(logs: Logs, topic: str) -> None:
    fill(logs, topic, b"a", b"b", partition=1)
    admin = logs.admin()
    topic_id = admin.topic_id(topic)
    assert admin.ends(topic) == (topic_id, {0: 0, 1: 2, 2: 0})
    logs.add_hole(topic, 0)
    logs.add_partitions(topic, 4)
    found = admin.ends(topic)
    assert found.topic_id == topic_id
    assert found.ends.keys() == {0, 1, 2, 3}
    assert (found.ends[0], found.ends[3]) == (logs.reader(topic, partition_id(logs, topic)).bounds().end, 0)


def test_ends_tell_that_a_topic_was_made_again(logs: Logs, topic: str) -> None:
    fill(logs, topic, b"a")
    before = logs.admin().ends(topic)
    logs.recreate(topic)
    after = logs.admin().ends(topic)
    assert before.topic_id != after.topic_id
    assert after.ends == {0: 0, 1: 0, 2: 0}


def test_a_topic_that_is_not_there_has_no_ends(logs: Logs) -> None:
    with pytest.raises(StoreRefused, match="does not exist"):
        logs.admin().ends("no-such-topic")


def test_a_topic_that_is_not_there_is_refused(logs: Logs) -> None:
    with pytest.raises(StoreRefused, match="does not exist"):
        logs.admin().topic_id("no-such-topic")


def test_offsets_for_lag_tools_never_move_the_reader(logs: Logs, topic: str) -> None:
    fill(logs, topic, b"a", b"b", b"c")
    reader = logs.reader(topic, partition_id(logs, topic))
    reader.commit_for_lag_tools(3)
    assert [record.value for record in drain(reader, 3)] == [b"a", b"b", b"c"]
    reader.commit_for_lag_tools(1)
    assert reader.position() == 3


def test_closing_twice_is_harmless(logs: Logs, topic: str) -> None:
    reader, writer = logs.reader(topic, partition_id(logs, topic)), logs.writer()
    for _ in range(2):
        reader.close()
        writer.close()
