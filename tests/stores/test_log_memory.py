"""The memory log's faults and accidents: what the simulation relies on."""

from datetime import timedelta

import pytest

from ray_fraud.stores.errors import StoreUnavailable
from ray_fraud.stores.faults import Crashed, Fault, FaultPlan
from ray_fraud.stores.log.memory import MemoryBroker
from ray_fraud.stores.log.port import EpochEnd, LogGap

NO_TIME = timedelta()


@pytest.fixture
def broker() -> MemoryBroker:
    broker = MemoryBroker()
    broker.create("t", 1)
    return broker


def send(broker: MemoryBroker, value: bytes, faults: FaultPlan | None = None) -> None:
    broker.writer(faults).send("t", key=b"k", value=value, partition=0, timestamp_ms=1).wait(NO_TIME)


def values(broker: MemoryBroker) -> list[bytes | None]:
    return [record.value for record in broker.records("t")]


def test_a_lost_acknowledgement_leaves_the_record_in_the_log(broker: MemoryBroker) -> None:
    with pytest.raises(StoreUnavailable):
        send(broker, b"a", FaultPlan([Fault.FAIL_AFTER]))
    assert values(broker) == [b"a"]


def test_a_failed_send_leaves_nothing(broker: MemoryBroker) -> None:
    with pytest.raises(StoreUnavailable):
        send(broker, b"a", FaultPlan([Fault.FAIL_BEFORE]))
    assert values(broker) == []


def test_a_crash_ends_the_process_at_the_send_itself(broker: MemoryBroker) -> None:
    writer = broker.writer(FaultPlan([Fault.CRASH_AFTER]))
    with pytest.raises(Crashed):
        writer.send("t", key=b"k", value=b"a", partition=0)
    assert values(broker) == [b"a"]


@pytest.mark.parametrize("fault", [Fault.FAIL_BEFORE, Fault.FAIL_AFTER])
def test_a_failed_poll_does_not_move_the_position(broker: MemoryBroker, fault: Fault) -> None:
    send(broker, b"a")
    reader = broker.reader("t", broker.partition_id("t", 0), FaultPlan([fault]))
    with pytest.raises(StoreUnavailable):
        reader.poll(10, NO_TIME)
    assert reader.position() == 0
    assert [record.value for record in reader.poll(10, NO_TIME)] == [b"a"]


def test_a_duplicate_has_an_offset_of_its_own(broker: MemoryBroker) -> None:
    send(broker, b"a")
    assert broker.duplicate_last("t", 0) == 1
    assert values(broker) == [b"a", b"a"]


def test_a_truncated_log_is_a_gap_and_gives_its_offsets_again(broker: MemoryBroker) -> None:
    for value in (b"a", b"b", b"c"):
        send(broker, value)
    reader = broker.reader("t", broker.partition_id("t", 0))
    assert len(reader.poll(10, NO_TIME)) == 3
    broker.truncate("t", 0, 1)
    with pytest.raises(LogGap) as gap:
        reader.poll(10, NO_TIME)
    assert (gap.value.from_offset, gap.value.to_offset) == (3, 1)
    reader.seek(1)
    send(broker, b"d")
    assert [(record.offset, record.value) for record in reader.poll(10, NO_TIME)] == [(1, b"d")]


def test_records_without_a_timestamp_get_the_brokers(broker: MemoryBroker) -> None:
    broker.now_ms = lambda: 77
    broker.writer().send("t", key=b"k", value=b"a", partition=0)
    assert broker.records("t")[0].timestamp_ms == 77


def test_a_log_that_was_cut_off_and_has_grown_again_is_a_gap() -> None:
    broker = MemoryBroker()
    broker.create("t", 1)
    log = broker.topic("t").logs[0]
    for _ in range(10):
        log.append(0, None, b"v", ())
    reader = broker.reader("t", broker.partition_id("t", 0))
    reader.poll(10, timedelta(0))
    epoch = reader.leader_epoch()
    broker.elect("t", 0)
    assert list(reader.poll(10, timedelta(0))) == []
    broker.truncate("t", 0, 6)
    for _ in range(9):
        log.append(0, None, b"w", ())
    assert reader.end_of_epoch(epoch) == EpochEnd(epoch, 6)
    with pytest.raises(LogGap) as gap:
        reader.poll(10, timedelta(0))
    assert (gap.value.from_offset, gap.value.to_offset) == (10, 6)
