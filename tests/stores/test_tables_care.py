"""Care of a real Delta table: what it makes smaller, and what outlives it."""

import os
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from deltalake import DeltaTable

from batch.care.correction import Correction, correct
from batch.care.deletion import UserDeletion
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.errors import StoreRefused, StoreUnavailable
from ray_fraud.stores.tables.care import (
    DEFAULT_RETENTION,
    LEAST_RETENTION,
    ROW_GROUP_ROWS,
    Action,
    TableCare,
)
from ray_fraud.stores.tables.corrections import RecordPlace
from ray_fraud.stores.tables.deletions import LakeDeletions
from ray_fraud.stores.tables.delta import DeltaTransactions
from ray_fraud.stores.tables.lake_tables import commit_time, open_table, present_tables
from ray_fraud.stores.tables.port import Append
from ray_fraud.stores.tables.retry import patiently
from tests.stores.table_samples import FIRST, SECOND, TOPIC, gap, read_range, rows

YESTERDAY, TODAY = date(2026, 11, 24), date(2026, 11, 25)
LONG_AGO = timedelta(days=40)


class Lake:
    """A folder with the table `transactions`, ten ingests on each of two days."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.location = LakeLocation(folder.as_uri())
        self.table = DeltaTransactions(self.location)
        self.table.create()
        self.care = TableCare(self.location, "transactions")

    def ingest(self, begin: int, end: int, day: date = TODAY, partition: PartitionId = FIRST) -> None:
        files = self.table.write_files(rows(partition, begin, end, day))
        self.table.append(Append(uuid.uuid4().hex, [read_range(partition, begin, end)], files))

    def offsets(self, partition: int = 0) -> list[int]:
        read = open_table(self.location, "transactions").to_pyarrow_table(columns=["partition", "offset"])
        return sorted(row["offset"] for row in read.to_pylist() if row["partition"] == partition)

    def rewrite_all(self) -> None:
        for rewrite in self.care.plan():
            self.care.rewrite(rewrite, "run")

    def age(self, pattern: str, by: timedelta = LONG_AGO) -> None:
        then = time.time() - by.total_seconds()
        for file in self.folder.glob(pattern):
            os.utime(file, (then, then))

    def data_files(self) -> set[str]:
        return {file.name for file in self.folder.glob("transactions/event_date=*/*.parquet")}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    made = Lake(tmp_path)
    for begin in range(0, 20, 2):
        made.ingest(begin, begin + 2, YESTERDAY if begin < 10 else TODAY)
    return made


def test_many_small_files_become_one_of_each_day_and_the_rows_stay(lake: Lake) -> None:
    before = lake.care.facts()
    assert [(one.action, one.date, one.files) for one in lake.care.plan()] == [
        (Action.COMPACT, "2026-11-24", 5),
        (Action.COMPACT, "2026-11-25", 5),
    ]
    lake.rewrite_all()
    after = lake.care.facts()
    assert (before.files, after.files, before.rows, after.rows) == (10, 2, 20, 20)
    assert after.bytes < before.bytes
    assert lake.offsets() == list(range(20))
    assert lake.care.plan() == []


def test_a_large_day_that_is_over_is_sorted_by_user_once_and_again_when_it_has_grown(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    many = ROW_GROUP_ROWS + 1
    lake.ingest(0, many, YESTERDAY)
    assert lake.care.plan() == []
    lake.ingest(many, many + 1, TODAY)
    (planned,) = lake.care.plan()
    assert (planned.action, planned.date, planned.rows) == (Action.SORT, "2026-11-24", many)
    lake.care.rewrite(planned, "run")
    assert lake.care.plan() == []
    assert lake.table.view().position(FIRST) == many + 1
    assert lake.table.rows() == many + 1
    late = many + 1 + many // 8
    lake.ingest(many + 1, late, YESTERDAY)
    assert [one.action for one in lake.care.plan()] == [Action.SORT]
    assert [one.action for one in lake.care.plan(sort=False)] == [Action.COMPACT]


def test_positions_outlive_compaction_checkpoint_and_a_cleaned_log(lake: Lake) -> None:
    lake.ingest(0, 3, partition=SECOND)
    lake.rewrite_all()
    lake.age("transactions/_delta_log/*.json")
    lake.ingest(20, 22)
    expected = sorted(lake.table.view().last_positions())
    lake.care.checkpoint()
    assert lake.care.clean_log(datetime.now(UTC))
    assert len(list(lake.folder.glob("transactions/_delta_log/*.json"))) == 1
    lake.rewrite_all()
    lake.care.checkpoint()
    view = lake.table.view()
    assert sorted(view.last_positions()) == expected == [(TOPIC, FIRST, 22), (TOPIC, SECOND, 3)]
    assert (view.position(FIRST), view.position(SECOND)) == (22, 3)
    lake.ingest(22, 24)
    assert sorted(lake.table.view().last_positions()) == [(TOPIC, FIRST, 24), (TOPIC, SECOND, 3)]
    assert lake.offsets() == list(range(24))


def test_a_log_whose_newest_ingest_is_old_is_left_alone(lake: Lake) -> None:
    lake.rewrite_all()
    lake.age("transactions/_delta_log/*.json")
    lake.care.checkpoint()
    assert not lake.care.clean_log(datetime.now(UTC) + LONG_AGO)
    assert list(lake.table.view().last_positions()) == [(TOPIC, FIRST, 20)]


def test_gaps_stay_known_behind_a_cleaned_log(lake: Lake) -> None:
    one = gap(FIRST, 5, 9)
    lake.table.record_gaps([one])
    lake.age("log_gaps/_delta_log/*.json")
    gaps = TableCare(lake.location, "log_gaps")
    gaps.checkpoint()
    assert gaps.clean_log(datetime.now(UTC))
    assert lake.table.record_gaps([one]) == []
    assert lake.table.gaps() == [one]


def test_vacuum_takes_abandoned_files_and_leaves_those_of_an_ingest_and_of_recent_versions(
    lake: Lake,
) -> None:
    (abandoned,) = lake.table.write_files(rows(FIRST, 90, 92))
    lake.age("transactions/event_date=*/*.parquet")
    version = lake.care.facts().version
    lake.rewrite_all()
    (coming,) = lake.table.write_files(rows(FIRST, 20, 22))
    assert lake.care.vacuum(DEFAULT_RETENTION, dry_run=True).files == 1
    assert lake.care.vacuum(DEFAULT_RETENTION).files == 1
    assert Path(abandoned.path).name not in lake.data_files()
    lake.table.append(Append("late", [read_range(FIRST, 20, 22)], [coming]))
    assert lake.offsets() == list(range(22))
    assert open_table(lake.location, "transactions", version).to_pyarrow_table().num_rows == 20


def test_a_purge_leaves_what_the_newest_version_names_and_what_no_commit_names_yet(lake: Lake) -> None:
    (coming,) = lake.table.write_files(rows(FIRST, 20, 22))
    lake.rewrite_all()
    assert lake.care.purge().files == 10
    assert len(lake.data_files()) == 3
    lake.table.append(Append("late", [read_range(FIRST, 20, 22)], [coming]))
    assert lake.offsets() == list(range(22))


def test_a_retention_that_could_take_the_files_of_an_ingest_is_refused(lake: Lake) -> None:
    with pytest.raises(StoreRefused, match="at least 1 day"):
        lake.care.vacuum(LEAST_RETENTION - timedelta(minutes=1))
    lake.care.vacuum(LEAST_RETENTION)


def test_a_retention_above_a_week_is_kept_by_checkpoints_too(lake: Lake) -> None:
    lake.care.vacuum(timedelta(days=30))
    properties = open_table(lake.location, "transactions").metadata().configuration
    assert properties["delta.deletedFileRetentionDuration"] == "interval 720 hours"
    version = lake.care.facts().version
    lake.care.vacuum(timedelta(days=30))
    assert lake.care.facts().version == version


def test_versions_and_moments_are_found_or_refused_in_words(lake: Lake) -> None:
    table = open_table(lake.location, "transactions", 1)
    assert table.to_pyarrow_table().num_rows == 2
    assert open_table(lake.location, "transactions", datetime.now(UTC)).version() == 10
    for as_of, message in ((99, "newest is 10"), (datetime(2020, 1, 1, tzinfo=UTC), "history begins")):
        with pytest.raises(StoreRefused, match=message):
            open_table(lake.location, "transactions", as_of)
    with pytest.raises(StoreRefused, match="no table scores"):
        open_table(lake.location, "scores")
    assert present_tables(lake.location) == ["transactions", "log_gaps"]


def test_a_time_is_judged_by_what_the_commits_say_not_by_their_files(lake: Lake) -> None:
    table = open_table(lake.location, "transactions")
    times = {commit["version"]: commit_time(commit["timestamp"]) for commit in table.history()}
    lake.age("transactions/_delta_log/*0[0-5].json", timedelta(days=2))
    lake.age("transactions/_delta_log/*0[6-9].json", timedelta(days=-2))
    for version in (0, 3, 6, 10):
        assert open_table(lake.location, "transactions", times[version]).version() == version
    with pytest.raises(StoreRefused, match="history begins"):
        open_table(lake.location, "transactions", times[0] - timedelta(milliseconds=1))


def test_a_version_whose_commit_is_gone_is_refused_with_the_oldest_that_is_left(lake: Lake) -> None:
    lake.age("transactions/_delta_log/*.json")
    lake.ingest(20, 22)
    lake.care.checkpoint()
    assert lake.care.clean_log(datetime.now(UTC))
    with pytest.raises(StoreRefused, match="no version 3 any more; the oldest that is still known is 11"):
        open_table(lake.location, "transactions", 3)


def test_ingests_compaction_corrections_and_deletions_at_once_lose_and_double_nothing(tmp_path: Path) -> None:
    """Two partitions are written; one has its rows corrected, and the user of the other is deleted."""
    lake, other = Lake(tmp_path), PartitionId("cluster", "topic-id", 1)
    lake.ingest(0, 3)
    rounds, corrected = 12, threading.Event()
    stop = threading.Event()

    def ingest(partition: PartitionId) -> None:
        table = DeltaTransactions(lake.location)
        position = table.view().position(partition) or 0
        for begin in range(position, position + 3 * rounds, 3):
            files = table.write_files(rows(partition, begin, begin + 3))
            one = Append(uuid.uuid4().hex, [read_range(partition, begin, begin + 3)], files)
            patiently(partial(table.append, one))

    def again(action: Callable[[], object]) -> None:
        while not stop.is_set():
            # As care does: who loses too often leaves it for later.
            with suppress(StoreUnavailable):
                patiently(action)
        patiently(action)

    def fix() -> None:
        report = correct(
            lake.location, [_correction(0, amount=99.0)], "test", "wrong", lambda _: DetectionSettings()
        )
        assert report.corrected == 1
        corrected.set()

    deletions = UserDeletion(LakeDeletions(lake.location))
    with ThreadPoolExecutor(6) as pool:
        writers = [pool.submit(ingest, partition) for partition in (FIRST, other)]
        others = [
            pool.submit(again, action)
            for action in (lake.rewrite_all, fix, lambda: deletions.run(12345, "test", "nobody has this id"))
        ]
        for writer in writers:
            writer.result()
        stop.set()
        for one in others:
            one.result()
    assert corrected.is_set()
    assert lake.offsets(0) == list(range(3 + 3 * rounds))
    assert lake.offsets(1) == list(range(3 * rounds))
    view = lake.table.view()
    assert (view.position(FIRST), view.position(other)) == (3 + 3 * rounds, 3 * rounds)
    amounts = DeltaTable(f"{tmp_path}/transactions").to_pyarrow_table(columns=["amount"])
    assert sorted(amounts["amount"].to_pylist())[-2:] == [12.5, 99.0]


def _correction(offset: int, **changes: object) -> Correction:
    return Correction(1, RecordPlace("topic-id", 0, offset), changes)
