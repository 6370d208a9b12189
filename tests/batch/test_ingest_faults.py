"""An ingest that is killed, loses replies or meets another one, at any step: each offset once, gaps told."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from typing import TypeVar

import msgspec
import pytest

from batch.ingest.config import IngestConfig
from batch.ingest.follow import Places, cut_offs_of
from batch.ingest.job import Ingest, IngestReport, Progress
from batch.ingest.manifest import Written, write_rows
from batch.ingest.plan import Slice
from batch.ingest.read import read_slice
from batch.schedule.gap_alarm import losses_told
from ray_fraud.domain.loss_metrics import LOG_GAPS
from ray_fraud.domain.placement import partition_of_user
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.domain.split import RULES_ONLY
from ray_fraud.domain.timeline import ControlEvent, settings_event, split_event
from ray_fraud.stores.connections import (
    Connections,
    KafkaConnection,
    LakeLocation,
    PostgresConnection,
    RedisConnection,
    Topics,
)
from ray_fraud.stores.errors import StoreError
from ray_fraud.stores.faults import Crashed, Fault, FaultPlan, RefusedByPlan
from ray_fraud.stores.ledger.port import CutOff, EpochRow
from ray_fraud.stores.log.damage import TRIES
from ray_fraud.stores.log.memory import MemoryBroker
from ray_fraud.stores.log.port import LogBounds
from ray_fraud.stores.tables.memory import MemoryTransactions, TableContents
from ray_fraud.stores.tables.port import TableMoved
from ray_fraud.telemetry.meter import Meter, read_snapshot
from tests.domain.samples import decoder, record, transaction

T = TypeVar("T")

TOPICS = Topics(partitions=2)
CONFIG = IngestConfig(
    connections=Connections(
        KafkaConnection(""), RedisConnection(""), PostgresConnection(""), LakeLocation("file:///none"), TOPICS
    ),
    slice_records=7,
    commit_records=40,
)
USER = 7
"""Whose transactions all of them are, in both partitions."""
RECORDS = 60
"""Of each partition: two commits, nine slices in each."""


class World:
    """A log and a table; ingests come and go."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self.broker.admin().ensure_topics(TOPICS)
        self.contents = TableContents()
        self.sent = 0
        self.epochs: dict[PartitionId, list[EpochRow]] = {}
        """Of owners, with what they found cut off."""
        self.forgotten: list[tuple[int, int]] = []
        self.before_read: Callable[[], None] = lambda: None
        self.knows_epochs = True
        """Whether its ingests keep leader epochs; an earlier release's did not."""
        self.timelines: dict[int, Sequence[ControlEvent]] = {}
        """Control events by partition, beside those that an ingest is given."""

    def send(self, count: int) -> None:
        """Every seventh record breaks the contract, and every tenth is followed by a hole."""
        for number in range(TOPICS.partitions):
            log = self.broker.topic(TOPICS.transactions).logs[number]
            for _ in range(count):
                self.sent += 1
                value = (
                    b"?"
                    if self.sent % 7 == 0
                    else record(0, transaction(f"t{self.sent}", user_id=USER)).value
                )
                log.append(1_700_000_000_000, b"k", value, ())
                if self.sent % 10 == 0:
                    self.broker.add_hole(TOPICS.transactions, number)

    def partitions(self) -> list[PartitionId]:
        return [self.broker.partition_id(TOPICS.transactions, number) for number in range(TOPICS.partitions)]

    def bounds(self) -> Mapping[PartitionId, LogBounds]:
        return {
            partition: self.broker.reader(TOPICS.transactions, partition).bounds()
            for partition in self.partitions()
        }

    def ingest(
        self,
        faults: FaultPlan | None = None,
        progress: Progress = lambda _: None,
        timeline: Sequence[ControlEvent] = (),
    ) -> Ingest:
        """A new process; all of its I/O on the lake and its reads of the log follow one plan."""
        plan = faults or FaultPlan()
        table = MemoryTransactions(self.contents, plan)

        def read_and_write(slices: list[Slice]) -> Iterable[Written]:
            self.before_read()
            return self.written(
                itertools.chain.from_iterable(self._one(table, plan, piece) for piece in slices)
            )

        return Ingest(
            CONFIG,
            table,
            self.bounds,
            read_and_write,
            timeline=lambda partition: (*timeline, *self.timelines.get(partition.partition, ())),
            cut_offs=self.cut_offs,
            epochs=lambda partition: self.epochs.get(partition, []),
            forget=lambda partition, offset: self.forgotten.append((partition.partition, offset)),
            now=lambda: 1_700_000_000.0,
            sleep=lambda _: None,
            progress=progress,
        )

    def written(self, read: Iterable[Written]) -> Iterable[Written]:
        """What the workers write."""
        return read

    def _one(self, table: MemoryTransactions, plan: FaultPlan, piece: Slice) -> Iterator[Written]:
        reader = self.broker.reader(TOPICS.transactions, piece.partition, plan)
        for rows in read_slice(reader, piece, decoder(), DetectionSettings()):
            epoch = reader.leader_epoch() if self.knows_epochs else -1
            yield from write_rows(table, rows, TOPICS.partitions, epoch)

    def cut_offs(self, places: Places) -> Mapping[PartitionId, CutOff]:
        readers = {partition: self.broker.reader(TOPICS.transactions, partition) for partition in places}
        return cut_offs_of(readers, places)

    def expected(self) -> list[tuple[str, int, int]]:
        """Place of every record that the contract accepts."""
        return sorted(
            (partition.topic_id, partition.partition, found.offset)
            for partition in self.partitions()
            for found in self.broker.topic(TOPICS.transactions).logs[partition.partition].records
            if found.value != b"?"
        )

    def values(self) -> list[tuple[int, int, str]]:
        """Place and transaction of every record that the contract accepts."""
        accepted = [
            (number, found.offset, msgspec.json.decode(found.value)["transaction_id"])
            for number in range(TOPICS.partitions)
            for found in self.broker.topic(TOPICS.transactions).logs[number].records
            if found.value is not None and found.value != b"?"
        ]
        return sorted(accepted)

    def rows(self) -> list[tuple[int, int, str]]:
        """Place and transaction of every row."""
        rows = self.contents.rows().select(["partition", "offset", "transaction_id"]).to_pydict()
        return sorted(zip(*rows.values(), strict=True))

    def stored(self) -> list[tuple[str, int, int]]:
        rows = self.contents.rows().select(["topic_id", "partition", "offset"]).to_pydict()
        return sorted(zip(*rows.values(), strict=True))


