"""A table as an Arrow dataset: a filter on any column finds every row, whatever the statistics lack."""

from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.transaction import AddAction

from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.tables.dataset import table_dataset

WIDE = 40
"""Columns; delta-rs makes statistics of the first 32."""


def content(begin: int, end: int) -> pa.Table:
    numbers = list(range(begin, end))
    columns = {f"c{number}": numbers for number in range(WIDE)}
    texts = [None if number % 2 else "x" * 100 for number in numbers]
    maybe = [None if number % 2 else number for number in numbers]
    return pa.table(
        {"maybe": maybe, **columns, "text": texts, "day": [f"day {number % 3}" for number in numbers]}
    )


@pytest.fixture
def dataset(tmp_path: Path) -> ds.Dataset:
    address = f"{tmp_path}/scores"
    for begin in (0, 10):
        write_deltalake(address, content(begin, begin + 10), mode="append", partition_by=["day"])
    return table_dataset(LakeLocation(tmp_path.as_uri()), "scores", DeltaTable(address))


@pytest.mark.parametrize(
    ("filter_", "count"),
    [
        (ds.field("c0") == 3, 1),
        (ds.field(f"c{WIDE - 1}") >= 5, 15),
        (ds.field("maybe").is_null(), 10),
        (ds.field("maybe") == 4, 1),
        (ds.field("text").is_null(), 10),
        (ds.field("text") == "x" * 100, 10),
        (ds.field("day") == "day 1", 7),
        (ds.field("day") == "day 3", 0),
        ((ds.field("c0") < 10) & (ds.field("day") == "day 0"), 4),
    ],
)
def test_a_filter_finds_what_is_there(dataset: ds.Dataset, filter_: ds.Expression, count: int) -> None:
    assert dataset.to_table(filter=filter_).num_rows == count
    assert dataset.count_rows() == 20


def test_files_are_skipped_by_what_is_known_of_them(dataset: ds.Dataset) -> None:
    assert len(list(dataset.get_fragments())) == 6
    assert len(list(dataset.get_fragments(ds.field("c0") == 3))) == 3
    assert len(list(dataset.get_fragments((ds.field("c0") == 3) & (ds.field("day") == "day 1")))) == 1


def test_a_table_that_needs_more_than_its_files_is_refused(tmp_path: Path) -> None:
    address = f"{tmp_path}/scores"
    write_deltalake(
        address,
        content(0, 2),
        configuration={"delta.enableDeletionVectors": "true"},
        name="another program's",
    )
    with pytest.raises(StoreRefused, match="needs a reader"):
        table_dataset(LakeLocation(tmp_path.as_uri()), "scores", DeltaTable(address))


def test_a_column_of_which_only_nulls_are_counted_can_be_asked_for(tmp_path: Path) -> None:
    address = f"{tmp_path}/scores"
    rows = pa.table({"score": [0.5, 0.9]})
    write_deltalake(address, rows.slice(0, 0))
    pq.write_table(rows, f"{address}/part.parquet")
    stats = '{"numRecords": 2, "nullCount": {"score": 0}, "minValues": {}, "maxValues": {}}'
    table = DeltaTable(address)
    size = Path(f"{address}/part.parquet").stat().st_size
    add = AddAction("part.parquet", size, {}, 0, data_change=True, stats=stats)
    table.create_write_transaction([add], mode="append", schema=table.schema(), partition_by=[])
    dataset = table_dataset(LakeLocation(tmp_path.as_uri()), "scores", DeltaTable(address))
    assert dataset.to_table(filter=ds.field("score") > 0.6).num_rows == 1
