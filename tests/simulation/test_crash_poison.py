"""Records that end the process that touches them: found, passed over by an event, and nothing else with them.

Never: a poison that the replay of the audit would die of; it uses a decoder and a model of its own.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from actors.engine.ports import Ports
from actors.engine.suspects import ALONE_DEATHS, BATCH_DEATHS, BATCH_RECORDS, UNPACK_DEATHS
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.features import FEATURES
from ray_fraud.domain.record import Record
from ray_fraud.domain.rejection import Rejection
from ray_fraud.domain.split import Split
from ray_fraud.domain.timeline import EventKind, Quarantine, content_of
from ray_fraud.domain.transaction import Transaction
from ray_fraud.scoring.scored_batch import ScoredBatch
from ray_fraud.stores.errors import StoreError, StoreRefused, StoreUnavailable
from ray_fraud.stores.faults import Crashed
from ray_fraud.stores.ledger.memory import MemoryLedger
from ray_fraud.stores.ledger.port import Ownership
from tests.simulation.driver import Driver, check
from tests.simulation.world import FIRST, NO_WAIT, SECOND, SimulatedScorer, World

START_MS = 1_767_225_600_000
POISON_USD = 1_234.5
"""No limit of a rule: only who dies of it knows."""
AMOUNT = [feature.name for feature in FEATURES].index("amount")
RECORDS = 120
NARROWING = 1 + BATCH_DEATHS


def transaction(offset: int, amount: float) -> Record:
    value = {
        "transaction_id": f"t{offset}",
        "user_id": offset % 5,
        "amount": amount,
        "timestamp": START_MS / 1000 + 60 * offset,
        "location": {"lat": 52.5 if offset % 7 else -33.9, "lon": 13.4},
    }
    return Record(offset, START_MS + 60_000 * offset, str(offset % 5).encode(), json.dumps(value).encode())


def log_with(poison: Sequence[int], records: int = RECORDS) -> list[Record]:
    amounts = [5_000.0 if offset % 9 == 0 else 20.0 + offset for offset in range(records)]
    for offset in poison:
        amounts[offset] = POISON_USD
    return [transaction(offset, amount) for offset, amount in enumerate(amounts)]


class FragileDecoder(Decoder):
    def decode(self, value: bytes | None) -> Transaction | Rejection:
        decoded = super().decode(value)
        if isinstance(decoded, Transaction) and decoded.amount == POISON_USD:
            raise Crashed("decoding")
        return decoded


class FragileScorer(SimulatedScorer):
    def score(self, split: Split, user_ids: NDArray[np.int64], features: NDArray[np.float32]) -> ScoredBatch:
        if bool((features[:, AMOUNT] == np.float32(POISON_USD)).any()):
            raise Crashed("scoring")
        return super().score(split, user_ids, features)


@dataclass
class PoisonedWorld(World):
    """A world whose processes die of some records."""

    dies_in: str = "scoring"

    def ports(self, *args: object) -> Ports:
        del args
        ports = super().ports()
        if self.dies_in == "decoding":
            return replace(ports, decoder=FragileDecoder(None))
        return replace(ports, scorer=FragileScorer())


def quarantined(world: World) -> list[int]:
    events = MemoryLedger(world.database).events(world.partition)
    contents = [content_of(event) for event in events if event.kind is EventKind.QUARANTINE]
    return [content.offset for content in contents if isinstance(content, Quarantine)]


def work_through(driver: Driver, seed: int, *, max_crashes: int, cut_share: float = 0.3) -> None:
    """Steps in random order, several reads ahead of a settle, until everything has settled."""
    rng = random.Random(seed)
    end = driver.world.broker.topic("transactions").logs[0].end
    while driver.owner is None or driver.owner.steps.cuts.next_offset < end:
        for _ in range(rng.randint(1, 3)):
            limit = rng.randint(1, 60)
            driver.do(lambda owner, limit=limit: driver.read(owner, limit))  # type: ignore[misc]
        driver.do(driver.settle)
        if rng.random() < cut_share:
            driver.do(driver.keep)
        if rng.random() < cut_share:
            driver.do(driver.progress)
        assert driver.happened.crashes <= max_crashes, "it goes on dying"


@pytest.mark.parametrize("cut_share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("dies_in", ["decoding", "scoring"])
@pytest.mark.parametrize("poison", [[0], [47], [RECORDS - 1], [40, 41], [40, 47], [0, 100]], ids=str)
def test_exactly_the_killers_are_passed_over(poison: list[int], dies_in: str, cut_share: float) -> None:
    for seed in range(2):
        world = PoisonedWorld(dies_in=dies_in)
        driver = Driver(world, seed, FIRST)
        records = log_with(poison)
        world.send(records)
        most = len(poison) * (NARROWING + ALONE_DEATHS)
        work_through(driver, seed, max_crashes=most, cut_share=cut_share)
        assert quarantined(world) == poison
        expected = check(world, driver.finish(), records)
        assert expected.counts.quarantined == len(poison)
        assert expected.counts.processed == RECORDS - len(poison)
        assert {alert.offset for alert in expected.alerts.values()} >= set(range(9, RECORDS, 9)) - set(poison)


@pytest.mark.parametrize("position", [0, BATCH_RECORDS // 2, BATCH_RECORDS - 1, BATCH_RECORDS])
def test_a_killer_anywhere_in_a_full_careful_batch(position: int) -> None:
    world = PoisonedWorld()
    driver = Driver(world, 1, FIRST)
    records = log_with([position], 2 * BATCH_RECORDS)
    world.send(records)
    while driver.owner is None or driver.owner.steps.cuts.next_offset < len(records):
        driver.do(lambda owner: driver.read(owner, 2_000))
        driver.do(driver.settle)
        driver.do(driver.keep)
    assert driver.happened.crashes == NARROWING + ALONE_DEATHS == 6
    assert quarantined(world) == [position]
    check(world, driver.finish(), records)


def test_a_killer_below_the_barrier_is_passed_over_although_a_split_waits_at_the_barrier() -> None:
    world = PoisonedWorld()
    driver = Driver(world, 1, FIRST)
    records = log_with([30])
    world.send(records)
    driver.do(lambda owner: driver.read(owner, 200))
    driver.do(driver.settle)
    driver.split = SECOND
    driver.do(lambda owner: driver.read(owner, 1))
    work_through(driver, 1, max_crashes=NARROWING + ALONE_DEATHS)
    events = MemoryLedger(world.database).events(world.partition)
    assert [event.kind for event in events[-2:]] == [EventKind.SPLIT, EventKind.QUARANTINE]
    assert events[-2].from_offset == RECORDS > events[-1].from_offset == 30
    check(world, driver.finish(), records)


@pytest.mark.parametrize("kills", range(1, NARROWING + ALONE_DEATHS))
def test_kills_in_a_row_at_the_worst_moment_quarantine_nothing(kills: int) -> None:
    world = World()
    driver = Driver(world, 1, FIRST)
    records = log_with([])
    world.send(records)
    for _ in range(kills):
        driver.do(lambda owner: driver.read(owner, 40))
        driver.crash()
    work_through(driver, 1, max_crashes=kills)
    assert quarantined(world) == []
    check(world, driver.finish(), records)


@pytest.mark.parametrize("seed", range(30))
def test_an_operator_who_kills_every_few_batches_quarantines_nothing(seed: int) -> None:
    world = World()
    driver = Driver(world, seed, FIRST)
    rng = random.Random(seed)
    records = log_with([])
    world.send(records)
    steps = [lambda owner: driver.read(owner, 40), driver.settle, driver.keep, driver.progress]
    while driver.owner is None or driver.owner.steps.cuts.next_offset < len(records):
        driver.do(rng.choice(steps))
        if rng.random() < 0.03:
            driver.crash()
    assert quarantined(world) == []
    check(world, driver.finish(), records)


class ObservedLedger(MemoryLedger):
    """Counts the calls that being careful costs, and refuses them on demand."""

    calls: int = 0
    failure: StoreError | None = None

    def record_attempts(self, own: Ownership, offsets: Sequence[int]) -> dict[int, int]:
        self._call()
        return super().record_attempts(own, offsets)

    def clear_attempts(self, own: Ownership, below_offset: int, from_offset: int = 0) -> None:
        self._call()
        super().clear_attempts(own, below_offset, from_offset)

    def _call(self) -> None:
        self.calls += 1
        if self.failure is not None:
            raise self.failure


class ObservedWorld(World):
    def ports(self, *args: object) -> Ports:
        del args
        self.ledger = ObservedLedger(self.database)
        return replace(super().ports(), ledger=self.ledger)


def test_normal_running_marks_nothing_and_an_unclean_end_costs_some_calls_only_once() -> None:
    world = ObservedWorld()
    driver = Driver(world, 1, FIRST)
    records = log_with([])
    world.send(records[:60])
    for _ in range(6):
        driver.do(lambda owner: driver.read(owner, 10))
        driver.do(driver.settle)
        driver.do(driver.progress)
    assert world.ledger.calls == 0
    world.send(records[60:100])
    driver.do(lambda owner: driver.read(owner, 40))
    driver.crash()
    owner = driver.live()
    assert not owner.steps.awaits_settling
    driver.do(lambda owner: driver.read(owner, 200))
    assert owner.steps.state.next_offset == 60, "what was decided once is read freely"
    driver.do(driver.settle)
    driver.do(lambda owner: driver.read(owner, 20))
    assert sorted(MemoryLedger(world.database).attempts(world.partition)) == list(range(60, 100))
    driver.do(driver.settle)
    driver.do(driver.progress)
    assert MemoryLedger(world.database).attempts(world.partition) == {}
    calls = world.ledger.calls
    world.send(records[100:])
    for _ in range(4):
        driver.do(lambda owner: driver.read(owner, 5))
        driver.do(driver.settle)
        driver.do(driver.progress)
    assert world.ledger.calls == calls
    check(world, driver.finish(), records)


def test_only_one_careful_batch_is_under_way() -> None:
    world = World()
    driver = Driver(world, 1, FIRST)
    records = log_with([])
    world.send(records)
    driver.do(lambda owner: driver.read(owner, 40))
    driver.crash()
    driver.do(lambda owner: driver.read(owner, 40))
    owner = driver.live()
    assert owner.steps.awaits_settling
    assert owner.steps.read(40, NO_WAIT) == ()
    driver.do(driver.settle)
    assert not owner.steps.awaits_settling
    driver.do(lambda owner: driver.read(owner, 40))
    assert owner.steps.state.next_offset == 80
    check(world, driver.finish(), records)


@pytest.mark.parametrize("failure", [StoreUnavailable, StoreRefused])
def test_detection_goes_on_when_postgres_cannot_take_a_mark(failure: type[StoreError]) -> None:
    world = ObservedWorld()
    driver = Driver(world, 1, FIRST)
    records = log_with([])
    world.send(records)
    driver.do(lambda owner: driver.read(owner, 40))
    driver.crash()
    owner = driver.live()
    world.ledger.failure = failure("postgres", "made to fail")
    for _ in range(3):
        driver.do(lambda owner: driver.read(owner, 40))
    assert owner.steps.state.next_offset == RECORDS
    assert world.ledger.calls == 1
    driver.do(driver.settle)
    check(world, driver.finish(), records)


def test_what_may_be_published_is_never_passed_over() -> None:
    """Owners that die between the acknowledgement of an alert and its settling, again and again."""
    world = World()
    driver = Driver(world, 1, FIRST)
    records = log_with([], 12)
    world.send(records)
    for _ in range(3 * (NARROWING + ALONE_DEATHS)):
        driver.do(lambda owner: driver.read(owner, 12))
        batches = list(driver.live().queue)
        scores, _ = driver.live().steps.score(batches)
        effects = [driver.live().steps.decide(*pair) for pair in zip(batches, scores, strict=True)]
        assert any(one.alerts for one in effects)
        driver.live().steps.publish(effects)
        driver.crash()
    assert quarantined(world) == []
    check(world, driver.finish(), records)


def test_a_batch_that_kills_while_it_is_unpacked_is_passed_over_whole() -> None:
    """Nothing is known of its records: they were never seen. Its neighbours are decided as ever."""
    for seed in range(4):
        world = World()
        driver = Driver(world, seed, FIRST)
        records = log_with([])
        world.send(records)
        world.broker.kill_when_unpacked("transactions", 0, 40, 44)
        work_through(driver, seed, max_crashes=1 + UNPACK_DEATHS)
        assert driver.happened.crashes == 1 + UNPACK_DEATHS
        (passed,) = driver.live().steps.unreadable
        assert (passed.offset, passed.end) == (40, 44)
        assert passed.cause == "3 owners ended while they unpacked it"
        assert MemoryLedger(world.database).attempts(world.partition) == {} or driver.live().steps.replaying
        driver.crash()
        expected = check(world, driver.finish(), records)
        assert expected.counts.quarantined == 4
        assert driver.happened.crashes == 2 + UNPACK_DEATHS, "nobody unpacks it again"


def test_owners_that_are_killed_between_polls_cost_no_batch() -> None:
    world = World()
    driver = Driver(world, 3, FIRST)
    records = log_with([])
    world.send(records)
    for _ in range(3 * UNPACK_DEATHS):
        driver.do(lambda owner: driver.read(owner, 30))
        driver.crash()
    work_through(driver, 3, max_crashes=3 * UNPACK_DEATHS)
    assert driver.live().steps.unreadable == []
    check(world, driver.finish(), records)