@pytest.fixture
def world() -> World:
    made = World()
    made.send(RECORDS)
    return made


def steps_of_a_run() -> int:
    faults, one = FaultPlan(), World()
    one.send(RECORDS)
    one.ingest(faults).run()
    return faults.steps


STEPS = steps_of_a_run()


def test_one_ingest_brings_every_accepted_offset(world: World) -> None:
    report = world.ingest().run()
    assert world.stored() == world.expected()
    assert report.complete
    assert report.commits == 4
    assert report.accepted == len(world.expected())
    assert report.rejected == {"not_json": 2 * RECORDS // 7}
    assert report.holes == 2 * RECORDS // 10
    home = partition_of_user(USER, TOPICS.partitions)
    assert report.misrouted == sum(partition != home for _, partition, _ in world.expected())
    assert report.to_read == sum(end for _, end in world.bounds().values())


def test_the_next_ingest_goes_on_where_the_last_one_ended(world: World) -> None:
    world.ingest().run()
    assert world.ingest().run() == IngestReport(complete=True)
    world.send(5)
    world.ingest().run()
    assert world.stored() == world.expected()


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.OK])
def test_whatever_ends_an_ingest_at_any_step_each_offset_is_there_once(fault: Fault) -> None:
    ended = 0
    for step in range(STEPS):
        world = World()
        world.send(RECORDS)
        try:
            world.ingest(FaultPlan([*[Fault.OK] * step, fault])).run()
        except (Crashed, StoreError):
            ended += 1
        stored = world.stored()
        assert len(stored) == len(set(stored)), step
        world.ingest().run()
        assert world.stored() == world.expected(), step
    assert ended > STEPS // 2


