"""Where librdkafka puts the records of a user, against where the platform looks for them.

librdkafka's configuration stands for all clients built on it: confluent-kafka's for Python, Go and .NET,
node-rdkafka.
"""

import uuid
from collections.abc import Sequence

import msgspec
import pytest
from confluent_kafka import KafkaError, Message, Producer

from ray_fraud.domain.placement import partition_of_user
from ray_fraud.stores.connections import KafkaConnection, Topics, read_secret
from ray_fraud.stores.log.kafka_admin import KafkaLogAdmin

PARTITIONS = 12
USERS = [*range(1_000), *(7**18 + user for user in range(1_000))]
PATIENCE_SECONDS = 60.0


@pytest.fixture
def topic(kafka_server: KafkaConnection) -> str:
    own = uuid.uuid4().hex[:8]
    topics = Topics(f"{own}-transactions", f"{own}-dlq", f"{own}-alerts", f"{own}-labels")
    admin = KafkaLogAdmin(kafka_server)
    try:
        admin.ensure_topics(msgspec.structs.replace(topics, partitions=PARTITIONS))
    finally:
        admin.close()
    return topics.transactions


def placed_by_librdkafka(
    connection: KafkaConnection, topic: str, users: Sequence[int], **settings: str
) -> dict[int, int]:
    """The partition of each user's record."""
    assert connection.password_file is not None
    producer = Producer(
        {
            "bootstrap.servers": connection.bootstrap,
            "security.protocol": connection.security.value,
            "sasl.mechanism": connection.sasl_mechanism,
            "sasl.username": connection.username,
            "sasl.password": read_secret(connection.password_file),
            **settings,
        }
    )
    placed: dict[int, int] = {}

    def delivered(error: KafkaError | None, message: Message) -> None:
        key, partition = message.key(), message.partition()
        assert error is None
        assert key is not None
        assert partition is not None
        placed[int(key)] = partition

    for user in users:
        producer.produce(topic, key=str(user), value=b"{}", on_delivery=delivered)
    assert producer.flush(PATIENCE_SECONDS) == 0
    return placed


def test_the_named_setting_puts_every_user_where_it_belongs(
    kafka_server: KafkaConnection, topic: str
) -> None:
    placed = placed_by_librdkafka(kafka_server, topic, USERS, partitioner="murmur2_random")
    assert placed == {user: partition_of_user(user, PARTITIONS) for user in USERS}


def test_the_default_puts_most_users_elsewhere(kafka_server: KafkaConnection, topic: str) -> None:
    placed = placed_by_librdkafka(kafka_server, topic, USERS)
    agreeing = sum(placed[user] == partition_of_user(user, PARTITIONS) for user in USERS)
    assert 0.06 < agreeing / len(USERS) < 0.11
