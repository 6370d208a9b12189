"""Deterministic simulation: random order, I/O that fails, refuses or crashes, replaced owners that go on.

Every run ends with a drain without faults, and then everything that was stored must equal a
single-threaded replay. More seeds: `RAY_FRAUD_SIMULATION_SEEDS=2000 make test TESTS=tests/simulation`.
"""

import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict

import pytest
from msgspec.structs import replace

from ray_fraud.domain.record import Record
from ray_fraud.stores.faults import Fault
from tests.oracle.controls import Changes
from tests.oracle.streams import DAY_MS, Mix, StreamOptions, make_stream
from tests.simulation.accidents import Accidents
from tests.simulation.driver import Driver, check
from tests.simulation.phases import PhasedPlan
from tests.simulation.world import FIRST, FORGETFUL, World

SEEDS = int(os.environ.get("RAY_FRAUD_SIMULATION_SEEDS", "60"))
RECORDS = int(os.environ.get("RAY_FRAUD_SIMULATION_RECORDS", "300"))
CHANGES = Changes(idle_hours=FORGETFUL.state.idle_hours)
BEHIND = 0.06
"""Share of records from a producer whose clock is up to a day behind: they do not raise the watermark."""
BAD = tuple(fault for fault in Fault if fault is not Fault.OK)


def random_faults(seed: int, share: float) -> Iterator[Fault]:
    """An endless plan in which a share of the steps goes wrong."""
    rng = random.Random(seed)
    while True:
        yield rng.choice(BAD) if rng.random() < share else Fault.OK


def clocks_behind(seed: int, records: Sequence[Record]) -> list[Record]:
    """The same records, some of them with an older Kafka timestamp."""
    rng = random.Random(seed)
    return [
        replace(record, timestamp_ms=record.timestamp_ms - rng.randrange(DAY_MS))
        if rng.random() < BEHIND
        else record
        for record in records
    ]


def run(seed: int, records: int) -> Driver:
    """One run; the seed chooses the stream, the faults and the order of all steps."""
    stream = make_stream(
        StreamOptions(seed=seed, records=records, users=25, quiet_periods=0.01, mix=Mix(), changes=CHANGES)
    )
    stream.records = clocks_behind(seed, stream.records)
    faults = PhasedPlan(random_faults(seed, share=0.06))
    world = World(faults)
    driver = Driver(world, seed, FIRST)
    accidents = Accidents(driver, list(stream.records), faults)
    weights = accidents.weights()
    while accidents.waiting:
        (action,) = driver.rng.choices(list(weights), list(weights.values()))
        action()
    check(world, driver.finish())
    return driver


@pytest.mark.timeout(600)
def test_everything_equals_the_replay_whatever_happens() -> None:
    totals: dict[str, int] = {}
    for seed in range(SEEDS):
        try:
            driver = run(seed, RECORDS)
        except BaseException as error:
            error.add_note(f"seed {seed}, {RECORDS} records")
            raise
        for name, number in asdict(driver.happened).items():
            totals[name] = totals.get(name, 0) + number
    # A simulation in which nothing went wrong would prove nothing.
    missing = {name: number for name, number in totals.items() if number < SEEDS // 10}
    assert not missing


def test_a_seed_replays_bit_for_bit() -> None:
    one, two = run(7, 200), run(7, 200)
    assert one.happened == two.happened
    assert one.world.contents == two.world.contents
    assert one.world.database.partitions == two.world.database.partitions
