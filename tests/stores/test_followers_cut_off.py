"""A real broker that lost the ends of topics: sink, re-keying and ingest go on from where they were cut."""

import contextlib
from pathlib import Path

import msgspec
import pytest

from actors.engine.rekey import Rekeyer, rekeyer_name
from actors.engine.sink import Sink
from actors.engine.sink_letters import SinkLetters
from batch.ingest.config import IngestConfig
from ray_fraud.domain.record import PartitionId, Record
from ray_fraud.stores.connections import (
    Connections,
    LakeLocation,
    PostgresConnection,
    RedisConnection,
    Topics,
)
from ray_fraud.stores.ledger.memory import MemoryDatabase, MemoryLedger
from ray_fraud.stores.ledger.memory_queries import MemoryAlertQueries
from ray_fraud.stores.log.kafka_atomic import KafkaAtomicWriter
from ray_fraud.stores.partition_facts import partition_id
from ray_fraud.stores.tables.delta import DeltaTransactions
from ray_fraud.telemetry.meter import Meter
from tests.batch.killed_ingest import ingest
from tests.domain.samples import decoder, transaction
from tests.domain.samples import record as sample
from tests.stores.kafka_accidents import KafkaLogs
from tests.stores.kafka_disk import cut_off
from tests.stores.ledger_world import example_alert, reached
from tests.stores.test_log_cut_off import PATIENCE, WAIT, Broker

FIRST_END, CUT, REGROWN = 10, 6, 14


class Followers:
    """Of one start of the broker: everything is opened anew, as new processes do."""

    def __init__(self, logs: KafkaLogs, topics: Topics, database: MemoryDatabase, folder: Path) -> None:
        self.logs, self.topics = logs, topics
        self.meter = Meter("followers", "of this test")
        self.ledger = MemoryLedger(database)
        self.alerts = self._partition(topics.alerts)
        letters = SinkLetters(logs.writer(), topics, self.meter)
        self.sink = Sink(self.ledger, logs.reader(topics.alerts, self.alerts), letters, self.meter)
        lake = LakeLocation(f"file://{folder}/lake")
        connections = Connections(
            logs.connection,
            RedisConnection(""),
            PostgresConnection(""),
            lake,
            msgspec.structs.replace(topics, transactions=topics.input, rekey_from=None),
        )
        self.ingest = IngestConfig(connections=connections)
        self.lake = DeltaTransactions(lake)
        source, progress = self._partition(topics.input), self._partition(topics.rekey_progress)
        self.rekeyer = Rekeyer(
            topics,
            logs.reader(topics.input, source),
            logs.reader(topics.rekey_progress, progress),
            KafkaAtomicWriter(logs.connection, rekeyer_name(source.topic_id, 0)),
            decoder(),
        )

    def _partition(self, topic: str) -> PartitionId:
        return partition_id(self.logs.admin(), topic, 0)

    def send(self, first: int, end: int, life: str, sent_ms: int) -> None:
        """Transactions and alerts named after a life of the topics, one batch each; offsets as given."""
        for number in range(first, end):
            alert = example_alert(number, transaction_id=f"{life} {number}")
            headers = {"epoch": b"1", "partition": b"1", "offset": b"0", "topic_id": b"owners-topic"}
            payment = sample(0, transaction(f"{life} {number}", user_id=number))
            for topic, value, extra in (
                (self.topics.alerts, msgspec.json.encode(alert), tuple(headers.items())),
                (self.topics.input, payment.value, ()),
            ):
                sent = self.logs.writer().send(
                    topic, key=b"7", value=value, partition=0, headers=extra, timestamp_ms=sent_ms
                )
                assert sent.wait(PATIENCE).offset == number

    def run_to(self, end: int) -> None:
        for _ in range(100):
            self.sink.step(WAIT)
            self.rekeyer.step(WAIT)
            if reached(self.ledger, self.alerts) == end and self.rekeyer.lag == 0:
                return
        at = reached(self.ledger, self.alerts)
        raise AssertionError(f"the sink is at {at}, re-keying {self.rekeyer.lag} behind")

    def keyed(self) -> list[Record]:
        reader = self.logs.reader(self.topics.transactions, self._partition(self.topics.transactions))
        end = reader.bounds().end
        records: list[Record] = []
        while reader.position() < end:
            records += reader.poll(500, WAIT)
        return records


@pytest.mark.servers
@pytest.mark.timeout(180)
def test_topics_that_were_cut_off_and_have_grown_again_are_read_from_the_cut_on(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("lake")
    broker = Broker(tmp_path_factory.mktemp("broker"))
    topics = msgspec.structs.replace(broker.topics, rekey_from=f"{broker.own}-source")
    database = MemoryDatabase()
    with broker.running() as logs:
        logs.admin().ensure_rekeying(topics)
        logs.admin().ensure_topics(topics)
        followers = Followers(logs, topics, database, folder)
        with contextlib.closing(followers.rekeyer):
            followers.send(0, FIRST_END, "lost", broker.sent_ms)
            followers.run_to(FIRST_END)
        assert ingest(followers.ingest)[0].accepted == FIRST_END
    for topic in (topics.alerts, topics.input):
        cut_off(broker.paths.kafka, topic, 0, CUT)
    with broker.running() as logs:
        followers = Followers(logs, topics, database, folder)
        with contextlib.closing(followers.rekeyer):
            followers.send(CUT, REGROWN, "new", broker.sent_ms)
            followers.run_to(REGROWN)
        (lost,) = ingest(followers.ingest)[0].taken_back
        assert (lost.from_offset, lost.to_offset, lost.rows) == (CUT, FIRST_END, FIRST_END - CUT)
        assert ingest(followers.ingest)[0].taken_back == []
        _check(followers, database)


def _check(followers: Followers, database: MemoryDatabase) -> None:
    expected = {f"lost {number}" for number in range(FIRST_END)}
    expected |= {f"new {number}" for number in range(CUT, REGROWN)}
    assert {row.alert.transaction_id for row in MemoryAlertQueries(database).list()} == expected
    (gap,) = followers.ledger.gaps(followers.alerts)
    assert (gap.from_offset, gap.to_offset) == (CUT, FIRST_END)
    came = [msgspec.json.decode(each.value or b"") for each in followers.keyed()]
    assert sorted(each["transaction_id"] for each in came if "transaction_id" in each) == sorted(expected)
    (told,) = [each for each in came if "rekey_cause" in each]
    assert (told["rekey_lost_from"], told["rekey_lost_to"]) == (CUT, FIRST_END)
    assert followers.rekeyer.cut_offs == 1
    source = partition_id(followers.logs.admin(), followers.topics.input, 0)
    rows = followers.lake.rows_of(source, 0, REGROWN, ["offset", "transaction_id"]).to_pylist()
    assert {row["offset"]: row["transaction_id"] for row in rows} == {
        number: f"{'lost' if number < CUT else 'new'} {number}" for number in range(REGROWN)
    }
    assert len(rows) == REGROWN