def test_an_ingest_that_fails_has_told_what_there_was_to_read_and_what_it_committed(world: World) -> None:
    noting, other = Noting(), World()
    other.send(RECORDS)
    other.ingest(noting).run()
    to_read = sum(end for _, end in world.bounds().values())
    commits = [step for step, name in enumerate(noting.names) if name == "commit"]
    for failing, step in enumerate((noting.names.index("view") + 1, commits[0] + 2)):
        tried, told = World(), list[IngestReport]()
        tried.send(RECORDS)
        with pytest.raises(Crashed):
            tried.ingest(FaultPlan([*[Fault.OK] * step, Fault.CRASH_BEFORE]), told.append).run()
        assert told[-1].to_read == to_read
        assert not told[-1].complete
        assert (told[-1].commits, told[-1].accepted) == (failing, len(tried.stored()))


@pytest.mark.parametrize("fault", [Fault.FAIL_BEFORE, Fault.FAIL_AFTER, Fault.SLOW_DOWN])
def test_a_commit_that_fails_or_loses_its_reply_is_repeated(world: World, fault: Fault) -> None:
    noting, other = Noting(), World()
    other.send(RECORDS)
    other.ingest(noting).run()
    first_commit = noting.names.index("commit")
    world.ingest(FaultPlan([*[Fault.OK] * first_commit, fault])).run()
    assert world.stored() == world.expected()


