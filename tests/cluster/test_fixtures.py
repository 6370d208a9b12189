"""The session's servers as the other tests see them."""

import msgspec
import psycopg2
import pytest
import redis
from kafka import KafkaAdminClient

from ray_fraud.stores.connections import (
    KafkaConnection,
    PostgresConnection,
    RedisConnection,
    Topics,
    read_secret,
)


def _password(connection: KafkaConnection | PostgresConnection | RedisConnection) -> str:
    assert connection.password_file is not None
    return read_secret(connection.password_file)


def _open(connection: PostgresConnection) -> "psycopg2.extensions.connection":
    return psycopg2.connect(connection.url, password=_password(connection))


@pytest.mark.parametrize("attempt", [1, 2])
def test_a_fresh_database_is_empty(fresh_database: PostgresConnection, attempt: int) -> None:
    database = _open(fresh_database)
    with database, database.cursor() as cursor:
        cursor.execute("CREATE TABLE mark (id int)")
        cursor.execute("SELECT count(*) FROM mark")
        assert cursor.fetchone() == (0,)
    database.close()


@pytest.mark.parametrize("attempt", [1, 2])
def test_a_fresh_redis_is_empty(fresh_redis: RedisConnection, attempt: int) -> None:
    with redis.Redis.from_url(fresh_redis.url, password=_password(fresh_redis)) as client:
        assert client.dbsize() == 0
        client.set("mark", attempt)


def test_kafka_makes_no_topics_of_the_platform_by_itself(kafka_server: KafkaConnection) -> None:
    admin = KafkaAdminClient(
        bootstrap_servers=kafka_server.bootstrap,
        security_protocol=kafka_server.security.value,
        sasl_mechanism=kafka_server.sasl_mechanism,
        sasl_plain_username=kafka_server.username,
        sasl_plain_password=_password(kafka_server),
    )
    names = {name for name in msgspec.structs.asdict(Topics()).values() if isinstance(name, str)}
    assert names.isdisjoint(admin.list_topics())
    admin.close()


def test_tests_that_use_a_server_are_marked(
    request: pytest.FixtureRequest, redis_server: RedisConnection
) -> None:
    assert request.node.get_closest_marker("servers")
