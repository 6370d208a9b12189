"""Stores that are away for a moment, at every step of every thread: the step is repeated, nothing ends.

Never: a server; the stores are those of the simulation.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from threading import Event

import numpy as np
import pytest
from numpy.typing import NDArray

from actors.engine.owner import PartitionOwner
from actors.engine.pipeline import Pace, Pipeline
from actors.engine.timeline_keeper import Desired
from ray_fraud.domain.split import Split
from ray_fraud.scoring.scored_batch import ScoredBatch
from ray_fraud.stores.errors import SlowDown, StoreError, StoreUnavailable
from ray_fraud.stores.faults import Fault, FaultPlan
from ray_fraud.telemetry.meter import Meter
from tests.simulation.driver import Driver, check
from tests.simulation.test_crash_poison import log_with
from tests.simulation.world import FIRST, SETTINGS, TABLES, SimulatedScorer, World

PATIENCE_SECONDS = 30.0
FAULTY_SHARE = 0.2
FAILURES = 3
PACE = Pace(progress_interval=timedelta(milliseconds=50), snapshot_interval=timedelta(milliseconds=200))

Failure = Callable[[str], StoreError]


def away(what: str) -> StoreError:
    return StoreUnavailable("lake", f"{what} was made to fail")


def overloaded(what: str) -> StoreError:
    return SlowDown("lake", f"{what} was made to fail", timedelta(seconds=1))


class InterruptedScorer(SimulatedScorer):
    """The model files are out of reach at the first calls of each kind."""

    def __init__(self, failure: Failure) -> None:
        self._failure = failure
        self.calls = Counter[str]()

    def score(self, split: Split, user_ids: NDArray[np.int64], features: NDArray[np.float32]) -> ScoredBatch:
        self._fail("score")
        return super().score(split, user_ids, features)

    def explain(self, split: Split, arm: int, features: NDArray[np.float32]) -> NDArray[np.float64] | None:
        self._fail("explain")
        return super().explain(split, arm, features)

    def _fail(self, what: str) -> None:
        self.calls[what] += 1
        if self.calls[what] <= FAILURES:
            raise self._failure(what)


def run_to_the_end(owner: PartitionOwner, meter: Meter, records: int) -> None:
    pipeline = Pipeline(owner, meter, PACE, time.monotonic())
    pipeline.start()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while owner.cuts.written_offset < records:
        assert not pipeline.wait(timedelta(milliseconds=20)), f"it ended: {pipeline.failure!r}"
        assert time.monotonic() < deadline, f"stands at {owner.cuts.next_offset}"
    assert pipeline.failure is None
    pipeline.drain()


@pytest.mark.parametrize("failure", [away, overloaded])
def test_a_model_file_out_of_reach_only_means_later(failure: Failure) -> None:
    world = World()
    records = log_with([])
    world.send(records)
    scorer = InterruptedScorer(failure)
    ports = replace(world.ports(), scorer=scorer)
    owner = PartitionOwner(ports, world.partition, "first", Desired(SETTINGS, FIRST), time.monotonic)
    run_to_the_end(owner, ports.meter, len(records))
    assert scorer.calls["score"] > FAILURES
    assert scorer.calls["explain"] > FAILURES
    check(world, Driver(world, 1, FIRST).finish(), records)


def now_and_then(fault: Fault, begun: Event) -> Iterator[Fault]:
    rng = random.Random(1)
    while True:
        yield fault if begun.is_set() and rng.random() < FAULTY_SHARE else Fault.OK


@pytest.mark.parametrize("fault", [Fault.FAIL_BEFORE, Fault.FAIL_AFTER, Fault.SLOW_DOWN])
def test_every_store_may_fail_at_every_step(fault: Fault) -> None:
    begun = Event()
    world = World(FaultPlan(now_and_then(fault, begun)))
    records = log_with([])
    world.send(records)
    ports = world.ports()
    desired = Desired(SETTINGS, FIRST, TABLES[0])
    owner = PartitionOwner(ports, world.partition, "first", desired, time.monotonic)
    begun.set()
    run_to_the_end(owner, ports.meter, len(records))
    check(world, Driver(world, 1, FIRST).finish(), records)
