"""The whole log once more, into stores that hold all of its effects: nothing is inserted, nothing changes."""

import random
from functools import partial

import pytest

from tests.oracle.streams import Mix, StreamOptions, make_stream
from tests.simulation.driver import Driver, check
from tests.simulation.world import FIRST, SECOND, World

RECORDS = 600


@pytest.mark.parametrize("batch", [1, 7, 500, None], ids=["1", "7", "500", "random"])
def test_a_second_pass_changes_nothing(batch: int | None) -> None:
    world = World()
    records = make_stream(StreamOptions(seed=6, records=RECORDS, users=25, mix=Mix())).records
    world.send(records[: RECORDS // 2])
    driver = Driver(world, 1, FIRST)
    driver.finish()
    driver.split = SECOND
    world.send(records[RECORDS // 2 :])
    first = driver.finish()
    check(world, first, records)
    alerts = dict(world.database.alerts)
    users = dict(first.steps.state.users)
    assert alerts

    # All that would spare a new owner the work is gone; what the work brings is not.
    world.contents.clear()
    world.snapshots.clear()
    world.database.tables(world.partition).decided = None
    rng = random.Random(batch)
    second = Driver(world, 2, SECOND)
    while second.owner is None or second.owner.steps.state.next_offset < RECORDS:
        size = batch if batch is not None else rng.randint(1, 50)
        second.do(partial(second.read, limit=size))
        second.do(second.settle)
    last = second.finish()
    check(world, last, records)
    assert dict(world.database.alerts) == alerts
    assert last.steps.state.users == users
