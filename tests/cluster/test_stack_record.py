"""The topics of a stack for which none are named."""

from pathlib import Path

import pytest

from cluster.local.stack_record import ExternalServers, StackRecord, unnamed_topics
from ray_fraud.stores.connections import (
    Connections,
    KafkaConnection,
    LakeLocation,
    PostgresConnection,
    RedisConnection,
    Topics,
)

EMBEDDED = ExternalServers()
EXTERNAL = ExternalServers(kafka=KafkaConnection("other:9092"))
MADE = Topics("made-before", partitions=5)


def _started(external: ExternalServers) -> StackRecord:
    connections = Connections(
        kafka=external.kafka or KafkaConnection("127.0.0.1:9092"),
        redis=RedisConnection("redis://127.0.0.1:6379/0"),
        postgres=PostgresConnection("postgresql://me@127.0.0.1:5432/fraud", Path("/no/password")),
        lake=LakeLocation("file:///lake"),
        topics=MADE,
    )
    return StackRecord(external=external, connections=connections)


@pytest.mark.parametrize(("cores", "partitions"), [(1, 2), (2, 2), (3, 3), (64, 3)])
def test_an_embedded_kafka_gets_no_more_partitions_than_cores(cores: int, partitions: int) -> None:
    assert unnamed_topics(StackRecord(), EMBEDDED, cores) == Topics(partitions=partitions)


def test_a_kafka_of_the_users_own_does_not_depend_on_this_machine() -> None:
    assert unnamed_topics(StackRecord(), EXTERNAL, 1) == Topics()


@pytest.mark.parametrize("external", [EMBEDDED, EXTERNAL])
def test_topics_that_an_earlier_start_made_stay(external: ExternalServers) -> None:
    assert unnamed_topics(_started(external), external, 2) == MADE


def test_another_kafka_has_topics_of_its_own() -> None:
    assert unnamed_topics(_started(EXTERNAL), EMBEDDED, 2) == Topics(partitions=2)
    assert unnamed_topics(_started(EMBEDDED), EXTERNAL, 2) == Topics()
