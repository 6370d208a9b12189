"""Whether a server answers, lets us in and takes writes, for embedded and external ones alike.

Never: an exception for a server that is down; a write that anyone reads.
"""

import contextlib
import socket
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from kafka import KafkaAdminClient

from cluster.local.ray_address import RayAddress
from cluster.local.stack_record import StackRecord
from ray_fraud.stores.connections import KafkaConnection, PostgresConnection, RedisConnection
from ray_fraud.stores.errors import StoreError
from ray_fraud.stores.ledger.postgres_health import check_writes
from ray_fraud.stores.ledger.postgres_session import Session
from ray_fraud.stores.log.kafka_client import kafka_errors_told_apart, opening
from ray_fraud.stores.redis_server import RedisServer

CONNECT_TIMEOUT = timedelta(seconds=2)
KAFKA_PATIENCE_MS = 2000
"""Short: while a broker starts it hangs up on everyone, and the client repeats itself all this time."""


@dataclass(frozen=True)
class Probe:
    """How to ask one service of a stack for its health."""

    service: str
    address: str
    """Empty if it was never started."""
    external: bool
    answers: Callable[[], bool]


def probes(record: StackRecord) -> Iterator[Probe]:
    """One for each of `kafka`, `redis`, `postgres` and `ray`."""
    known, external, ray = record.connections, record.external, record.ray
    if known is None:
        yield from (Probe(service, "", False, lambda: False) for service in ("kafka", "redis", "postgres"))
    else:
        kafka, redis, postgres = known.kafka, known.redis, known.postgres
        yield Probe("kafka", kafka.bootstrap, external.kafka is not None, lambda: kafka_answers(kafka))
        yield Probe("redis", redis.url, external.redis is not None, lambda: redis_answers(redis))
        yield Probe(
            "postgres", postgres.url, external.postgres is not None, lambda: postgres_answers(postgres)
        )
    yield Probe("ray", ray.address if ray else "", False, lambda: ray is not None and ray_answers(ray))


def kafka_answers(connection: KafkaConnection) -> bool:
    """True if a broker lets us log in and answers."""
    if not any(_listens(address) for address in connection.bootstrap.split(",")):
        # The client would keep trying for much longer.
        return False
    try:
        with opening(connection) as settings, kafka_errors_told_apart():
            patience = {"bootstrap_timeout_ms": KAFKA_PATIENCE_MS, "request_timeout_ms": KAFKA_PATIENCE_MS}
            KafkaAdminClient(**{**settings, **patience}).close()
    except (StoreError, OSError):
        return False
    return True


def redis_answers(connection: RedisConnection) -> bool:
    """True if the server, or every master of the cluster, lets us log in and takes a write."""
    try:
        with contextlib.closing(RedisServer(connection)) as server:
            server.check_writes()
            return True
    except (StoreError, OSError):
        return False


def postgres_answers(connection: PostgresConnection) -> bool:
    """True if the server lets us into the database and takes a write."""
    session = Session(connection, name="ray-fraud health")
    try:
        check_writes(session)
        return True
    except (StoreError, OSError):
        return False
    finally:
        session.close()


def ray_answers(address: RayAddress) -> bool:
    """True if the node is up and its control service knows it."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with (
        contextlib.suppress(OSError),
        opener.open(address.health_url, timeout=CONNECT_TIMEOUT.total_seconds()) as answer,
    ):
        return bool(answer.status == 200)
    return False


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT.total_seconds()).close()
    except (OSError, ValueError):
        return False
    return True