class Noting(FaultPlan):
    """No faults; the names of the steps."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def step(self, store: str, name: str, action: Callable[[], T]) -> T:
        self.names.append(name)
        return super().step(store, name, action)


def test_of_two_ingests_at_once_one_commits_each_range(world: World) -> None:
    late = world.ingest()
    inner = late._read_and_write

    def overtaken(slices: list[Slice]) -> Iterable[Written]:
        written = list(inner(slices))
        world.ingest().run()
        return written

    late._read_and_write = overtaken
    with pytest.raises(TableMoved):
        late.run()
    assert world.stored() == world.expected()


def test_what_retention_took_is_told_once_and_the_rest_is_read(world: World) -> None:
    world.broker.delete_before(TOPICS.transactions, 0, 20)
    first = world.ingest().run()
    second = world.ingest().run()
    (gap,) = first.new_gaps
    assert (gap.partition.partition, gap.from_offset, gap.to_offset) == (0, 0, 20)
    assert second.new_gaps == []
    assert world.stored() == world.expected()


def test_a_topic_made_again_is_a_gap_and_then_a_log_of_its_own(world: World) -> None:
    world.ingest().run()
    before = world.stored()
    world.broker.recreate(TOPICS.transactions)
    world.send(5)
    report = world.ingest().run()
    assert [gap.to_offset for gap in report.new_gaps] == [None, None]
    assert world.stored() == sorted(before + world.expected())


def ends(report: IngestReport) -> list[tuple[int, int, int | None]]:
    """(partition, from, to) of the gaps that are new."""
    return [(gap.partition.partition, gap.from_offset, gap.to_offset) for gap in report.new_gaps]


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    caplog.clear()
    return found


def test_a_gap_is_an_error_in_the_log_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.ingest().run()
    assert errors(caplog) == []
    place, end = next(iter(world.bounds().items()))[0], next(iter(world.bounds().values())).end
    world.send(30)
    world.broker.delete_before(TOPICS.transactions, 0, end + 10)
    world.ingest().run()
    expected = f"{place}: offsets from {end} to {end + 10} are lost: the log starts above the last commit"
    assert errors(caplog) == [f"ingest: {expected}"]
    world.ingest().run()
    assert errors(caplog) == []


def test_a_gap_that_grows_before_anything_is_committed_is_told_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.broker.delete_before(TOPICS.transactions, 0, 20)
    with suppress(Crashed):
        world.ingest(FaultPlan([Fault.OK, Fault.OK, Fault.CRASH_AFTER])).run()
    assert world.stored() == []
    world.broker.delete_before(TOPICS.transactions, 0, 40)
    errors(caplog)
    assert ends(world.ingest().run()) == [(0, 20, 40)]
    (error,) = errors(caplog)
    assert "offsets from 20 to 40 are lost" in error
    assert [(gap.from_offset, gap.to_offset) for gap in world.contents.gaps] == [(0, 20), (20, 40)]
    assert world.stored() == world.expected()


def test_a_partition_of_which_all_is_lost_tells_of_each_loss(world: World) -> None:
    def lose_all() -> int:
        end = world.bounds()[world.partitions()[0]].end
        world.broker.delete_before(TOPICS.transactions, 0, end)
        return end

    first = lose_all()
    assert ends(world.ingest().run()) == [(0, 0, first)]
    assert ends(world.ingest().run()) == []
    world.send(5)
    second = lose_all()
    assert second > first
    assert ends(world.ingest().run()) == [(0, first, second)]
    world.send(5)
    assert ends(world.ingest().run()) == []
    assert world.stored() == world.expected()


def test_a_log_that_was_cut_short_is_told_once_though_it_grows(world: World) -> None:
    """Of a table that an earlier release filled, before an owner has found where the log was cut off."""
    world.knows_epochs = False
    world.ingest().run()
    end = world.bounds()[world.partitions()[0]].end
    world.broker.truncate(TOPICS.transactions, 0, 10)
    assert ends(world.ingest().run()) == [(0, end, 10)]
    world.send(3)
    assert ends(world.ingest().run()) == []


@pytest.mark.parametrize("fails", [False, True], ids=["committed", "not committed"])
def test_the_gauge_has_each_gap_whatever_becomes_of_the_ingest(world: World, *, fails: bool) -> None:
    world.broker.delete_before(TOPICS.transactions, 0, 20)
    meter, table = Meter("batch", "test"), MemoryTransactions(world.contents)
    refused = FaultPlan([*[Fault.OK] * 3, *[Fault.REFUSE] * fails])
    with pytest.raises(RefusedByPlan) if fails else nullcontext(), losses_told(table, meter):
        world.ingest(refused).run()
    assert (world.stored() == []) is fails
    assert read_snapshot(meter.snapshot()).gauges[LOG_GAPS.name, ()] == 1


def test_a_gap_is_told_before_the_commit_that_passes_it(world: World) -> None:
    world.broker.delete_before(TOPICS.transactions, 0, 20)
    names = [Fault.OK, Fault.OK, Fault.CRASH_AFTER]
    with suppress(Crashed):
        world.ingest(FaultPlan(names)).run()
    assert MemoryTransactions(world.contents).gaps()
    assert world.stored() == []


def test_what_cannot_be_read_is_told_as_no_row_and_what_follows_is_read() -> None:
    world = World()
    world.send(RECORDS)
    world.broker.damage(TOPICS.transactions, 0, 10, 24)
    world.broker.damage(TOPICS.transactions, 1, 3, 5, reads=TRIES - 1)
    report = world.ingest().run()
    assert report.complete
    assert report.rejected["unreadable"] == 14
    ends = sum(bound.end for bound in world.bounds().values())
    assert report.accepted + sum(report.rejected.values()) + report.holes == ends
    again = world.ingest().run()
    assert (again.accepted, again.commits) == (0, 0)


def test_records_are_accepted_under_the_settings_of_their_offsets() -> None:
    """As the hot path has accepted them, whatever the settings are by the time of the ingest."""
    world = World()
    log = world.broker.topic(TOPICS.transactions).logs[0]
    for number in range(30):
        ahead = record(number, transaction(f"t{number}", user_id=USER, seconds=200.0))
        log.append(1_700_000_000_000, b"k", ahead.value, ())
    strict = DetectionSettings(max_future_skew_seconds=100.0)
    timeline = [
        split_event(1, 0, RULES_ONLY),
        settings_event(2, 3, DetectionSettings()),
        settings_event(3, 11, strict),
        settings_event(4, 20, DetectionSettings()),
    ]
    report = world.ingest(timeline=timeline).run()
    assert [offset for *_, offset in world.stored()] == [*range(11), *range(20, 30)]
    assert report.rejected == {"timestamp_in_future": 9}
