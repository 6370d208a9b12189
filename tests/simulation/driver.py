"""Drives owners through a world step by step, in an order that a seed chooses, and checks the end.

Never: a step that a real shell could not take; catching anything but what the shell catches.
"""

import random
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

from actors.engine.audit import Replayed, accepted_topic_alerts, compare, replay_partition
from actors.engine.owner import PartitionOwner
from actors.engine.sink import Sink
from actors.engine.timeline_keeper import Desired
from ray_fraud.domain.alert import Source
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.partition import Observed, PartitionState
from ray_fraud.domain.record import Record
from ray_fraud.domain.split import Split
from ray_fraud.domain.timeline import EventKind
from ray_fraud.domain.transaction import Transaction
from ray_fraud.stores.errors import Fenced, SlowDown, StoreError, StoreUnavailable
from ray_fraud.stores.faults import Crashed, FaultPlan, RefusedByPlan
from ray_fraud.stores.feature_tables.lookup import TablesFromFiles
from ray_fraud.stores.feature_tables.memory import MemoryFeatureTables
from ray_fraud.stores.ledger.memory import MemoryLedger
from ray_fraud.stores.ledger.memory_queries import MemoryAlertQueries
from ray_fraud.stores.ledger.port import is_accepted
from ray_fraud.stores.ledger.queries import AlertFilter, StoredAlert
from ray_fraud.stores.log.port import LogGap, TopicReplaced
from tests.simulation.world import NO_WAIT, SETTINGS, TOPICS, World, explain_row, score_rows

DECODER = Decoder(None)

T = TypeVar("T")

INDISPENSABLE = ("kafka", "postgres")
"""Stores whose refusal ends an owner; what Redis or the lake refuses only makes a recovery longer."""


@dataclass
class Owner:
    """A live owner and the batches it has observed and not settled."""

    steps: PartitionOwner
    queue: deque[Observed] = field(default_factory=deque)
    snapshot_seq: int = 0
    """Number of the last event in its newest snapshot, which is at `snapshot_offset`."""
    snapshot_offset: int = 0


@dataclass
class Happened:
    """What a run went through: a run in which nothing happened proves nothing."""

    crashes: int = 0
    retries: int = 0
    slowed: int = 0
    refused: int = 0
    fenced: int = 0
    lives: int = 0
    splits: int = 0
    settings: int = 0
    refreshes: int = 0
    drains: int = 0
    drains_in_replay: int = 0
    cut_offs: int = 0
    cut_offs_noticed: int = 0
    elections: int = 0
    holes: int = 0
    transactions: int = 0
    alert_topics_left: int = 0
    cuts_since_a_snapshot: int = 0
    read_only: int = 0
    fail_overs: int = 0


