"""An owner whose reader burns in its client for ever: its process is ended, threads and all, and replaced.

Never: a server; the stores are those of the simulation, one world for each process.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import psutil
import pytest

from actors.config import HotPathConfig
from actors.engine.owner import PartitionOwner
from actors.engine.pipeline import Pace, Pipeline
from actors.engine.timeline_keeper import Desired
from actors.log_watch import Sight
from actors.partition_slot import PartitionSlot
from actors.partition_watch import PartitionWatch
from ray_fraud.domain.record import Record
from ray_fraud.stores.connections import (
    Connections,
    KafkaConnection,
    LakeLocation,
    PostgresConnection,
    RedisConnection,
)
from ray_fraud.stores.log.memory import MemoryLogReader
from ray_fraud.stores.log.port import TopicEnds
from ray_fraud.telemetry.meter import Meter
from tests.batch.conftest import local_ray  # noqa: F401 - a fixture
from tests.simulation.test_crash_poison import log_with
from tests.simulation.world import FIRST, SETTINGS, World

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

PATIENCE_SECONDS = 90.0
LIMIT_SECONDS = 2.0
NOWHERE = Connections(
    KafkaConnection("localhost:1"),
    RedisConnection("redis://localhost:1/0"),
    PostgresConnection("postgresql://nobody@localhost:1/none"),
    LakeLocation("file:///nowhere"),
)


class BurningReader(MemoryLogReader):
    """Reads five records; its next poll never returns and holds a core."""

    def poll(self, max_records: int, timeout: timedelta) -> Sequence[Record]:
        while self.position() >= 5:
            pass
        return super().poll(min(max_records, 5), timeout)


class BurningOwner:
    """What a slot needs of `PartitionActor`, over a log of twenty records in memory."""

    def __init__(self, config: bytes, partition: int, split: bytes, tables: str | None) -> None:
        del config, split, tables
        self._partition = partition
        self._world = World()
        self._world.send(log_with([])[:20])
        reader = BurningReader(self._world.broker, "transactions", self._world.partition)
        ports = replace(self._world.ports(), reader=reader)
        desired = Desired(SETTINGS, FIRST)
        owner = PartitionOwner(ports, self._world.partition, "token", desired, time.monotonic)
        self._pipeline = Pipeline(owner, ports.meter, Pace(poll_timeout=timedelta()), time.monotonic())
        self._pipeline.start()

    def ended(self, timeout_seconds: float) -> None:
        assert not self._pipeline.wait(timedelta(seconds=timeout_seconds))

    def status(self) -> bytes:
        said = {
            "epoch": os.getpid(),
            "topic_id": self._world.partition.topic_id,
            "settled_offset": self._pipeline.settled_offset,
            "waits": self._pipeline.waits,
        }
        return msgspec.json.encode(said)


@pytest.mark.usefixtures("local_ray")
def test_an_owner_that_gets_on_no_more_ends_with_its_process_and_says_why() -> None:
    meter = Meter("supervisor", "a")
    slot = PartitionSlot(HotPathConfig(connections=NOWHERE), b"", 0, meter, BurningOwner)
    log = TopicEnds("memory-topic-1", {0: 20})
    watch = PartitionWatch(
        "transactions",
        [slot],
        lambda: Sight(time.monotonic(), log),
        meter,
        LIMIT_SECONDS,
        time.monotonic,
    )

    def seen(what: str, found: Callable[[], Any]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not found():
            assert time.monotonic() < deadline, f"{what}: {watch.problems}, last end {slot.last_end}"
            slot.step(b"", None)
            watch.look({})
            time.sleep(0.05)

    pids: list[int] = []

    def owned() -> bool:
        status = slot.newest_status()
        if status is not None and status["epoch"] not in pids:
            pids.append(status["epoch"])
            return True
        return False

    seen("it has an owner", owned)
    seen("the owner is ended", lambda: slot.restarts == 1)
    assert slot.last_end is not None
    assert slot.last_end.startswith("stalled: nothing above offset 5 has settled for")
    assert "15 records wait" in slot.last_end
    seen("the next owner is there", owned)
    seen("the process is gone", lambda: not psutil.pid_exists(pids[0]))
    slot.stop("the test ends")
    seen_gone = time.monotonic() + PATIENCE_SECONDS
    while psutil.pid_exists(pids[1]):
        assert time.monotonic() < seen_gone
        time.sleep(0.05)
