"""The four threads behind unclean ends: a record that ends its owner is passed over; a late drain says so.

Never: a server; the stores are those of the simulation.
"""

import time
from dataclasses import replace
from datetime import timedelta
from itertools import repeat

import pytest

from actors.engine.owner import PartitionOwner
from actors.engine.pipeline import Pace, Pipeline
from actors.engine.timeline_keeper import Desired
from ray_fraud.stores.faults import Crashed, Fault, FaultPlan
from tests.simulation.driver import Driver, check
from tests.simulation.test_crash_poison import PoisonedWorld, log_with, quarantined
from tests.simulation.world import FIRST, SETTINGS, World

PATIENCE_SECONDS = 20.0


def test_a_drain_that_runs_out_of_time_says_so() -> None:
    world = World()
    records = log_with([])
    world.send(records)
    away = FaultPlan(repeat(Fault.FAIL_BEFORE))
    ports = replace(world.ports(), writer=world.broker.writer(away))
    owner = PartitionOwner(ports, world.partition, "first", Desired(SETTINGS, FIRST), time.monotonic)
    pipeline = Pipeline(owner, ports.meter, Pace(drain_timeout=timedelta(seconds=0.5)), time.monotonic())
    pipeline.start()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while owner.state.next_offset < len(records):
        assert time.monotonic() < deadline, "not read"
    with pytest.raises(TimeoutError, match="not drained"):
        pipeline.drain()
    check(world, Driver(world, 1, FIRST).finish(), records)


def test_a_partition_gets_past_a_killer() -> None:
    world = PoisonedWorld()
    records = log_with([70])
    world.send(records)
    deaths = 0
    while True:
        ports = world.ports()
        owner = PartitionOwner(
            ports, world.partition, f"life-{deaths}", Desired(SETTINGS, FIRST), time.monotonic
        )
        pipeline = Pipeline(owner, ports.meter, Pace(), time.monotonic())
        pipeline.start()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not pipeline.wait(timedelta(milliseconds=20)) and owner.cuts.next_offset < len(records):
            assert time.monotonic() < deadline, f"stands at {owner.cuts.next_offset}"
        if pipeline.failure is None:
            break
        assert isinstance(pipeline.failure, Crashed)
        deaths += 1
        assert deaths <= 6, "it goes on dying"
    pipeline.drain()
    assert deaths == 6
    assert quarantined(world) == [70]
    check(world, Driver(world, 1, FIRST).finish(), records)