class Driver:
    """One run of one world."""

    def __init__(self, world: World, seed: int, split: Split) -> None:
        self.world = world
        self.rng = random.Random(seed)
        self.happened = Happened()
        self.split = split
        self.settings = SETTINGS
        self.tables: str | None = None
        self.owner: Owner | None = None
        self.zombies: list[Owner] = []
        self.sink: Sink | None = None

    def persist(self, step: Callable[[], T]) -> T:
        """Repeats a step while a store is unavailable or asks for less, as the shell does."""
        while True:
            try:
                return step()
            except (StoreUnavailable, SlowDown) as error:
                self._count(error)

    def attempt(self, step: Callable[[], object]) -> None:
        """One attempt at what a later round repeats anyway, as the shell makes it."""
        try:
            step()
        except (StoreUnavailable, SlowDown, RefusedByPlan) as error:
            self._count(error)

    def _count(self, error: StoreError) -> None:
        if self.world.crash_is_due():
            raise Crashed("after a commit of the ledger") from None
        self.happened.retries += isinstance(error, StoreUnavailable)
        self.happened.slowed += isinstance(error, SlowDown)
        self.happened.refused += isinstance(error, RefusedByPlan)

    def live(self) -> Owner:
        """The owner; takes over first if there is none."""
        if self.owner is None:
            token = f"{self.rng.getrandbits(64):016x}"
            desired = Desired(self.settings, self.split, self.tables)
            ports = self.world.ports()
            steps = self.persist(
                lambda: PartitionOwner(ports, self.world.partition, token, desired, lambda: 0.0)
            )
            self.owner = Owner(steps)
            self.happened.lives += 1
        return self.owner

    def drain(self, owner: Owner) -> None:
        """Closes the owner as its shell does on a revocation, also in the middle of a replay."""
        while owner.queue:
            self.settle(owner)
        try:
            self.persist(lambda: owner.steps.write_cut(drained=True))
        except RefusedByPlan:
            # The shell gives up: an unclean end, as if it had crashed here.
            self.owner = None
            raise
        self.persist(owner.steps.record_progress)
        self.happened.drains += 1
        self.happened.drains_in_replay += owner.steps.replaying
        self.owner = None

    def crash(self) -> None:
        self.owner = None
        self.happened.crashes += 1

    def do(self, step: Callable[[Owner], None]) -> None:
        """One step of the live owner; a crash ends its life, being fenced or refused ends it too."""
        try:
            step(self.live())
            if self.world.crash_is_due():
                raise Crashed("after a commit of the ledger")
        except Crashed:
            self.crash()
        except Fenced:
            self.happened.fenced += 1
            self.owner = None
        except LogGap:
            # The log was cut off below what the owner has observed: the shell ends it.
            self.happened.cut_offs_noticed += 1
            self.owner = None
        except RefusedByPlan as error:
            # A fold cannot go on without the feature tables that are due.
            needed = error.store in INDISPENSABLE or "read_tables" in str(error)
            if not needed and self.owner is not None:
                raise AssertionError(f"an owner ended: {error}") from error
            self.happened.refused += 1
            self.owner = None
        self.world.witness.check_step()

    def read(self, owner: Owner, limit: int) -> None:
        self.persist(owner.steps.reconcile)
        records = self.persist(lambda: owner.steps.read(limit, NO_WAIT))
        observed = self.persist(
            lambda: owner.steps.observe(records) if records else owner.steps.observe_holes()
        )
        owner.queue.extend(observed)

    def settle(self, owner: Owner) -> None:
        """Scores, publishes and settles the oldest batches of one split."""
        if not owner.queue:
            return
        split = owner.queue[0].split
        batches = [batch for batch in list(owner.queue)[: self.rng.randint(1, 3)] if batch.split is split]
        scores, _ = owner.steps.score(batches)
        effects = [owner.steps.decide(*pair) for pair in zip(batches, scores, strict=True)]
        self.persist(lambda: owner.steps.publish(effects))
        for batch in batches:
            owner.steps.settle(batch)
            owner.queue.popleft()

    def keep(self, owner: Owner) -> None:
        self.attempt(owner.steps.write_cut)
        header = self.world.contents.of(self.world.partition).header
        if header is None or header.writer_epoch != owner.steps.own.epoch:
            return
        if owner.snapshot_seq and header.next_offset > owner.snapshot_offset:
            again = [event.seq for event in header.events if event.seq <= owner.snapshot_seq]
            assert not again, f"a cut carries events that are in the snapshot: {again}"
            self.happened.cuts_since_a_snapshot += 1

    def progress(self, owner: Owner) -> None:
        self.attempt(owner.steps.record_progress)

    def snapshot(self, owner: Owner) -> None:
        def write() -> None:
            owner.steps.write_snapshot()
            owner.snapshot_seq, owner.snapshot_offset = (
                owner.steps.cuts.base_seq,
                owner.steps.cuts.next_offset,
            )

        self.attempt(write)

    def repair(self) -> None:
        """One step of the sink that runs beside the owners."""
        if self.sink is None:
            self.sink = self.world.sink()
        sink = self.sink
        try:
            self.attempt(lambda: sink.step(NO_WAIT))
        except TopicReplaced:
            self.sink = None
            self.happened.alert_topics_left += 1
        except Crashed:
            self.sink = None

    def haunt(self) -> None:
        """An owner that was replaced, but not stopped, goes on."""
        if not self.zombies:
            return
        zombie = self.rng.choice(self.zombies)
        try:
            self.rng.choice([self.settle, self.keep, lambda z: self.read(z, 5), self.progress])(zombie)
        except Fenced:
            self.happened.fenced += 1
            self.zombies.remove(zombie)
        except (Crashed, RefusedByPlan, LogGap):
            self.zombies.remove(zombie)
        self.world.witness.check_step()

    def desert(self) -> None:
        """The supervisor gives up on an owner that is not dead."""
        if self.owner is not None:
            self.zombies.append(self.owner)
            self.owner = None

    def finish(self) -> Owner:
        """No more faults: settle everything, close the cut, let the sink run dry."""
        self.world.faults = FaultPlan()
        self.owner = None
        # A crash that is still due would have ended the owner that is gone.
        self.world.crash_is_due()
        owner = self.live()
        self.persist(owner.steps.reconcile)
        end = self.world.broker.topic(TOPICS.transactions).logs[0].end
        while owner.steps.state.next_offset < end or owner.queue:
            self.read(owner, 50)
            self.settle(owner)
        while not owner.steps.write_cut(drained=True):
            pass
        self.world.witness.check_step()
        owner.steps.record_progress()
        sink = self.world.sink()
        while sink.step(NO_WAIT) is not None:
            pass
        return owner


def replayed(world: World) -> tuple[Replayed, PartitionState]:
    """The single-threaded replay of the world's log and timeline."""
    reader = world.broker.reader(TOPICS.transactions, world.partition)
    events = MemoryLedger(world.database).events(world.partition)
    tables = TablesFromFiles(MemoryFeatureTables(world.tables))
    end = reader.bounds().end
    return replay_partition(reader, events, Decoder(None), score_rows, end, tables, explain=explain_row)


