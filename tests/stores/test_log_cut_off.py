"""A real broker that lost the end of a log: readers notice, also when the log has grown beyond again."""

import contextlib
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from actors.engine.ports import Ports
from cluster.local.kafka import EmbeddedKafka
from cluster.local.ledger import Ledger
from cluster.local.paths import StackPaths
from cluster.local.ports import Ports as NetworkPorts
from ray_fraud.domain.record import PartitionId, Record
from ray_fraud.stores.connections import KafkaConnection, Topics
from ray_fraud.stores.ledger.memory import MemoryLedger
from ray_fraud.stores.log.port import EpochEnd, LogGap, LogReader
from tests.simulation.driver import Driver
from tests.simulation.test_crash_points import transaction
from tests.simulation.world import FIRST, World
from tests.stores.kafka_accidents import KafkaLogs
from tests.stores.kafka_disk import cut_off

PATIENCE = timedelta(seconds=10)
WAIT = timedelta(milliseconds=200)
FIRST_END, CUT, REGROWN = 100, 80, 150


class Broker:
    """One broker of this test's own, which may be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.paths = StackPaths(folder)
        self.paths.prepare()
        self.server = EmbeddedKafka(self.paths, Ledger(self.paths), NetworkPorts(self.paths))
        self.sent_ms = round(time.time() * 1000)
        """Of all records: retention goes by it."""
        self.own = uuid.uuid4().hex[:8]
        self.topics = Topics(
            f"{self.own}-transactions", f"{self.own}-dlq", f"{self.own}-alerts", f"{self.own}-labels", 1
        )

    @contextlib.contextmanager
    def running(self) -> Iterator[KafkaLogs]:
        connection: KafkaConnection = self.server.start()
        try:
            with contextlib.ExitStack() as clients:
                yield KafkaLogs(connection, clients)
        finally:
            self.server.stop()

    def partition(self, logs: KafkaLogs) -> PartitionId:
        admin = logs.admin()
        return PartitionId(admin.cluster_id(), admin.topic_id(self.topics.transactions), 0)

    def send(self, logs: KafkaLogs, first: int, end: int) -> None:
        """High amounts, one batch each; offsets as given."""
        for number in range(first, end):
            record = transaction(number, 5_000.0)
            position = logs.writer().send(
                self.topics.transactions,
                key=record.key,
                value=record.value,
                partition=0,
                timestamp_ms=self.sent_ms,
            )
            assert position.wait(PATIENCE).offset == number

    def lose_the_end(self) -> None:
        cut_off(self.paths.kafka, self.topics.transactions, 0, CUT)


class KafkaWorld(World):
    """The memory stores, with the log of a real broker."""

    logs: KafkaLogs
    names: Topics

    def ports(self, faults: object = None) -> Ports:
        del faults
        ports = super().ports()
        reader = self.logs.reader(self.names.transactions, self.partition)
        return replace(ports, reader=reader, writer=self.logs.writer(), topics=self.names)


def read_up_to(driver: Driver, end: int) -> None:
    owner = driver.live()
    for _ in range(200):
        owner.steps.reconcile()
        records = owner.steps.read(500, WAIT)
        owner.queue.extend(owner.steps.observe(records))
        while owner.queue:
            driver.settle(owner)
        if owner.steps.state.next_offset >= end:
            return
    raise AssertionError(f"read up to {owner.steps.state.next_offset} only")


def poll_often(reader: LogReader) -> None:
    """The first polls may only have the position checked."""
    for _ in range(50):
        reader.poll(10, WAIT)


@pytest.fixture
def broker(tmp_path_factory: pytest.TempPathFactory) -> Broker:
    return Broker(tmp_path_factory.mktemp("broker"))


@pytest.mark.servers
@pytest.mark.timeout(180)
def test_a_log_that_was_cut_off_and_has_grown_again_is_noticed(broker: Broker) -> None:
    world = KafkaWorld()
    world.names = broker.topics
    driver = Driver(world, 1, FIRST)
    with broker.running() as logs:
        logs.admin().ensure_topics(broker.topics)
        world.logs, world.partition = logs, broker.partition(logs)
        broker.send(logs, 0, FIRST_END)
        read_up_to(driver, FIRST_END)
        owner = driver.live().steps
        owner.write_cut()
        owner.record_progress()
        decided = MemoryLedger(world.database).decided(world.partition)
        assert decided is not None
        assert decided.offset == FIRST_END
        epoch = decided.leader_epoch
        assert epoch >= 0
        driver.crash()
    broker.lose_the_end()
    with broker.running() as logs:
        broker.send(logs, CUT, REGROWN)
        world.logs = logs
        reader = logs.reader(broker.topics.transactions, world.partition)
        assert reader.end_of_epoch(epoch) == EpochEnd(epoch, CUT)
        reader.seek(FIRST_END, epoch)
        with pytest.raises(LogGap) as gap:
            poll_often(reader)
        assert (gap.value.from_offset, gap.value.to_offset) == (FIRST_END, CUT)
        read_up_to(driver, REGROWN)
        _check_new_owner(world, driver)


def _check_new_owner(world: KafkaWorld, driver: Driver) -> None:
    owner = driver.live().steps
    assert owner.own.barrier == CUT
    ledger = MemoryLedger(world.database)
    (gap,) = ledger.gaps(world.partition)
    assert (gap.from_offset, gap.to_offset) == (CUT, FIRST_END)
    stored = sorted(
        row.alert.offset for row in world.database.alerts.values() if row.epoch == owner.own.epoch
    )
    assert stored == list(range(FIRST_END, REGROWN)), "those below are equal transactions, sent again"
    alerts = world.logs.reader(world.names.alerts, _alerts_partition(world))
    sent: list[Record] = []
    while len(sent) < REGROWN + FIRST_END - CUT:
        sent += alerts.poll(500, WAIT)
    again = [int(dict(record.headers)["offset"] or b"") for record in sent[FIRST_END:]]
    assert again == list(range(CUT, REGROWN))


def _alerts_partition(world: KafkaWorld) -> PartitionId:
    return PartitionId(world.partition.cluster_id, world.logs.admin().topic_id(world.names.alerts), 0)
