"""Files of any order become files by date: few, in bounded pieces, with every row once."""

import random
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from batch.imports.column_map import ImportRefused
from batch.imports.job import Grouping, Import
from batch.imports.part import Judge
from batch.imports.rejected_file import RejectedFile
from batch.imports.sources import FileFormat, open_source
from batch.imports.stage import OwnStage, Stage, Staged, cut_days, pieces_of, rows_in
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.stores.tables.memory import MemoryTransactions, TableContents
from tests.batch.import_samples import FAR, PARTITION, WorkHere, write_csv
from tests.domain.samples import decoder
from tests.stores.table_samples import rows as log_rows

HEADER = ["transaction_id", "user_id", "amount", "timestamp"]
DAYS = 20
FIRST_DAY = datetime(2020, 1, 1, tzinfo=UTC)


def imported(
    folder: Path, order: list[int], grouping: Grouping, *, chunk_rows: int = 10
) -> tuple[TableContents, int]:
    """Ten rows a day, row n on day n // 10, in this order; the table, and how many files were written."""
    rows = [[f"t{n}", "7", "2", (FIRST_DAY + timedelta(days=n // 10, seconds=n)).isoformat()] for n in order]
    source = open_source(
        write_csv(folder / "past.csv", HEADER, rows), FileFormat.CSV, {}, chunk_rows=chunk_rows
    )
    contents = TableContents()
    table = MemoryTransactions(contents)
    work = WorkHere(
        source, Judge(PARTITION, decoder(), DetectionSettings(), FAR), table, folder / "stage", task_rows=50
    )
    side = RejectedFile(folder / "side", PARTITION.topic_id)
    report = Import(PARTITION, {}, table, side, work, grouping=grouping).run()
    side.close()
    assert not [each for each in (folder / "stage").rglob("*") if each.is_file()]
    return contents, report.files


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_a_file_in_any_order_makes_a_file_per_date(tmp_path: Path, seed: int | None) -> None:
    order = list(range(10 * DAYS))
    if seed is not None:
        random.Random(seed).shuffle(order)
    contents, files = imported(tmp_path, order, Grouping(100, 1_000))
    assert files == DAYS
    stored = contents.rows().sort_by("offset")
    assert stored["offset"].to_pylist() == list(range(10 * DAYS))
    assert stored["transaction_id"].to_pylist() == [f"t{n}" for n in order]


def test_in_order_of_time_commits_do_not_wait_and_with_enough_rows_per_date_neither(tmp_path: Path) -> None:
    for name, order, file_rows, wanted in (
        ("in order", list(range(10 * DAYS)), 1_000, DAYS),
        ("enough", [10 * (n % DAYS) + n // DAYS for n in range(10 * DAYS)], 2, 3 * DAYS),
    ):
        (tmp_path / name).mkdir()
        _, files = imported(tmp_path / name, order, Grouping(80, file_rows))
        assert files == wanted, name


def test_what_waits_is_bounded(tmp_path: Path) -> None:
    order = [10 * (n % DAYS) + n // DAYS for n in range(10 * DAYS)]
    contents, files = imported(tmp_path, order, Grouping(80, 1_000, most_rows=100), chunk_rows=40)
    assert files == 2 * DAYS
    assert contents.rows().num_rows == 10 * DAYS


def test_staged_rows_are_cut_by_date_and_come_back_once(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    chance = np.random.default_rng(5)
    staged, expected = [], []
    for chunk in range(4):
        begin = chunk * 3_000
        days = [date(2020, 1, 1) + timedelta(days=int(day)) for day in chance.integers(0, 9, 3)]
        parts = [
            log_rows(PARTITION, begin + 1_000 * n, begin + 1_000 * (n + 1), day) for n, day in enumerate(days)
        ]
        staged.append(stage.put(begin, pa.concat_tables(parts)))
        expected += [
            (row, day)
            for n, day in enumerate(days)
            for row in range(begin + 1_000 * n, begin + 1_000 * (n + 1))
        ]
    cut = cut_days(staged, 1_500)
    assert all(one.until_day == other.from_day for one, other in pairwise(cut))
    found = []
    for days_of_task in cut:
        rows = rows_in(pieces_of(staged, days_of_task))
        assert (
            rows["offset"].to_pylist() == sorted(rows["offset"].to_pylist())
            or len(set(rows["event_date"].to_pylist())) > 1
        )
        found += list(zip(rows["offset"].to_pylist(), rows["event_date"].to_pylist(), strict=True))
    assert sorted(found) == sorted(expected)
    assert cut_days([Staged("", np.array([], np.int64), np.array([], np.int64))]) == []


def test_a_stage_is_removed_and_so_is_what_a_killed_import_left(tmp_path: Path) -> None:
    left = tmp_path / "ray-fraud-import-left"
    left.mkdir()
    (left / "lock").touch()
    first = OwnStage(tmp_path)
    second = OwnStage(tmp_path)
    assert not left.exists()
    assert first.folder.exists()
    for stage in (first, second):
        stage.close()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImportRefused, match="name another folder with --temporary"):
        OwnStage(tmp_path / "nowhere")
    with pytest.raises(ImportRefused, match="--temporary"):
        Stage(tmp_path / "nowhere").put(0, log_rows(PARTITION, 0, 3))
