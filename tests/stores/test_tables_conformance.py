"""What every table `transactions` promises: run on the memory one and on real Delta tables in a folder
and on an S3 server."""

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.delta_location import delta_location
from ray_fraud.stores.tables.delta import DeltaTransactions
from ray_fraud.stores.tables.memory import MemoryTransactions, TableContents
from ray_fraud.stores.tables.port import Append, LogPlace, ReadRange, TableMoved, TransactionTable
from tests.stores.table_samples import FIRST, SECOND, TOPIC, gap, read_range, rows


class Writers:
    """Any number of writers of one table, and a look at what it holds."""

    def __init__(self, writer: Callable[[], TransactionTable], content: Callable[[], pa.Table]) -> None:
        self.writer = writer
        self.content = content

    def offsets(self) -> list[tuple[int, int]]:
        """(partition, offset) of all committed rows, sorted."""
        content = self.content()
        return sorted(zip(content["partition"].to_pylist(), content["offset"].to_pylist(), strict=True))


@pytest.fixture(params=["memory", "delta", pytest.param("s3", marks=pytest.mark.servers)])
def writers(request: pytest.FixtureRequest, tmp_path: Path) -> Writers:
    if request.param == "memory":
        contents = TableContents()
        made = Writers(lambda: MemoryTransactions(contents), contents.rows)
    else:
        on_s3 = request.param == "s3"
        location = request.getfixturevalue("s3_lake") if on_s3 else LakeLocation(tmp_path.as_uri())
        address, options = delta_location(location, "transactions")
        made = Writers(
            lambda: DeltaTransactions(location),
            lambda: DeltaTable(address, storage_options=options).to_pyarrow_table(),
        )
    made.writer().create()
    return made


def append(table: TransactionTable, *reads: ReadRange, days: tuple[date, ...] = ()) -> Append:
    """Files for the rows of all ranges, and the commit that names them; not committed."""
    parts = [rows(read.partition, read.from_offset, read.to_offset, *days) for read in reads]
    files = [file for part in parts for file in table.write_files(part)]
    return Append(uuid.uuid4().hex, reads, files)


def test_an_empty_table_knows_no_position(writers: Writers) -> None:
    view = writers.writer().view()
    assert view.position(FIRST) is None
    assert list(view.last_positions()) == []
    assert writers.offsets() == []


def test_creating_again_keeps_what_is_there(writers: Writers) -> None:
    table = writers.writer()
    table.append(append(table, read_range(FIRST, 0, 3)))
    writers.writer().create()
    assert writers.offsets() == [(0, 0), (0, 1), (0, 2)]


def test_files_without_a_commit_are_not_rows(writers: Writers) -> None:
    table = writers.writer()
    append(table, read_range(FIRST, 0, 3))
    assert writers.offsets() == []
    assert table.view().position(FIRST) is None


def test_one_commit_brings_rows_and_positions_of_several_partitions(writers: Writers) -> None:
    table = writers.writer()
    before = table.view().version
    after = table.append(append(table, read_range(FIRST, 0, 3), read_range(SECOND, 10, 12)))
    view = table.view()
    assert before < after == view.version
    assert (view.position(FIRST), view.position(SECOND)) == (3, 12)
    assert writers.offsets() == [(0, 0), (0, 1), (0, 2), (1, 10), (1, 11)]


def test_rows_of_two_days_lie_in_two_files(writers: Writers) -> None:
    table = writers.writer()
    both = pa.concat_tables([rows(FIRST, 0, 2, date(2026, 11, 24)), rows(FIRST, 2, 5, date(2026, 11, 25))])
    files = table.write_files(both)
    assert sorted((file.event_date, file.rows) for file in files) == [("2026-11-24", 2), ("2026-11-25", 3)]
    table.append(Append(uuid.uuid4().hex, [read_range(FIRST, 0, 5)], files))
    assert len(writers.offsets()) == 5


def test_the_same_offsets_are_not_committed_twice(writers: Writers) -> None:
    table = writers.writer()
    table.append(append(table, read_range(FIRST, 0, 3)))
    with pytest.raises(TableMoved):
        table.append(append(table, read_range(FIRST, 0, 3)))
    assert writers.offsets() == [(0, 0), (0, 1), (0, 2)]


