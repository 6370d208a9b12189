"""`state show` of a user whom producers with different partitioners put into several partitions."""

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cluster.local.paths import StackPaths
from cluster.local.stack_record import StackRecord, write_record
from ray_fraud.cli import main
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.partition import PartitionState
from ray_fraud.domain.placement import partition_of_user
from ray_fraud.stores.connections import (
    Connections,
    KafkaConnection,
    LakeLocation,
    PostgresConnection,
    RedisConnection,
    Topics,
)
from ray_fraud.stores.cuts.redis_store import RedisCutStore
from ray_fraud.stores.log.kafka_admin import KafkaLogAdmin
from ray_fraud.stores.partition_facts import partition_id
from tests.domain.samples import BERLIN, TOKYO, record, transaction
from tests.stores.cut_samples import cut_of

PARTITIONS = 3
TORN, WHOLE, ONLY_ELSEWHERE = (
    next(user for user in range(start, start + 100) if partition_of_user(user, PARTITIONS) == home)
    for start, home in ((1000, 1), (2000, 1), (3000, 1))
)
HOME, OTHER = 1, 2


def _states(users: list[int], place: Any) -> dict[int, bytes]:
    state = PartitionState(0, Decoder(None))
    state.observe(
        [record(n, transaction(str(n), user_id=user, location=place)) for n, user in enumerate(users)]
    )
    return state.users


@pytest.fixture
def data_dir(kafka_server: KafkaConnection, fresh_redis: RedisConnection, tmp_path: Path) -> Path:
    """A folder whose stack knows one user in two partitions and one in the wrong one only."""
    own = uuid.uuid4().hex[:8]
    topics = Topics(f"{own}-transactions", f"{own}-dlq", f"{own}-alerts", f"{own}-labels", PARTITIONS)
    admin = KafkaLogAdmin(kafka_server)
    cuts = RedisCutStore(fresh_redis)
    try:
        admin.ensure_topics(topics)
        for number, users in ((HOME, [TORN, WHOLE]), (OTHER, [TORN, ONLY_ELSEWHERE])):
            partition = partition_id(admin, topics.transactions, number)
            states = _states(users, BERLIN if number == HOME else TOKYO)
            cuts.raise_epoch(partition, 1, "owner-1")
            cuts.write_generation(partition, cut_of(states), states.items())
    finally:
        admin.close()
        cuts.close()
    connections = Connections(
        kafka_server, fresh_redis, PostgresConnection(""), LakeLocation("file:///none"), topics
    )
    paths = StackPaths(tmp_path / "data")
    paths.prepare()
    write_record(paths, StackRecord(connections=connections))
    return paths.data_dir


def _show(data_dir: Path, user: int, *options: str) -> Result:
    return CliRunner().invoke(main, ["state", "show", str(user), "--data-dir", str(data_dir), *options])


def test_a_user_is_found_wherever_producers_put_it(data_dir: Path) -> None:
    data = json.loads(_show(data_dir, TORN, "--output", "json").stdout)["data"]
    assert (data["partition"], data["events"][0]["lat"]) == (HOME, BERLIN.lat)
    (other,) = data["elsewhere"]
    assert (other["partition"], other["events"][0]["lat"]) == (OTHER, pytest.approx(TOKYO.lat))
    text = _show(data_dir, TORN).stdout
    assert f"belongs to partition {HOME} and was seen in partition {OTHER}" in text
    assert f"(partition {HOME}," in text
    assert f"(partition {OTHER}," in text

    data = json.loads(_show(data_dir, WHOLE, "--output", "json").stdout)["data"]
    assert (data["partition"], data["elsewhere"]) == (HOME, [])
    assert "belongs to" not in _show(data_dir, WHOLE).stdout

    data = json.loads(_show(data_dir, ONLY_ELSEWHERE, "--output", "json").stdout)["data"]
    assert (data["partition"], data["elsewhere"]) == (OTHER, [])
    assert f"was seen in partition {OTHER}" in _show(data_dir, ONLY_ELSEWHERE).stdout

    unknown = _show(data_dir, 4_999)
    assert unknown.exit_code != 0


def test_a_partition_needs_an_offset(data_dir: Path) -> None:
    result = _show(data_dir, TORN, "--partition", "2")
    assert result.exit_code == 1
    assert "--at-offset" in result.stderr
