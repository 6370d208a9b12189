"""A table that an older or a newer release made: columns come, rows stay, nobody breaks."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, Field, write_deltalake
from deltalake.schema import PrimitiveType

from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.tables.columns import PARTITION_COLUMN, SCHEMA
from ray_fraud.stores.tables.delta import DeltaTransactions
from ray_fraud.stores.tables.port import Append
from tests.stores.table_samples import FIRST, read_range, rows

OLDER = pa.schema([field for field in SCHEMA if field.name not in ("channel", "card_last4")])
"""As a release without two optional fields made it."""


def opened(folder: Path) -> DeltaTable:
    return DeltaTable(f"{folder}/transactions")


def names(folder: Path) -> list[str]:
    return [field.name for field in opened(folder).schema().fields]


def append(table: DeltaTransactions, begin: int, end: int) -> None:
    files = table.write_files(rows(FIRST, begin, end))
    table.append(Append(f"run-{begin}", [read_range(FIRST, begin, end)], files))


@pytest.fixture
def older(tmp_path: Path) -> DeltaTransactions:
    """A table with two rows of an older release."""
    write_deltalake(
        f"{tmp_path}/transactions",
        rows(FIRST, 0, 2).select(OLDER.names).cast(OLDER),
        partition_by=[PARTITION_COLUMN],
    )
    return DeltaTransactions(LakeLocation(tmp_path.as_uri()))


def test_a_newer_release_adds_its_optional_columns_and_old_rows_read_null(
    older: DeltaTransactions, tmp_path: Path
) -> None:
    older.create()
    assert set(names(tmp_path)) == set(SCHEMA.names)
    append(older, 2, 4)
    read = opened(tmp_path).to_pyarrow_table().sort_by("offset")
    assert read["offset"].to_pylist() == [0, 1, 2, 3]
    assert read["channel"].null_count == 4
    assert older.recent(["offset", "channel"], 1_000).num_rows == 4


def test_opening_it_again_changes_nothing(older: DeltaTransactions, tmp_path: Path) -> None:
    older.create()
    version = opened(tmp_path).version()
    older.create()
    assert opened(tmp_path).version() == version


def test_several_that_open_it_at_once_add_each_column_once(older: DeltaTransactions, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        for made in [pool.submit(older.create) for _ in range(4)]:
            made.result()
    assert sorted(names(tmp_path)) == sorted(SCHEMA.names)


def test_an_older_release_reads_and_writes_a_table_of_a_newer_one(tmp_path: Path) -> None:
    table = DeltaTransactions(LakeLocation(tmp_path.as_uri()))
    table.create()
    append(table, 0, 2)
    opened(tmp_path).alter.add_columns([Field("wallet_id", PrimitiveType("string"))])
    newer = rows(FIRST, 2, 3).append_column("wallet_id", pa.array(["w-1"]))
    write_deltalake(opened(tmp_path), newer, mode="append")

    table.create()
    append(table, 3, 5)
    assert names(tmp_path)[-1] == "wallet_id"
    assert table.rows() == 5
    assert sorted(table.recent(["offset", "amount"], 1_000)["offset"].to_pylist()) == [0, 1, 2, 3, 4]
    read = opened(tmp_path).to_pyarrow_table(columns=["offset", "wallet_id"]).sort_by("offset")
    assert read["wallet_id"].to_pylist() == [None, None, "w-1", None, None]


def test_a_table_without_a_required_column_is_another_table(tmp_path: Path) -> None:
    at = datetime(2026, 11, 25, tzinfo=UTC)
    write_deltalake(
        f"{tmp_path}/transactions",
        pa.table({"event_time": [at], PARTITION_COLUMN: [date(2026, 11, 25)]}),
        partition_by=[PARTITION_COLUMN],
    )
    with pytest.raises(StoreRefused, match="topic_id"):
        DeltaTransactions(LakeLocation(tmp_path.as_uri())).create()
