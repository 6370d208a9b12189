"""Records of users of other partitions: each counted once, and the alarm that they raise and drop.

Never: a server; the stores are those of the simulation.
"""

import logging
import time
import zlib
from dataclasses import replace
from datetime import timedelta

import pytest

from actors.engine.misrouted import ALARM_SECONDS, GATHER_SECONDS, MisroutedAlarm
from actors.engine.owner import PartitionOwner
from actors.engine.pipeline import Pace, Pipeline
from actors.engine.timeline_keeper import Desired
from ray_fraud.domain import metrics
from ray_fraud.domain.misrouting import Misrouted, MisroutedRecord
from ray_fraud.domain.placement import partition_of_user
from ray_fraud.domain.record import Record
from ray_fraud.stores.connections import Topics
from ray_fraud.telemetry.meter import read_snapshot
from tests.domain.samples import record, transaction
from tests.simulation.world import FIRST, SETTINGS, World

PARTITIONS = 3
PATIENCE_SECONDS = 20.0
USERS = [user for user in range(400) if zlib.crc32(b"%d" % user) % PARTITIONS == 0]
"""Whom librdkafka's default sends to partition 0."""


def log() -> list[Record]:
    """Of each user two transactions and a duplicate, and a record that breaks the contract."""
    sent = []
    for user in USERS:
        first = transaction(f"{user}-1", user_id=user)
        sent += [first, first, transaction(f"{user}-2", user_id=user, seconds=60.0)]
    records = [record(offset, each) for offset, each in enumerate(sent)]
    return [*records, record(len(records), b"no json")]


def run(owner: PartitionOwner, pipeline: Pipeline, until: int) -> None:
    pipeline.start()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while owner.cuts.next_offset < until:
        assert time.monotonic() < deadline, "not settled"
        assert not pipeline.wait(timedelta(milliseconds=20)), pipeline.failure
    pipeline.drain()


def test_each_accepted_record_of_another_partitions_user_is_counted() -> None:
    world, records = World(), log()
    world.send(records)
    ports = replace(world.ports(), topics=Topics(partitions=PARTITIONS))
    owner = PartitionOwner(ports, world.partition, "first", Desired(SETTINGS, FIRST), time.monotonic)
    pipeline = Pipeline(owner, ports.meter, Pace(max_poll_records=50), time.monotonic())
    run(owner, pipeline, len(records))
    away = [user for user in USERS if partition_of_user(user, PARTITIONS) != 0]
    assert len(away) > 50
    counters = read_snapshot(ports.meter.snapshot()).counters
    assert counters[metrics.MISROUTED.name, ("0",)] == 3 * len(away) == pipeline.misrouted


def misrouted(number: int = 1) -> Misrouted:
    users = [user for user in USERS if partition_of_user(user, PARTITIONS) != 0][:number]
    return Misrouted(number, tuple(MisroutedRecord(user, b"%d" % user) for user in users))


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [entry.getMessage() for entry in caplog.records if entry.levelno >= logging.ERROR]


def test_the_alarm_names_partition_share_cause_and_setting_once_in_a_period(
    caplog: pytest.LogCaptureFixture,
) -> None:
    alarm = MisroutedAlarm(0, PARTITIONS)
    assert not alarm.judge(100.0)
    alarm.add(30, misrouted(20), 100.0)
    assert alarm.judge(100.1)
    (line,) = told(caplog)
    for part in ("partition 0", "20 of 30", "66.7 %", "CRC32", "partitioner=murmur2_random"):
        assert part in line
    alarm.add(10, misrouted(20), 200.0)
    assert alarm.judge(200.0)
    assert len(told(caplog)) == 1
    assert alarm.judge(100.2 + ALARM_SECONDS)
    assert len(told(caplog)) == 2
    assert not alarm.judge(201.0 + 2 * ALARM_SECONDS)
    assert len(told(caplog)) == 2
    assert alarm.total == 40


def test_a_single_record_is_told_of_too(caplog: pytest.LogCaptureFixture) -> None:
    alarm = MisroutedAlarm(0, PARTITIONS)
    alarm.add(1, misrouted(1), 0.0)
    assert alarm.judge(0.1)
    assert not told(caplog)
    assert alarm.judge(GATHER_SECONDS + 0.1)
    assert "1 of 1" in told(caplog)[0]
    assert "in its own way" in told(caplog)[0]
