"""Positions are never forgotten: however many commits lie behind the ingest that named them, and whosever."""

import json
import time
from datetime import date
from pathlib import Path

import pytest
from deltalake import DeltaTable

from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.errors import StoreDamaged
from ray_fraud.stores.tables.care import TableCare
from ray_fraud.stores.tables.corrections import CorrectableRows, RecordPlace
from ray_fraud.stores.tables.deletions import LakeDeletions
from ray_fraud.stores.tables.delta import DeltaTransactions
from ray_fraud.stores.tables.port import Append
from ray_fraud.stores.tables.positions import CARRIED, POSITIONS, carried_on, commits
from tests.stores.table_samples import FIRST, SECOND, TOPIC, read_range, rows

MANY = 1_100


@pytest.fixture
def location(tmp_path: Path) -> LakeLocation:
    return LakeLocation(tmp_path.as_uri())


@pytest.fixture
def table(location: LakeLocation) -> DeltaTransactions:
    """Two partitions, read by a commit each."""
    made = DeltaTransactions(location)
    made.create()
    for partition, day in ((FIRST, 24), (SECOND, 25), (FIRST, 25)):
        begin = 3 if (partition, day) == (FIRST, 25) else 0
        files = made.write_files(rows(partition, begin, begin + 3, date(2026, 11, day)))
        made.append(Append(f"{partition}{day}", [read_range(partition, begin, begin + 3)], files))
    return made


BOTH = [(TOPIC, SECOND, 3), (TOPIC, FIRST, 6)]


def positions(table: DeltaTransactions) -> list[tuple[str, PartitionId, int]]:
    return list(table.view().last_positions())


def foreign_commits(location: LakeLocation, count: int, metadata: dict[str, str] | None = None) -> None:
    """Commits of another engine, or of an earlier release: their metadata names no positions."""
    log = Path(location.url.removeprefix("file://")) / "transactions" / "_delta_log"
    begin = len(list(log.glob("*.json")))
    for version in range(begin, begin + count):
        info = {"timestamp": round(time.time() * 1000), "operation": "OPTIMIZE", **(metadata or {})}
        (log / f"{version:020}.json").write_text(json.dumps({"commitInfo": info}))


def test_they_are_found_behind_any_number_of_commits_without_them(
    table: DeltaTransactions, location: LakeLocation
) -> None:
    foreign_commits(location, MANY)
    assert positions(table) == BOTH
    table.append(Append("later", [read_range(FIRST, 6, 9)], table.write_files(rows(FIRST, 6, 9))))
    assert positions(table) == [(TOPIC, SECOND, 3), (TOPIC, FIRST, 9)]


def test_a_log_is_not_cleaned_of_them_however_many_commits_lie_behind(
    table: DeltaTransactions, location: LakeLocation
) -> None:
    foreign_commits(location, MANY)
    care = TableCare(location, "transactions")
    for rewrite in care.plan():
        care.rewrite(rewrite, "run")
    assert positions(table) == BOTH


def everything_but_an_ingest(location: LakeLocation) -> None:
    care = TableCare(location, "transactions")
    for rewrite in care.plan():
        care.rewrite(rewrite, "run")
    place = RecordPlace(FIRST.topic_id, 0, 1)
    correctable = CorrectableRows(location)
    row = correctable.rows([place])[place]
    changed = {name: row[name] for name in (*place._fields, "amount", "event_time", "event_date")}
    correctable.merge([{**changed, "amount": 1.5}], [row["event_date"]], "{}")
    deletions = LakeDeletions(location)
    request = deletions.new(7, "who", "why", row["event_time"])
    deletions.delete_rows("transactions", request)
    care.purge()


def test_every_commit_of_ours_carries_them(table: DeltaTransactions, location: LakeLocation) -> None:
    opened = DeltaTable(f"{location.url}/transactions")
    ingested = opened.version()
    everything_but_an_ingest(location)
    opened.update_incremental()
    later = [commit for commit in commits(opened) if commit["version"] > ingested]
    operations = [
        commit["operation"] for commit in later if POSITIONS not in commit and CARRIED not in commit
    ]
    assert {"OPTIMIZE", "MERGE", "DELETE"} <= {commit["operation"] for commit in later}
    assert operations == []
    assert positions(table) == BOTH


def test_what_was_carried_from_before_an_ingest_does_not_take_it_back(
    table: DeltaTransactions, location: LakeLocation
) -> None:
    before = carried_on(DeltaTable(f"{location.url}/transactions"))
    table.append(Append("meanwhile", [read_range(SECOND, 3, 4)], table.write_files(rows(SECOND, 3, 4))))
    foreign_commits(location, 3, before)
    assert sorted(positions(table)) == [(TOPIC, FIRST, 6), (TOPIC, SECOND, 4)]


def test_a_log_that_another_program_cleaned_of_them_is_told_and_not_taken_for_empty(
    table: DeltaTransactions, location: LakeLocation, tmp_path: Path
) -> None:
    foreign_commits(location, 2)
    DeltaTable(f"{location.url}/transactions").create_checkpoint()
    for commit in sorted((tmp_path / "transactions" / "_delta_log").glob("*.json"))[:-2]:
        commit.unlink()
    with pytest.raises(StoreDamaged, match="put the files back"):
        table.view().last_positions()
    assert table.view().position(FIRST) == 6