def test_a_commit_of_which_one_partition_moved_is_refused_whole(writers: Writers) -> None:
    table = writers.writer()
    table.append(append(table, read_range(FIRST, 0, 3)))
    with pytest.raises(TableMoved):
        table.append(append(table, read_range(SECOND, 0, 3), read_range(FIRST, 2, 4)))
    assert table.view().position(SECOND) is None


def test_repeating_an_append_whose_reply_was_lost_finds_it(writers: Writers) -> None:
    table = writers.writer()
    wanted = append(table, read_range(FIRST, 0, 3))
    version = table.append(wanted)
    assert writers.writer().append(wanted) == version
    assert writers.offsets() == [(0, 0), (0, 1), (0, 2)]


def test_of_many_writers_of_the_same_offsets_one_wins(writers: Writers) -> None:
    def race(number: int) -> bool:
        table = writers.writer()
        wanted = append(table, read_range(FIRST, 0, 3))
        try:
            table.append(wanted)
        except TableMoved:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(race, range(8)))
    assert won.count(True) == 1
    assert writers.offsets() == [(0, 0), (0, 1), (0, 2)]


def test_writers_of_different_partitions_do_not_hinder_each_other(writers: Writers) -> None:
    partitions = [PartitionId("cluster", "topic-id", number) for number in range(8)]

    def work(partition: PartitionId) -> None:
        table = writers.writer()
        for begin in (0, 2, 4):
            table.append(append(table, read_range(partition, begin, begin + 2)))

    before = writers.writer().view().version
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, partitions))
    assert writers.offsets() == [(number, offset) for number in range(8) for offset in range(6)]
    assert writers.writer().view().version == before + 24


def test_positions_of_an_earlier_life_of_the_topic_stay_known(writers: Writers) -> None:
    table, later = writers.writer(), PartitionId("cluster", "another-topic-id", 0)
    table.append(append(table, read_range(FIRST, 0, 3)))
    table.append(append(table, read_range(later, 0, 5)))
    assert sorted(table.view().last_positions()) == [(TOPIC, later, 5), (TOPIC, FIRST, 3)]


def test_a_range_without_an_accepted_row_moves_the_position(writers: Writers) -> None:
    table = writers.writer()
    table.append(Append("run", [ReadRange(FIRST, TOPIC, 0, 4, 0, {"not_json": 3}, 1)], []))
    assert table.view().position(FIRST) == 4
    assert writers.offsets() == []


def test_recent_rows_are_those_near_the_newest_event(writers: Writers) -> None:
    table = writers.writer()
    assert table.recent(["offset"], 1_000).num_rows == 0
    shifts = (0, 1_500, 2_500)
    for offset, shift_ms in enumerate(shifts):
        files = table.write_files(rows(FIRST, offset, offset + 1, shift_ms=shift_ms))
        table.append(Append(uuid.uuid4().hex, [read_range(FIRST, offset, offset + 1)], files))
    assert sorted(table.recent(["offset", "user_id"], 1_000)["offset"].to_pylist()) == [1, 2]
    assert table.recent(["offset", "user_id"], 2_500).column_names == ["offset", "user_id"]
    assert table.recent(["offset"], 2_500).num_rows == 3


def test_of_many_writers_of_the_same_gap_one_records_it(writers: Writers) -> None:
    with ThreadPoolExecutor(4) as pool:
        recorded = list(pool.map(lambda _: writers.writer().record_gaps([gap(FIRST, 5, 9)]), range(4)))
    assert sorted(map(len, recorded)) == [0, 0, 0, 1]
    assert writers.writer().gaps() == [gap(FIRST, 5, 9)]


def test_each_gap_is_recorded_once(writers: Writers) -> None:
    table = writers.writer()
    one, other = gap(FIRST, 5, 9), gap(SECOND, 3, None)
    assert table.record_gaps([one]) == [one]
    assert writers.writer().record_gaps([one, other]) == [other]
    assert sorted(table.gaps(), key=lambda found: found.partition) == [one, other]


