"""Deletion of a user's rows: from every table, on record, and finished whatever ends it in between."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from batch.care.deletion import UserDeletion, delete_user, finish_open
from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.faults import Crashed, Fault, FaultPlan
from ray_fraud.stores.tables.deletions import DELETION_NOTE, Deletion, LakeDeletions
from tests.batch.care_lake import CareLake

T = TypeVar("T")

WEEK = timedelta(days=7)


class FaultyDeletions(LakeDeletions):
    """The real ones, each step under the next fault of a plan."""

    def __init__(self, location: LakeLocation, faults: FaultPlan) -> None:
        super().__init__(location)
        self._faults = faults

    def _step(self, name: str, action: Callable[[], T]) -> T:
        return self._faults.step("lake", name, action)

    def request(self, deletion: Deletion) -> None:
        self._step("request", lambda: super(FaultyDeletions, self).request(deletion))

    def delete_rows(self, name: str, deletion: Deletion) -> int:
        return self._step("delete", lambda: super(FaultyDeletions, self).delete_rows(name, deletion))

    def record_rows(self, deletion: Deletion, name: str, rows: int, at: datetime) -> None:
        self._step("record", lambda: super(FaultyDeletions, self).record_rows(deletion, name, rows, at))

    def close(self, deletion: Deletion, rows: int, at: datetime) -> None:
        self._step("close", lambda: super(FaultyDeletions, self).close(deletion, rows, at))


STEPS = 6
"""Request, two tables with a deletion and a record each, close."""


@pytest.fixture
def lake(tmp_path: Path) -> CareLake:
    made = CareLake(tmp_path)
    write_deltalake(f"{tmp_path}/scores", pa.table({"user_id": [7, 8, 8], "score": [0.1, 0.2, 0.3]}))
    return made


def deletion(lake: CareLake, *faults: Fault) -> UserDeletion:
    return UserDeletion(FaultyDeletions(lake.location, FaultPlan(faults)), sleep=lambda _: None)


def events(lake: CareLake) -> list[tuple[object, ...]]:
    rows = sorted(lake.rows("lake_deletions"), key=lambda row: str(row["at"]))
    return [(row["event"], row["table_name"], row["rows"]) for row in rows]


def test_the_users_rows_go_from_every_table_and_others_stay(lake: CareLake) -> None:
    report = deletion(lake).run(8, "somebody", "asked for it")
    assert report.rows == {"transactions": 6, "scores": 2}
    assert not report.resumed
    assert lake.users() == {7, 9}
    assert lake.users("scores") == {7}
    assert lake.offsets() == [offset for offset in range(18) if offset % 3 != 1]
    view = lake.table.view()
    assert [position for *_, position in view.last_positions()] == [18]


def test_it_is_on_record_in_a_table_and_in_the_commits(lake: CareLake) -> None:
    report = deletion(lake).run(8, "somebody", "asked for it")
    assert events(lake) == [
        ("requested", None, None),
        ("deleted", "transactions", 6),
        ("deleted", "scores", 2),
        ("done", None, 8),
    ]
    assert {(row["who"], row["reason"], row["user_id"]) for row in lake.rows("lake_deletions")} == {
        ("somebody", "asked for it", 8)
    }
    (commit,) = DeltaTable(f"{lake.folder}/transactions").history(1)
    assert commit["ray_fraud.run"] == report.deletion_id
    assert '"who":"somebody"' in commit[DELETION_NOTE]


@pytest.mark.parametrize("finisher", ["asked again", "care"])
@pytest.mark.parametrize("fault", [Fault.CRASH_BEFORE, Fault.CRASH_AFTER])
@pytest.mark.parametrize("step", range(STEPS))
def test_a_deletion_that_ends_at_any_step_is_finished_with_the_same_counts(
    lake: CareLake, step: int, fault: Fault, finisher: str
) -> None:
    with pytest.raises(Crashed):
        deletion(lake, *[Fault.OK] * step, fault).run(8, "somebody", "asked for it")
    never_asked = step == 0 and fault is Fault.CRASH_BEFORE
    done = step == STEPS - 1 and fault is Fault.CRASH_AFTER
    if finisher == "asked again" or never_asked:
        report = deletion(lake).run(8, "somebody", "asked again")
        assert report.resumed == (not never_asked and not done)
    else:
        assert len(finish_open(lake.location)) == (not done)
    assert lake.users() == {7, 9}
    assert lake.users("scores") == {7}
    assert LakeDeletions(lake.location).open_requests() == []
    told = [event for event in events(lake) if event[0] != "requested"]
    assert sorted(told[:3], key=str) == [
        ("deleted", "scores", 2),
        ("deleted", "transactions", 6),
        ("done", None, 8),
    ]


@pytest.mark.parametrize("fault", [Fault.FAIL_BEFORE, Fault.FAIL_AFTER])
@pytest.mark.parametrize("step", range(STEPS))
def test_a_step_that_fails_or_loses_its_reply_is_repeated(lake: CareLake, step: int, fault: Fault) -> None:
    report = deletion(lake, *[Fault.OK] * step, fault).run(8, "somebody", "asked for it")
    assert report.rows == {"transactions": 6, "scores": 2}
    assert len(events(lake)) == 4


def test_rows_that_come_later_are_another_request(lake: CareLake) -> None:
    first = deletion(lake).run(8, "somebody", "asked")
    lake.ingest(18)
    assert lake.users() == {7, 8, 9}
    second = deletion(lake).run(8, "somebody", "asked again")
    assert (second.resumed, second.rows["transactions"]) == (False, 1)
    assert second.deletion_id != first.deletion_id


def test_a_user_without_rows_is_a_deletion_of_none(lake: CareLake) -> None:
    assert deletion(lake).run(1_000, "somebody", "asked").rows == {"transactions": 0, "scores": 0}
    assert events(lake)[-1] == ("done", None, 0)


def test_without_a_purge_the_bytes_stay_for_the_retention_and_with_it_they_are_gone(lake: CareLake) -> None:
    version = DeltaTable(f"{lake.folder}/transactions").version()
    kept = delete_user(lake.location, 8, "somebody", "asked", WEEK)
    assert kept.purged_files is None
    assert kept.bytes_until is not None
    assert abs(kept.bytes_until - datetime.now(UTC) - WEEK) < timedelta(minutes=1)
    before = DeltaTable(f"{lake.folder}/transactions", version=version)
    assert before.to_pyarrow_table(filters=[("user_id", "=", 8)]).num_rows == 6
    gone = delete_user(lake.location, 9, "somebody", "asked", WEEK, purge=True)
    assert gone.bytes_until is None
    assert gone.purged_files
    assert lake.users() == {7}
    named = {Path(file).name for file in DeltaTable(f"{lake.folder}/transactions").file_uris()}
    assert {file.name for file in lake.folder.glob("transactions/event_date=*/*.parquet")} == named
