"""The four threads behind unclean ends: a record that ends its owner is passed over, and reading goes on.

Never: a server; the stores are those of the simulation.
"""

import time
from datetime import timedelta

from actors.engine.owner import PartitionOwner
from actors.engine.pipeline import Pace, Pipeline
from actors.engine.timeline_keeper import Desired
from ray_fraud.stores.faults import Crashed
from tests.simulation.driver import Driver, check
from tests.simulation.test_crash_poison import PoisonedWorld, log_with, quarantined
from tests.simulation.world import FIRST, SETTINGS

PATIENCE_SECONDS = 20.0


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
