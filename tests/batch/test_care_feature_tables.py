"""Removing feature tables: what a replay or an owner may still need stays, whatever the timelines say."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batch.care.config import CareConfig
from batch.care.feature_tables import FeatureTablesReport, LeftAlone, Reach, prune_feature_tables
from batch.care.job import Care, CareReport
from batch.care.run import care_for_feature_tables
from batch.features.run import feature_tables_of
from batch.ingest.config import IngestConfig
from ray_fraud.domain.canonical import content_digest
from ray_fraud.domain.controls import Controls, TablesMissingError
from ray_fraud.domain.feature_tables import FeatureTables
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.timeline import ControlEvent, TimelineError, features_event
from ray_fraud.stores.connections import (
    Connections,
    KafkaConnection,
    LakeLocation,
    PostgresConnection,
    RedisConnection,
    Topics,
)
from ray_fraud.stores.errors import StoreRefused, StoreUnavailable
from ray_fraud.stores.faults import Fault, FaultPlan
from ray_fraud.stores.feature_tables.lake import LakeFeatureTables
from ray_fraud.stores.feature_tables.memory import MemoryFeatureRefreshes, MemoryFeatureTables
from ray_fraud.stores.feature_tables.postgres import PostgresFeatureRefreshes
from ray_fraud.stores.lake import local_folder
from ray_fraud.stores.ledger.migrate import migrate
from ray_fraud.stores.ledger.postgres import PostgresLedger
from ray_fraud.stores.partition_facts import partition_id
from ray_fraud.stores.tables.positioned import Move
from tests.batch.care_lake import CareLake
from tests.domain.samples import record, transaction
from tests.stores.kafka_accidents import KafkaLogs

WEEK = timedelta(days=7)
NOW = 100 * WEEK.total_seconds()
END = 30
"""Offsets of the drawn logs."""
CONTENTS = [b"%d" % number for number in range(8)]
DIGESTS = [content_digest(content) for content in CONTENTS]


class StillThere(Mapping[str, FeatureTables]):
    """Tables by digest, as long as their file is there."""

    def __init__(self, files: MemoryFeatureTables) -> None:
        self._files = files

    def __getitem__(self, digest: str) -> FeatureTables:
        if digest not in self._files.contents:
            raise KeyError(digest)
        return FeatureTables()

    def __iter__(self) -> Iterator[str]:
        return iter(self._files.contents)

    def __len__(self) -> int:
        return len(self._files.contents)


@dataclass
class Lake:
    files: MemoryFeatureTables
    refreshes: MemoryFeatureRefreshes

    def prune(self, *reaches: Reach, dry_run: bool = False) -> FeatureTablesReport:
        return prune_feature_tables(
            self.files, self.refreshes, lambda: reaches, retention=WEEK, now=NOW, dry_run=dry_run
        )


def lake(ages: list[timedelta], newest: str | None = None) -> Lake:
    """The first files of `CONTENTS`, so old."""
    files = MemoryFeatureTables()
    for content, age in zip(CONTENTS, ages, strict=False):
        files.written[files.put(content)] = NOW - age.total_seconds()
    refreshes = MemoryFeatureRefreshes()
    if newest is not None:
        refreshes.publish(newest)
    return Lake(files, refreshes)


def timeline(*refreshes: tuple[int, int]) -> list[ControlEvent]:
    """Events of (from_offset, number of the tables)."""
    return [features_event(seq, offset, DIGESTS[number]) for seq, (offset, number) in enumerate(refreshes, 1)]


REACHES = st.builds(
    Reach,
    st.lists(st.tuples(st.integers(0, END), st.integers(0, 7)), max_size=6).map(
        lambda drawn: timeline(*drawn)
    ),
    st.none() | st.integers(0, END),
    st.none() | st.integers(0, END),
)
AGES = st.lists(st.integers(0, 20).map(lambda days: timedelta(days=days)), min_size=8, max_size=8)


def replay(events: list[ControlEvent], begin: int, jumps: set[int], files: MemoryFeatureTables) -> None:
    """The controls of a fold that begins there and meets the records at `jumps`."""
    controls = Controls(events, begin, StillThere(files))
    for offset in (begin, *sorted(jumps)):
        if offset >= begin:
            controls.apply_due(offset)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(REACHES, max_size=3),
    AGES,
    st.none() | st.sampled_from(DIGESTS),
    st.sets(st.integers(0, END)),
    st.integers(0, END),
)
def test_what_a_replay_needs_is_never_removed(
    reaches: list[Reach], ages: list[timedelta], newest: str | None, jumps: set[int], further: int
) -> None:
    made = lake(ages, newest)
    made.prune(*reaches)
    for reach in reaches:
        events = list(reach.timeline)
        begins = [0 if reach.position is None else reach.position]
        if reach.log_start is not None:
            # A base may lie anywhere; what the log has lost below is not folded.
            begins += [reach.log_start, max(reach.log_start, further)]
        for begin in begins:
            replay(events, begin, jumps, made.files)
            replay(events, begin, set(range(END + 1)), made.files)
    young = {digest for digest, age in zip(DIGESTS, ages, strict=True) if age <= WEEK}
    assert young <= made.files.contents.keys()
    assert newest is None or newest in made.files.contents


OLD = [timedelta(days=8)] * 8


def test_what_lies_behind_both_folds_is_removed() -> None:
    made = lake(OLD[:5], newest=DIGESTS[4])
    events = timeline((0, 0), (10, 1), (20, 2), (30, 3))
    report = made.prune(Reach(events, log_start=25, position=20))
    assert report == FeatureTablesReport(5, sorted(DIGESTS[:2]))
    assert made.files.contents.keys() == set(DIGESTS[2:5])
    with pytest.raises(TablesMissingError):
        replay(events, 19, set(), made.files)


@pytest.mark.parametrize(
    ("log_start", "position", "kept"),
    [
        (25, 5, {0, 1, 2}),
        (5, 25, {0, 1, 2}),
        (25, 25, {2}),
        (None, 15, {1, 2}),
        (25, None, {0, 1, 2}),
        (10, 10, {1, 2}),
        (9, 99, {0, 1, 2}),
    ],
)
def test_the_slower_of_both_folds_decides(
    log_start: int | None, position: int | None, kept: set[int]
) -> None:
    made = lake(OLD[:3])
    made.prune(Reach(timeline((0, 0), (10, 1), (20, 2)), log_start, position))
    assert made.files.contents.keys() == {DIGESTS[number] for number in kept}


def test_one_partition_that_needs_it_is_enough() -> None:
    made = lake(OLD[:2])
    events = timeline((0, 0), (10, 1))
    made.prune(Reach(events, 25, 25), Reach(events, 25, 3))
    assert len(made.files.contents) == 2


def test_young_files_and_the_newest_stay_though_nothing_names_them() -> None:
    made = lake([timedelta(days=8), timedelta(days=8), timedelta(days=6)], newest=DIGESTS[0])
    assert made.prune().removed == [DIGESTS[1]]


def test_a_dry_run_removes_nothing() -> None:
    made = lake(OLD[:2])
    assert made.prune(dry_run=True) == FeatureTablesReport(2, sorted(DIGESTS[:2]))
    assert len(made.files.contents) == 2


def test_a_timeline_that_cannot_be_read_keeps_everything() -> None:
    damaged = msgspec.structs.replace(timeline((0, 0))[0], reference="{}")
    made = lake(OLD)
    with pytest.raises(TimelineError):
        made.prune(Reach([damaged], 0, 0))
    assert len(made.files.contents) == len(CONTENTS)


def test_a_removal_that_breaks_off_is_finished_by_the_next_care() -> None:
    contents = dict(zip(DIGESTS, CONTENTS, strict=True))
    broken = MemoryFeatureTables(contents, FaultPlan([Fault.OK, Fault.OK, Fault.FAIL_AFTER]))
    made = Lake(broken, MemoryFeatureRefreshes())
    with pytest.raises(StoreUnavailable):
        made.prune()
    assert len(contents) == 6
    assert len(made.prune().removed) == 6
    assert not contents


def test_a_care_reports_what_became_of_them(tmp_path: Path) -> None:
    def care(retention: timedelta, *, dry_run: bool) -> CareReport:
        config = CareConfig(feature_tables_retention=retention)

        def prune(retention: timedelta, now: float, dry_run: bool) -> FeatureTablesReport:
            asked.append((retention, now, dry_run))
            if len(asked) == 3:
                raise StoreUnavailable("postgres", "away")
            return FeatureTablesReport(3, ["a"])

        work = Care(
            CareLake(tmp_path / str(len(asked))).location, config, "test", feature_tables=prune, now=lambda: 5
        )
        return work.run(dry_run=dry_run)

    asked: list[tuple[timedelta, float, bool]] = []
    assert care(WEEK, dry_run=True).feature_tables == FeatureTablesReport(3, ["a"])
    done = care(2 * WEEK, dry_run=False)
    assert (done.failed, done.feature_tables) == ([], FeatureTablesReport(3, ["a"]))
    failed = care(WEEK, dry_run=False)
    assert failed.feature_tables is None
    assert failed.failed == ["feature tables: postgres: away"]
    assert asked == [(WEEK, 5, True), (2 * WEEK, 5, False), (WEEK, 5, False)]
    with pytest.raises(StoreRefused, match="too short"):
        care(timedelta(hours=1), dry_run=True)


def test_a_care_says_why_it_left_them_alone(tmp_path: Path) -> None:
    def prune(*_: object) -> FeatureTablesReport:
        raise LeftAlone("nobody there")

    work = Care(CareLake(tmp_path).location, CareConfig(), "test", feature_tables=prune)
    report = work.run()
    assert (report.failed, report.feature_tables, report.feature_tables_left) == ([], None, "nobody there")


TOPICS = Topics("care-transactions", "care-dlq", "care-alerts", "care-labels", partitions=1)


def write_timeline(where: PostgresConnection, partition: PartitionId, events: list[ControlEvent]) -> None:
    migrate(where)
    with closing(PostgresLedger(where, name="test")) as ledger:
        with ledger.take_over(partition) as turn:
            own = turn.confirm(1, "token", 0)
        for event in events:
            ledger.append_event(own, event)


@pytest.mark.timeout(180)
def test_the_real_stores_say_what_is_needed(
    kafka_server: KafkaConnection, fresh_database: PostgresConnection, tmp_path: Path
) -> None:
    location = LakeLocation(tmp_path.as_uri())
    connections = Connections(kafka_server, RedisConnection(""), fresh_database, location, TOPICS)
    files = LakeFeatureTables(*local_folder(tmp_path))
    for content in CONTENTS[:5]:
        files.put(content)
    in_ten_days = max(files.digests().values()) + timedelta(days=10).total_seconds()
    features = feature_tables_of(location).features
    features.create()

    def removed(*, dry_run: bool = False) -> set[int]:
        config = IngestConfig(connections=connections)
        report = care_for_feature_tables(config, WEEK, in_ten_days, dry_run=dry_run)
        return {DIGESTS.index(digest) for digest in report.removed}

    with ExitStack() as stack:
        logs = KafkaLogs(kafka_server, stack)
        logs.admin().ensure_topics(TOPICS)
        partition = partition_id(logs.admin(), TOPICS.transactions, 0)
        write_timeline(fresh_database, partition, timeline((0, 0), (4, 1), (8, 2)))
        with closing(PostgresFeatureRefreshes(fresh_database)) as refreshes:
            refreshes.publish(DIGESTS[3])
        for number in range(12):
            value = record(0, transaction(f"t{number}")).value
            logs.writer().send(TOPICS.transactions, key=b"k", value=value, partition=0).wait(WEEK)
        # Nothing was folded by the cold path yet: only what no timeline names goes.
        assert removed(dry_run=True) == {4}
        features.commit("run", [Move(f"fold:{partition}", None, 9)], [], {})
        assert removed(dry_run=True) == {4}
        logs.delete_before(TOPICS.transactions, 0, 5)
        assert removed() == {0, 4}
        logs.delete_before(TOPICS.transactions, 0, 11)
        assert removed() == {1}
    assert set(files.digests()) == {DIGESTS[2], DIGESTS[3]}
