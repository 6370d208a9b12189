"""What only a real Kafka can show: logins, outages, what lag tools see."""

import contextlib
import gc
import time
import uuid
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.cluster import ClusterMetadata

from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.connections import KafkaConnection, KafkaSecurity, Topics
from ray_fraud.stores.errors import StoreRefused, StoreUnavailable
from ray_fraud.stores.log import kafka_client
from ray_fraud.stores.log.kafka_admin import KafkaLogAdmin
from ray_fraud.stores.log.kafka_client import client_settings, topic_id_text, topic_uuid
from ray_fraud.stores.log.kafka_reader import KafkaLogReader
from ray_fraud.stores.log.kafka_writer import KafkaLogWriter
from ray_fraud.stores.log.port import LAG_GROUP
from ray_fraud.stores.log.topic_policy import policy_warnings
from tests.stores.kafka_accidents import KafkaLogs

PATIENCE = timedelta(seconds=10)
NOBODY = KafkaConnection(bootstrap="127.0.0.1:1")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One second to connect, and kafka-python's unclosed sockets of failed attempts collected right away."""
    monkeypatch.setattr(kafka_client, "BOOTSTRAP_TIMEOUT", timedelta(seconds=1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


@pytest.fixture
def logs(kafka_server: KafkaConnection) -> Iterator[KafkaLogs]:
    with ExitStack() as stack:
        yield KafkaLogs(kafka_server, stack)


@pytest.fixture
def topic(logs: KafkaLogs) -> str:
    own = uuid.uuid4().hex[:8]
    logs.admin().ensure_topics(Topics(own, f"{own}-dlq", f"{own}-alerts", f"{own}-labels", partitions=1))
    return own


def partition_id(logs: KafkaLogs, topic: str) -> PartitionId:
    return PartitionId(logs.admin().cluster_id(), logs.admin().topic_id(topic), 0)


def test_a_reader_waits_for_the_reply_that_knows_its_topic(
    logs: KafkaLogs, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request is under way when the topic is assigned: its reply comes first, and tells of no topic.

    The one before it belongs to the connection and never tells of any.
    """
    request, sent = ClusterMetadata.metadata_request, 0

    def two_without_topics(cluster: ClusterMetadata) -> Any:
        nonlocal sent
        sent += 1
        topics, cluster._topics = cluster._topics, set() if sent <= 2 else cluster._topics
        made = request(cluster)
        cluster._topics = topics
        return made

    monkeypatch.setattr(ClusterMetadata, "metadata_request", two_without_topics)
    reader = KafkaLogReader(logs.connection, topic, partition_id(logs, topic))
    try:
        assert sent > 2
        assert reader.bounds().start == 0
    finally:
        reader.close()


@pytest.mark.usefixtures("impatient")
def test_without_a_broker_every_client_says_try_again() -> None:
    partition = PartitionId("c", topic_id_text(uuid.UUID(int=1)), 0)
    with pytest.raises(StoreUnavailable, match="bootstrap"):
        KafkaLogAdmin(NOBODY)
    with pytest.raises(StoreUnavailable, match="bootstrap"):
        KafkaLogWriter(NOBODY)
    with pytest.raises(StoreUnavailable, match="bootstrap"):
        KafkaLogReader(NOBODY, "transactions", partition)


@pytest.mark.usefixtures("impatient")
def test_a_wrong_password_is_named_as_a_possible_cause(kafka_server: KafkaConnection, tmp_path: Path) -> None:
    wrong = tmp_path / "password"
    wrong.write_text("wrong")
    wrong.chmod(0o600)
    connection = msgspec.structs.replace(kafka_server, password_file=wrong)
    with pytest.raises((StoreUnavailable, StoreRefused), match=r"(?i)password|authentication"):
        KafkaLogAdmin(connection)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"username": None}, "needs sasl_mechanism, username and password_file"),
        ({"password_file": None}, "needs sasl_mechanism, username and password_file"),
        ({"sasl_mechanism": "PLAIN"}, "in clear"),
    ],
)
def test_contradictory_settings_are_refused(
    change: dict[str, str | None], what: str, kafka_settings: KafkaConnection
) -> None:
    with pytest.raises(StoreRefused, match=what):
        client_settings(msgspec.structs.replace(kafka_settings, **change))


@pytest.fixture
def kafka_settings(tmp_path: Path) -> KafkaConnection:
    password = tmp_path / "password"
    password.write_text("secret\n")
    password.chmod(0o600)
    return KafkaConnection(
        bootstrap="one:9092,two:9092",
        security=KafkaSecurity.SASL_PLAINTEXT,
        sasl_mechanism="SCRAM-SHA-256",
        username="user",
        password_file=password,
        ca_file=tmp_path / "ca.pem",
    )


def test_settings_of_each_kind_of_security(kafka_settings: KafkaConnection, tmp_path: Path) -> None:
    scram = client_settings(kafka_settings)
    assert scram["bootstrap_servers"] == ["one:9092", "two:9092"]
    assert scram["sasl_plain_password"] == "secret"
    assert "ssl_cafile" not in scram

    both = client_settings(msgspec.structs.replace(kafka_settings, security=KafkaSecurity.SASL_SSL))
    assert (both["ssl_cafile"], both["sasl_mechanism"]) == (str(tmp_path / "ca.pem"), "SCRAM-SHA-256")

    tls = client_settings(msgspec.structs.replace(kafka_settings, security=KafkaSecurity.SSL))
    assert tls["ssl_cafile"] == str(tmp_path / "ca.pem")
    assert "sasl_plain_password" not in tls

    plain = client_settings(KafkaConnection(bootstrap="one:9092"))
    assert not [name for name in plain if name.startswith(("ssl", "sasl"))]


def test_a_password_that_others_may_read_is_refused(kafka_settings: KafkaConnection) -> None:
    assert kafka_settings.password_file is not None
    kafka_settings.password_file.chmod(0o644)
    with pytest.raises(PermissionError, match="chmod 600"):
        client_settings(kafka_settings)


def test_a_topic_id_is_written_as_kafkas_tools_write_it() -> None:
    topic_id = uuid.UUID("00ea7076-bb20-4a81-8754-82fb07897dc7")
    assert topic_id_text(topic_id) == "AOpwdrsgSoGHVIL7B4l9xw"
    assert topic_uuid("AOpwdrsgSoGHVIL7B4l9xw") == topic_id
    with pytest.raises(StoreRefused):
        topic_uuid("not a topic id")


def test_lag_tools_see_the_committed_offset(logs: KafkaLogs, topic: str) -> None:
    reader = logs.reader(topic, partition_id(logs, topic))
    client = KafkaAdminClient(**client_settings(logs.connection))
    try:
        deadline = time.monotonic() + 20
        seen = None
        while seen != 12 and time.monotonic() < deadline:
            reader.commit_for_lag_tools(12)
            time.sleep(0.2)
            committed = client.list_group_offsets(LAG_GROUP)[LAG_GROUP].get(TopicPartition(topic, 0))
            seen = None if committed is None else committed.offset
        assert seen == 12
    finally:
        client.close()


def test_a_reader_of_nothing_is_refused(logs: KafkaLogs, topic: str) -> None:
    partition = partition_id(logs, topic)
    with pytest.raises(StoreRefused, match="no partition 7"):
        logs.reader(topic, partition._replace(partition=7))
    with pytest.raises(StoreUnavailable):
        logs.reader("no-such-topic", partition)


def test_records_of_an_aborted_transaction_are_not_read(logs: KafkaLogs, topic: str) -> None:
    logs.add_hole(topic, 0)
    logs.writer().send(topic, key=b"k", value=b"kept", partition=0).wait(PATIENCE)
    reader = logs.reader(topic, partition_id(logs, topic))
    deadline = time.monotonic() + 20
    values: list[bytes | None] = []
    while not values and time.monotonic() < deadline:
        values += [record.value for record in reader.poll(10, timedelta(seconds=1))]
    assert values == [b"kept"]


def test_the_policy_is_the_topic_s(logs: KafkaLogs, kafka_server: KafkaConnection, topic: str) -> None:
    found = logs.admin().policy(topic)
    assert (found.log_append_time, found.compacts, found.deletes) == (False, False, True)
    assert (found.after_max, found.before_max) == (timedelta(hours=1), None)
    assert policy_warnings(topic, found, timedelta(hours=2)) == []
    changed = {
        "cleanup.policy": "compact,delete",
        "min.compaction.lag.ms": "60000",
        "retention.bytes": "1000000",
        "message.timestamp.type": "LogAppendTime",
        "message.timestamp.after.max.ms": str(2**63 - 1),
        "message.timestamp.before.max.ms": "5000",
    }
    other = f"{topic}-compacted"
    with closing(KafkaAdminClient(**client_settings(kafka_server))) as client:
        client.create_topics({other: {"num_partitions": 1, "configs": changed}}, wait_for_metadata=True)
    found = logs.admin().policy(other)
    assert (found.log_append_time, found.compacts, found.deletes) == (True, True, True)
    assert (found.after_max, found.before_max) == (None, timedelta(seconds=5))
    assert (found.retention_bytes, logs.admin().retention(other)) == (1_000_000, timedelta(minutes=1))
    assert len(policy_warnings(other, found, timedelta(hours=2))) == 2


def test_retention_is_the_topics(logs: KafkaLogs, topic: str) -> None:
    assert logs.admin().retention(topic) == timedelta(days=7)


def test_an_open_transaction_ends_what_can_be_read(logs: KafkaLogs, topic: str) -> None:
    """Else a partition would seem to stall for as long as somebody's transaction is open."""
    producer = KafkaProducer(
        transactional_id=topic, metrics_enabled=False, **client_settings(logs.connection)
    )
    with contextlib.closing(producer):
        producer.init_transactions()
        producer.begin_transaction()
        producer.send(topic, value=b"open", partition=0).get(10)
        logs.writer().send(topic, key=b"k", value=b"beside it", partition=0).wait(timedelta(seconds=10))
        reader = logs.reader(topic, partition_id(logs, topic))
        assert logs.admin().ends(topic).ends[0] == reader.bounds().end == 0
        producer.commit_transaction()
    for _ in range(100):
        if (end := logs.admin().ends(topic).ends[0]) == 3:
            break
        time.sleep(0.05)
    # The transaction's record, the one beside it, and the marker.
    assert end == 3
