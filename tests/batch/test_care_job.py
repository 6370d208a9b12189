"""One care of the lake: what it does and reports, what fails without harm, when the next one is due."""

import time
from datetime import timedelta
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from batch.care.config import CareConfig
from batch.care.daily import last_care
from batch.care.job import Care, CareReport
from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.tables.deletions import LakeDeletions
from ray_fraud.stores.tables.lake_tables import present_tables
from tests.batch.care_lake import CareLake
from tests.stores.table_samples import FIRST, gap


@pytest.fixture
def lake(tmp_path: Path) -> CareLake:
    return CareLake(tmp_path)


def care(lake: CareLake, *, dry_run: bool = False, **settings: object) -> CareReport:
    config = msgspec.structs.replace(CareConfig(), **settings)
    return Care(lake.location, config, "test", sleep=lambda _: None).run(dry_run=dry_run)


def test_every_table_that_exists_is_looked_after_and_reported(lake: CareLake) -> None:
    for offset in (50, 60):
        lake.table.record_gaps([gap(FIRST, offset, offset + 1)])
    before = lake.offsets()
    report = care(lake)
    assert report.failed == []
    done = {one.table: one for one in report.tables}
    assert list(done) == ["transactions", "log_gaps"]
    assert (done["transactions"].before.files, done["transactions"].after.files) == (6, 2)
    assert (done["log_gaps"].before.files, done["log_gaps"].after.files) == (2, 1)
    assert done["transactions"].after.version > done["transactions"].before.version
    assert [one.date for one in done["transactions"].rewritten] == ["2026-11-24", "2026-11-25"]
    assert lake.offsets() == before


def test_a_second_care_finds_nothing_to_rewrite(lake: CareLake) -> None:
    care(lake)
    version = DeltaTable(f"{lake.folder}/transactions").version()
    report = care(lake)
    assert [one.table for one in report.tables] == ["transactions", "log_gaps", "lake_care"]
    assert [one.rewritten for one in report.tables] == [[], [], []]
    assert DeltaTable(f"{lake.folder}/transactions").version() == version


def test_a_dry_run_says_what_would_be_done_and_does_nothing(lake: CareLake) -> None:
    version = DeltaTable(f"{lake.folder}/transactions").version()
    report = care(lake, dry_run=True)
    assert [one.files for one in report.tables[0].rewritten] == [3, 3]
    assert DeltaTable(f"{lake.folder}/transactions").version() == version
    assert present_tables(lake.location) == ["transactions", "log_gaps"]


def test_a_damaged_table_is_reported_and_the_others_are_looked_after(lake: CareLake) -> None:
    log = lake.folder / "log_gaps" / "_delta_log"
    for commit in log.glob("*.json"):
        commit.write_text("no commit")
    report = care(lake)
    (failure,) = report.failed
    assert failure.startswith("log_gaps: ")
    assert report.tables[0].after.files == 2
    (record,) = lake.rows("lake_care")
    assert (record["complete"], record["who"]) == (False, "test")


def test_the_care_is_on_record_and_its_end_is_known_to_the_next_process(lake: CareLake) -> None:
    began = time.time()
    report = care(lake)
    (record,) = lake.rows("lake_care")
    assert record["run_id"] == report.run_id
    assert msgspec.json.decode(str(record["report"]))["tables"][0]["after"]["files"] == 2
    ended = last_care(lake.location)
    assert ended is not None
    assert began <= ended <= time.time()


def test_before_the_first_care_the_lake_began_when_its_table_did(lake: CareLake, tmp_path: Path) -> None:
    created = last_care(lake.location)
    assert created is not None
    assert abs(created - time.time()) < 60
    care(lake, dry_run=True)
    assert last_care(lake.location) == created
    assert last_care(LakeLocation((tmp_path / "nothing").as_uri())) is None


def test_a_care_that_was_not_complete_does_not_count(lake: CareLake) -> None:
    created = last_care(lake.location)
    for commit in (lake.folder / "log_gaps" / "_delta_log").glob("*.json"):
        commit.write_text("no commit")
    care(lake)
    assert last_care(lake.location) == created


def test_an_open_deletion_is_finished(lake: CareLake) -> None:
    deletions = LakeDeletions(lake.location)
    at = lake.rows()[0]["event_time"]
    deletion = msgspec.structs.replace(deletions.new(8, "somebody", "asked", at), deletion_id="d-1")  # type: ignore[arg-type]
    deletions.request(deletion)
    report = care(lake)
    assert report.deletions == ["d-1"]
    assert lake.users() == {7, 9}
    assert deletions.open_requests() == []


def test_tables_of_other_parts_are_looked_after_as_soon_as_they_exist(lake: CareLake) -> None:
    for number in range(3):
        write_deltalake(f"{lake.folder}/scores", pa.table({"user_id": [number]}), mode="append")
    done = {one.table: one for one in care(lake).tables}
    assert (done["scores"].before.files, done["scores"].after.files) == (3, 1)


def test_too_short_a_retention_is_refused_before_anything_is_done(lake: CareLake) -> None:
    with pytest.raises(StoreRefused, match="too short"):
        care(lake, retention=timedelta(hours=1))
    assert present_tables(lake.location) == ["transactions", "log_gaps"]