def test_a_gap_that_has_grown_is_told_by_its_new_part(writers: Writers) -> None:
    table = writers.writer()
    assert table.record_gaps([gap(FIRST, 0, 20)]) == [gap(FIRST, 0, 20)]
    assert writers.writer().record_gaps([gap(FIRST, 0, 40)]) == [gap(FIRST, 20, 40)]
    assert table.record_gaps([gap(FIRST, 0, 40), gap(FIRST, 0, 20), gap(FIRST, 30, 40)]) == []
    assert table.record_gaps([gap(FIRST, 60, 70), gap(FIRST, 60, 70)]) == [gap(FIRST, 60, 70)]
    assert lengths(table) == [(0, 20), (20, 40), (60, 70)]


def test_of_writers_that_saw_a_gap_grow_none_tells_what_another_told(writers: Writers) -> None:
    with ThreadPoolExecutor(3) as pool:
        recorded = list(pool.map(lambda to: writers.writer().record_gaps([gap(FIRST, 0, to)]), (20, 30, 40)))
    told = lengths(writers.writer())
    assert [begin for begin, _ in told] == [0, *(end for _, end in told[:-1])]
    assert told[-1][1] == 40
    assert sum(map(len, recorded)) == len(told)


def test_the_end_of_a_topic_is_told_once_also_behind_another_gap(writers: Writers) -> None:
    table = writers.writer()
    table.record_gaps([gap(FIRST, 5, 9)])
    assert table.record_gaps([gap(FIRST, 5, None)]) == [gap(FIRST, 9, None)]
    assert table.record_gaps([gap(FIRST, 5, None)]) == []
    assert lengths(table) == [(5, 9), (9, None)]


def test_a_log_that_was_cut_short_is_told_once_and_again_if_it_is_cut_deeper(writers: Writers) -> None:
    table = writers.writer()
    assert table.record_gaps([gap(FIRST, 9, 5)]) == [gap(FIRST, 9, 5)]
    assert table.record_gaps([gap(FIRST, 9, 5)]) == []
    assert table.record_gaps([gap(FIRST, 9, 7)]) == [], "it grows again"
    assert table.record_gaps([gap(FIRST, 9, 3)]) == [gap(FIRST, 9, 3)]
    assert table.record_gaps([gap(FIRST, 9, None)]) == [gap(FIRST, 9, None)]


def lengths(table: TransactionTable) -> list[tuple[int, int | None]]:
    return sorted((row.from_offset, row.to_offset) for row in table.gaps())


def test_a_log_that_was_cut_off_takes_rows_and_position_back_together(writers: Writers) -> None:
    table = writers.writer()
    other = writers.writer()
    table.append(append(table, read_range(FIRST, 0, 6), read_range(SECOND, 0, 6)))
    planned = msgspec.structs.replace(read_range(FIRST, 6, 8), position=6)
    taken = other.take_back(FIRST, LogPlace(4, 2))
    assert taken is not None
    assert (taken.from_offset, taken.to_offset, taken.rows) == (4, 6, 2)
    assert other.take_back(FIRST, LogPlace(4, 2)) is None, "it stands there already"
    assert table.view().place(FIRST) == LogPlace(4, 2)
    assert (TOPIC, FIRST, 4) in table.view().last_positions()
    assert table.view().place(SECOND) == LogPlace(6, -1)
    # What was planned before must not pass over the offsets in between.
    with pytest.raises(TableMoved):
        table.append(append(table, planned))
    again = msgspec.structs.replace(read_range(FIRST, 4, 7), position=4, leader_epoch=3)
    table.append(append(table, again))
    assert writers.offsets() == [*((0, offset) for offset in range(7)), *((1, offset) for offset in range(6))]
    assert table.view().place(FIRST) == LogPlace(7, 3)


def test_a_position_comes_down_although_no_row_goes(writers: Writers) -> None:
    table = writers.writer()
    table.append(Append("run", [ReadRange(FIRST, TOPIC, 0, 4, 0, {"not_json": 4}, 0)], []))
    taken = table.take_back(FIRST, LogPlace(2, -1))
    assert taken is not None
    assert taken.rows == 0
    assert table.view().place(FIRST) == LogPlace(2, -1)
    assert table.take_back(SECOND, LogPlace(0, -1)) is None, "nothing of it was ever read"
