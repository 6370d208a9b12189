"""Dead letters that the topic does not take as they are: cut until they fit, or waited for, never lost.

Never: a server; the stores are those of the simulation.
"""

import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from threading import Event

import pytest

from actors.engine.owner import PartitionOwner
from actors.engine.pipeline import Pace, Pipeline
from actors.engine.timeline_keeper import Desired
from ray_fraud.domain.dead_letter import SMALLEST_LIMIT_BYTES
from ray_fraud.domain.record import Record
from ray_fraud.domain.record_size import batch_bytes
from ray_fraud.stores.faults import Fault, FaultPlan
from tests.simulation.driver import Driver, check
from tests.simulation.test_crash_poison import log_with
from tests.simulation.world import FIRST, SETTINGS, TOPICS, World

PATIENCE_SECONDS = 20.0
BAD = {
    "a large value": Record(0, 0, b"k", b"{" + b"x" * 900_000),
    "a large header": Record(0, 0, b"k", b"{", (("blob", b"h" * 1_000_000),)),
    "many headers": Record(0, 0, b"k", b"{", (("n", b"v"),) * 20_000),
    "a long header name": Record(0, 0, b"k", b"{", (("n" * 500_000, None),)),
    "a large key": Record(0, 0, b"k" * 800_000, b"{"),
    "all of it large": Record(0, 0, b"k" * 200_000, b"v" * 900_000, (("n" * 9_000, b"h" * 900_000),) * 3),
    "nothing at all": Record(0, 0, None, None),
}


def world_with(*bad: Record) -> tuple[World, list[Record]]:
    """Good records with bad ones between them."""
    world = World()
    records = log_with([])
    for index, record in enumerate(bad):
        records[10 + 15 * index] = record
    world.send(records)
    return world, records


def run_to_the_end(world: World, records: int) -> None:
    ports = world.ports()
    owner = PartitionOwner(ports, world.partition, "first", Desired(SETTINGS, FIRST), time.monotonic)
    pipeline = Pipeline(owner, ports.meter, Pace(), time.monotonic())
    pipeline.start()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while owner.cuts.next_offset < records:
        assert not pipeline.wait(timedelta(milliseconds=20)), f"it ended: {pipeline.failure!r}"
        assert time.monotonic() < deadline, f"stands at {owner.cuts.next_offset}"
    pipeline.drain()


@pytest.mark.parametrize("limit", [SMALLEST_LIMIT_BYTES, 2_000, 50_000, 1_048_588])
def test_whatever_the_topic_takes_a_letter_fits(limit: int) -> None:
    world, records = world_with(*BAD.values())
    world.broker.topic(TOPICS.dead_letters).max_record_bytes = limit
    run_to_the_end(world, len(records))
    letters = world.broker.records(TOPICS.dead_letters)
    assert len(letters) == len(BAD)
    for letter in letters:
        assert batch_bytes(letter.key, letter.value, letter.headers) <= limit
    check(world, Driver(world, 1, FIRST).finish(), records)


def test_a_limit_that_is_lowered_while_running_cuts_further() -> None:
    world, _ = world_with(BAD["a large value"])
    writer = world.broker.writer()
    assert writer.largest_batch_bytes(TOPICS.dead_letters) > 1_000_000
    ports = replace(world.ports(), writer=writer)
    world.broker.topic(TOPICS.dead_letters).max_record_bytes = 3_000
    owner = PartitionOwner(ports, world.partition, "first", Desired(SETTINGS, FIRST), time.monotonic)
    batches = owner.observe(owner.read(1_000, timedelta()))
    owner.publish([owner.decide(batch, None) for batch in batches])
    (letter,) = world.broker.records(TOPICS.dead_letters)
    assert 2_500 < batch_bytes(letter.key, letter.value, letter.headers) <= 3_000
    assert dict(letter.headers)["dlq.value.size"] == b"900001"


def refused_while(refusing: Event) -> Iterator[Fault]:
    """Two sends are taken, then the topic refuses, until somebody mends that."""
    for number in itertools.count():
        yield Fault.REFUSE if refusing.is_set() and number > 2 else Fault.OK


def test_what_a_topic_refuses_is_waited_for_and_nothing_is_sent_twice() -> None:
    world, records = world_with(*(Record(0, 0, b"k", b"{%d" % number) for number in range(5)))
    refusing = Event()
    refusing.set()
    ports = replace(world.ports(), writer=world.broker.writer(FaultPlan(refused_while(refusing))))
    owner = PartitionOwner(ports, world.partition, "first", Desired(SETTINGS, FIRST), time.monotonic)
    pipeline = Pipeline(owner, ports.meter, Pace(), time.monotonic())
    pipeline.start()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while b"fraud_detection_refused_effects_total" not in ports.meter.snapshot():
        assert not pipeline.wait(timedelta(milliseconds=20)), f"it ended: {pipeline.failure!r}"
        assert time.monotonic() < deadline, "nothing was refused"
    assert owner.cuts.next_offset == 0
    refusing.clear()
    while owner.cuts.next_offset < len(records):
        assert not pipeline.wait(timedelta(milliseconds=20)), f"it ended: {pipeline.failure!r}"
        assert time.monotonic() < deadline, f"stands at {owner.cuts.next_offset}"
    pipeline.drain()
    assert len(world.broker.records(TOPICS.dead_letters)) == 5
    check(world, Driver(world, 1, FIRST).finish(), records)