def check(world: World, owner: Owner, sent: Sequence[Record] | None = None) -> Replayed:
    """Invariants I1, I2 at the end of a run, I3 at its end and wherever a state was stored.

    `sent`: what the log must hold, if nothing was cut off.
    """
    expected, state = replayed(world)
    check_timeline(world, owner)
    check_alerts(world, expected)
    log = world.broker.records(TOPICS.transactions)
    end = world.broker.topic(TOPICS.transactions).logs[0].end
    assert sent is None or len(sent) == len(log)
    assert owner.steps.state.users == state.users, "state in memory differs from the replay"
    reached = (state.watermark_ms, state.votes)
    ours = owner.steps.state
    assert (ours.watermark_ms, ours.votes) == reached, "watermark in memory differs from the replay"
    header = world.contents.of(world.partition).header
    assert header is not None
    assert header.next_offset == end
    assert (header.watermark_ms, header.votes) == reached, "watermark in Redis differs from the replay"
    assert world.contents.of(world.partition).users == state.users, "state in Redis differs from the replay"
    ledger = MemoryLedger(world.database)
    world.witness.check_all(ledger.epochs(world.partition), ledger.events(world.partition), log)
    counts = expected.counts
    assert counts.processed + counts.duplicates + counts.rejected + counts.quarantined == len(log)
    dead = {dict(r.headers)["dlq.offset"] for r in world.broker.records(TOPICS.dead_letters)}
    assert len(dead) == counts.rejected or (world.cut_offs and len(dead) > counts.rejected)
    check_cut_offs(world)
    return expected


def check_alerts(world: World, expected: Replayed) -> None:
    """Both stores hold the replay's alerts, and no others but of records that the log has lost."""
    topic = topic_alerts(world)
    epochs = MemoryLedger(world.database).epochs(world.partition)
    rows = _hot_rows(world)
    lost = {
        (transaction, offset) for cut_off in world.cut_offs for transaction, offset in names_of(cut_off.lost)
    }
    of_lost = {
        row.alert.alert_uid
        for row in rows
        if (row.alert.transaction_id, row.alert.offset) in lost and row.alert.alert_uid not in expected.alerts
    }
    stored = [row.alert.alert_uid for row in rows]
    # Of a deleted topic nobody has what neither an owner nor the sink brought into PostgreSQL in time.
    gone = world.unread_alerts & expected.alerts.keys()
    verdict = compare(
        set(expected.alerts),
        [*(uid for uid in stored if uid not in of_lost), *(gone - set(stored))],
        (set(topic) | (world.lost_alerts & expected.alerts.keys())) - of_lost,
    )
    assert verdict.agrees, verdict
    for row in rows:
        first = expected.alerts.get(row.alert.alert_uid)
        if first is None or (row.alert.transaction_id, row.alert.offset) in lost:
            # Of a lost record; whoever sends that again makes an alert of the same uid.
            continue
        assert is_accepted(epochs, row.epoch, row.alert.offset)
        # A duplicate older than the memory of ids has the same uid, too; whichever came first is stored.
        assert row.alert == first or row.alert.offset > first.offset


def names_of(records: Sequence[Record]) -> Iterator[tuple[str, int]]:
    """Transaction id and offset of the records that can be decoded."""
    for record in records:
        transaction = DECODER.decode(record.value)
        if isinstance(transaction, Transaction):
            yield transaction.transaction_id, record.offset


def check_cut_offs(world: World) -> None:
    """What was decided and then cut off is declared."""
    gaps = MemoryLedger(world.database).gaps(world.partition)
    for cut_off in world.cut_offs:
        if cut_off.decided > cut_off.at:
            declared = any(gap.from_offset <= cut_off.at < gap.to_offset for gap in gaps)
            assert declared, f"cut off at {cut_off.at}, decided {cut_off.decided}: {gaps}"


def check_timeline(world: World, owner: Owner) -> None:
    """Events stand in the order of their offsets, and what is desired is what holds in the end."""
    events = MemoryLedger(world.database).events(world.partition)
    places = [event.from_offset for event in events if event.kind is not EventKind.QUARANTINE]
    assert places == sorted(places), f"offsets of the events go back: {places}"
    last = {event.kind: event.digest for event in events}
    desired = owner.steps.desired
    assert last.get(EventKind.SETTINGS) == desired.settings.digest
    assert last.get(EventKind.SPLIT) == desired.split.digest


def topic_alerts(world: World) -> Counter[UUID]:
    reader = world.broker.reader(TOPICS.alerts, world.broker.partition_id(TOPICS.alerts, 0))
    return accepted_topic_alerts(reader, MemoryLedger(world.database).epochs, world.broker.cluster_id)


def _hot_rows(world: World) -> Sequence[StoredAlert]:
    return MemoryAlertQueries(world.database).list(AlertFilter(source=Source.HOT), limit=1_000_000)
