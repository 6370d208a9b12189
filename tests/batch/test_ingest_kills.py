"""SIGKILL to a real ingest at every step of its work on the lake: each accepted offset once (T42).

`RAY_FRAUD_INGEST_KILLS` repeats the whole series that often; 1 unless set.
"""

import multiprocessing
import os
import signal
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from deltalake import DeltaTable

from batch.ingest.config import IngestConfig
from ray_fraud.stores.connections import (
    Connections,
    KafkaConnection,
    LakeLocation,
    PostgresConnection,
    RedisConnection,
    Topics,
    to_json,
)
from tests.batch import killed_ingest
from tests.domain.samples import record, transaction
from tests.stores.kafka_accidents import KafkaLogs

REPEATS = int(os.environ.get("RAY_FRAUD_INGEST_KILLS", "1"))
TOPICS = Topics("kills-transactions", "kills-dlq", "kills-alerts", "kills-labels", partitions=2)
PATIENCE = timedelta(seconds=20)
RECORDS = 20
"""Of each partition."""


def fill(kafka: KafkaConnection, topics: Topics) -> KafkaConnection:
    """A topic with good records, bad ones and the holes of an aborted transaction."""
    with ExitStack() as stack:
        logs = KafkaLogs(kafka, stack)
        logs.admin().ensure_topics(topics)
        for partition in range(topics.partitions):
            values = [record(0, transaction(f"t{number}")).value for number in range(RECORDS)]
            for value in (*values[:7], b"?", *values[7:]):
                logs.writer().send(
                    topics.transactions, key=b"k", value=value, partition=partition, timestamp_ms=None
                ).wait(PATIENCE)
        logs.add_hole(topics.transactions, 1)
        logs.writer().send(topics.transactions, key=b"k", value=values[0], partition=1).wait(PATIENCE)
    return kafka


@pytest.fixture
def filled(kafka_server: KafkaConnection) -> KafkaConnection:
    return fill(kafka_server, TOPICS)


def config_for(kafka: KafkaConnection, lake: LakeLocation, topics: Topics = TOPICS) -> IngestConfig:
    connections = Connections(kafka, RedisConnection(""), PostgresConnection(""), lake, topics)
    return IngestConfig(connections=connections, slice_records=12)


def offsets(lake: Path) -> list[tuple[int, int]]:
    table = DeltaTable(f"{lake.as_uri()}/transactions")
    rows = table.to_pyarrow_table(columns=["partition", "offset"]).to_pydict()
    return sorted(zip(*rows.values(), strict=True))


@pytest.mark.timeout(240 + 60 * REPEATS)
def test_an_ingest_killed_at_any_step_loses_and_doubles_nothing(
    filled: KafkaConnection, tmp_path: Path
) -> None:
    whole = config_for(filled, LakeLocation((tmp_path / "whole").as_uri()))
    report, half_steps = killed_ingest.ingest(whole)
    expected = offsets(tmp_path / "whole")
    assert report.accepted == len(expected) == 2 * RECORDS + 1
    assert report.rejected == {"not_json": 2}
    assert report.holes == 2

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.batch.killed_ingest"])
    for repeat in range(REPEATS):
        for kill_at in range(half_steps):
            lake = tmp_path / f"lake-{repeat}-{kill_at}"
            config = config_for(filled, LakeLocation(lake.as_uri()))
            file = tmp_path / "config.json"
            file.write_bytes(to_json(config))
            victim = context.Process(target=killed_ingest.main, args=(str(file), kill_at))
            victim.start()
            victim.join(60)
            assert victim.exitcode == -signal.SIGKILL, kill_at
            killed_ingest.ingest(config)
            assert offsets(lake) == expected, kill_at
