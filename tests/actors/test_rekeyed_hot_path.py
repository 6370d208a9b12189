"""The whole hot path behind re-keying: producers with any partitioner, the actor killed under way.

It has a platform of its own, and one process can be connected to one Ray only: see `OWN_PLATFORM` in
`tests/conftest.py`.
"""

import json
import os
import signal
import time
import uuid
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Producer
from ray.exceptions import RayError

from actors.engine.audit import read_log
from cluster.local.audit import audit_stack
from cluster.local.hot_path_client import rekey_status
from ray_fraud.domain.placement import partition_of_user
from ray_fraud.stores.connections import KafkaConnection, Topics, read_secret
from ray_fraud.stores.ledger.postgres_queries import PostgresAlertQueries
from ray_fraud.stores.ledger.queries import AlertFilter
from tests.actors.platform import Platform, eventually, open_platform

TOPICS = Topics(transactions="transactions.keyed", rekey_from="payments", partitions=2)
RECORDS = 3_000
KILLS = 3
LONDON, SYDNEY = (51.5074, -0.1278), (-33.8688, 151.2093)
TRAVELLER = next(
    user
    for user in range(5_000, 6_000)
    if zlib.crc32(b"%d" % user) % TOPICS.partitions != partition_of_user(user, TOPICS.partitions)
)
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.servers,
    pytest.mark.own_platform,
    pytest.mark.timeout(400),
]


@pytest.fixture(scope="module")
def rekeyed() -> Iterator[Platform]:
    opened = open_platform(TOPICS)
    try:
        yield opened
    finally:
        opened.close()


def _producer(kafka: KafkaConnection, **settings: str) -> Producer:
    assert kafka.password_file is not None
    return Producer(
        {
            "bootstrap.servers": kafka.bootstrap,
            "security.protocol": kafka.security.value,
            "sasl.mechanism": kafka.sasl_mechanism,
            "sasl.username": kafka.username,
            "sasl.password": read_secret(kafka.password_file),
            **settings,
        }
    )


def _payment(user: int, place: tuple[float, float], seconds_ago: float = 0.0) -> bytes:
    return json.dumps(
        {
            "transaction_id": str(uuid.uuid4()),
            "user_id": user,
            "amount": 20.0,
            "timestamp": time.time() - seconds_ago,
            "location": {"lat": place[0], "lon": place[1]},
        }
    ).encode()


def _caught_up() -> bool:
    try:
        return all(each["lag"] == 0 for each in rekey_status()["partitions"])
    except (RayError, ValueError):
        return False


def _origins(platform: Platform) -> Counter[tuple[int, int]]:
    found: Counter[tuple[int, int]] = Counter()
    for reader in platform.readers.values():
        for records in read_log(reader, *reader.bounds()):
            for record in records:
                headers: dict[str, Any] = dict(record.headers)
                found[int(headers["rekey.partition"]), int(headers["rekey.offset"])] += 1
    return found


def test_a_journey_through_two_partitions_is_an_alert(rekeyed: Platform) -> None:
    kafka = rekeyed.config.connections.kafka
    for settings, place, ago in (({"partitioner": "murmur2_random"}, LONDON, 640.0), ({}, SYDNEY, 0.0)):
        producer = _producer(kafka, **settings)
        producer.produce("payments", key=str(TRAVELLER), value=_payment(TRAVELLER, place, ago))
        assert producer.flush(30) == 0
    queries = PostgresAlertQueries(rekeyed.config.connections.postgres)
    where = AlertFilter(user_id=TRAVELLER)
    try:
        eventually("the journey is an alert", lambda: queries.count_by_rule(where).get("geo_velocity"), 60)
    finally:
        queries.close()


def test_kills_under_way_double_and_lose_nothing(rekeyed: Platform) -> None:
    producer = _producer(rekeyed.config.connections.kafka)
    before = sum(_origins(rekeyed).values())
    killed: set[int] = set()
    for number in range(RECORDS):
        producer.produce("payments", key=str(number % 97), value=_payment(number % 97, LONDON))
        if number % (RECORDS // (KILLS + 1)) == 0 and number:
            producer.flush(30)
            pid = eventually("re-keying answers", lambda: _new_pid(killed), 60)
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
    assert producer.flush(30) == 0
    eventually("re-keying has caught up", lambda: _new_pid(killed) is not None and _caught_up(), 90)
    eventually("all is in the keyed topic", lambda: sum(_origins(rekeyed).values()) >= before + RECORDS, 60)
    origins = _origins(rekeyed)
    assert set(origins.values()) == {1}
    assert len(origins) == before + RECORDS
    assert len(killed) == KILLS
    ends = rekeyed.settle()
    audit = audit_stack(rekeyed.config, ends)
    assert audit.agrees, audit
    assert audit.processed == audit.records == len(origins)


def _new_pid(killed: set[int]) -> int | None:
    try:
        pid = int(rekey_status()["pid"])
    except (RayError, ValueError):
        return None
    return None if pid in killed else pid
