"""What a table with positions promises: in a folder and on an S3 server."""

import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.feature_tables.lake import LakeFeatureTables
from ray_fraud.stores.lake import lake_filesystem
from ray_fraud.stores.tables.feature_columns import SCORE_SCHEMA, SCORES
from ray_fraud.stores.tables.port import DataFile, TableMoved
from ray_fraud.stores.tables.positioned import Move, PositionedTable
from ray_fraud.stores.tables.retry import repeated

MOMENT = datetime(2026, 11, 25, 12, tzinfo=UTC)
Make = Callable[[], PositionedTable]


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.servers)])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> LakeLocation:
    if request.param == "folder":
        return LakeLocation(tmp_path.as_uri())
    found: LakeLocation = request.getfixturevalue("s3_lake")
    return found


@pytest.fixture
def make(lake: LakeLocation) -> Make:
    def another() -> PositionedTable:
        return PositionedTable(lake, SCORES, SCORE_SCHEMA)

    another().create()
    return another


def rows(first: int, last: int) -> pa.Table:
    made = [
        {
            "topic_id": "topic",
            "partition": 0,
            "offset": offset,
            "transaction_id": f"t{offset}",
            "user_id": offset,
            "model": "forest:1",
            "model_digest": "d1",
            "score": 0.5,
            "threshold": 0.7,
            "anomaly": False,
            "live": True,
            "record_time": MOMENT,
            "event_time": MOMENT,
            "event_date": MOMENT.date(),
        }
        for offset in range(first, last)
    ]
    return pa.Table.from_pylist(made, schema=SCORE_SCHEMA)


def commit(table: PositionedTable, move: Move, files: list[DataFile]) -> int:
    return table.commit(uuid.uuid4().hex, [move], files, {"note": "a test"})


def offsets(table: PositionedTable) -> list[int]:
    return sorted(table.read([], ["offset"])["offset"].to_pylist())


def test_rows_and_position_come_together(make: Make) -> None:
    table = make()
    files = table.write_files(rows(0, 3))
    assert (table.position("p"), table.rows()) == (None, 0)
    version = commit(table, Move("p", None, 3), files)
    assert (version, make().position("p"), make().rows(), offsets(make())) == (1, 3, 3, [0, 1, 2])
    commit(table, Move("p", 3, 5), table.write_files(rows(3, 5)))
    assert (make().position("p"), offsets(make())) == (5, [0, 1, 2, 3, 4])


@pytest.mark.parametrize("move", [Move("p", None, 9), Move("p", 2, 9), Move("p", 4, 9)])
def test_a_position_that_stands_elsewhere_refuses_the_commit(make: Make, move: Move) -> None:
    table = make()
    commit(table, Move("p", None, 3), table.write_files(rows(0, 3)))
    with pytest.raises(TableMoved):
        commit(table, move, table.write_files(rows(3, 9)))
    assert (table.position("p"), offsets(table)) == (3, [0, 1, 2])


def test_filters_find_exactly_their_rows(make: Make) -> None:
    table = make()
    commit(table, Move("p", None, 10), [*table.write_files(rows(0, 5)), *table.write_files(rows(5, 10))])
    found = table.read([("partition", "=", 0), ("offset", ">=", 4), ("offset", "<", 7)], ["offset"])
    assert sorted(found["offset"].to_pylist()) == [4, 5, 6]
    assert table.read([("model", "=", "another")], ["offset"]).num_rows == 0


def test_of_eight_writers_of_one_stretch_one_wins(make: Make) -> None:
    def write(_: int) -> bool:
        table = make()
        files = table.write_files(rows(0, 3))
        run_id = uuid.uuid4().hex
        try:
            repeated(
                "a commit", lambda: table.commit(run_id, [Move("p", None, 3)], files, {}), lambda _: None
            )
        except TableMoved:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(write, range(8))) == 1
    assert offsets(make()) == [0, 1, 2]


def test_writers_of_different_positions_all_get_in(make: Make) -> None:
    def write(number: int) -> None:
        table = make()
        files = table.write_files(rows(number, number + 1))
        run_id = uuid.uuid4().hex
        move = Move(f"p{number}", None, number + 1)
        repeated("a commit", lambda: table.commit(run_id, [move], files, {}), lambda _: None)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(6)))
    assert offsets(make()) == list(range(6))


def test_feature_tables_are_kept_there_too(lake: LakeLocation) -> None:
    files = LakeFeatureTables(*lake_filesystem(lake))
    digest = files.put(b"content")
    assert files.load(digest) == b"content"
    assert abs(files.digests()[digest] - time.time()) < 60
    files.remove(digest)
    files.remove(digest)
    assert files.digests() == {}


def test_a_log_that_was_cut_off_takes_rows_and_position_back(lake: LakeLocation) -> None:
    table = PositionedTable(lake, SCORES, SCORE_SCHEMA)
    partition = PartitionId("cluster", "topic", 0)
    assert table.take_back(partition, 3, "p") is None, "there is no table yet"
    table.create()
    assert table.take_back(partition, 3, "p") is None
    table.commit("run", [Move("p", None, 6)], table.write_files(rows(0, 6)), {})
    taken = table.take_back(partition, 3, "p")
    assert taken is not None
    assert taken.rows == table.rows() == 3
    assert table.position("p") == 3
    table.commit("next", [Move("p", 3, 5)], table.write_files(rows(3, 5)), {})
    assert sorted(table.read([], ["offset"])["offset"].to_pylist()) == [0, 1, 2, 3, 4]
