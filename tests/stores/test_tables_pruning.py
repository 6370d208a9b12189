"""What is known of files from their statistics never leaves out a row: every type, pruned and not pruned."""

import random
import string
import struct
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from deltalake import CommitProperties, DeltaTable, Schema, write_deltalake
from pyarrow import fs

from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.tables.data_files import add_action, write_data_files
from ray_fraud.stores.tables.dataset import table_dataset
from ray_fraud.stores.tables.query import query
from ray_fraud.stores.tables.records import RecordTable

FILES, ROWS = 4, 5
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
COMPARED = (ds.Expression.__eq__, ds.Expression.__lt__, ds.Expression.__le__, ds.Expression.__gt__)


def _moment(chance: random.Random) -> datetime:
    edge = timedelta(microseconds=chance.choice((1, 499, 500, 501, 999, chance.randrange(1_000))))
    seconds = chance.choice((0, 1_790_000_000, -30_000_000_000, 90_000_000_000))
    return EPOCH + timedelta(seconds=seconds + chance.randrange(2)) + chance.choice((1, -1)) * edge


def _text(chance: random.Random) -> str:
    shared = chance.choice(("", "é" * 31, "x" * 31, "x" * 70, "\U0010ffff" * 40, "\ud7ff" * 33, "😀" * 20))
    return shared + "".join(chance.choices(string.printable + "äß☃\U0010ffff\uffff", k=chance.randrange(2)))


def _double(chance: random.Random) -> float:
    special = (float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 5e-324, 1.7976931348623157e308)
    any_bits: float = struct.unpack("<d", chance.randbytes(8))[0]
    return chance.choice((*special, any_bits, any_bits, chance.random(), chance.random() * 1e16))


def _integer(chance: random.Random) -> int:
    near = chance.choice((2**53, 2**63 - 1, -(2**63), -(2**53), 0))
    return max(-(2**63), min(2**63 - 1, near + chance.randrange(-3, 4)))


VALUES: dict[str, tuple[pa.DataType, Callable[[random.Random], Any]]] = {
    "long": (pa.int64(), _integer),
    "int": (pa.int32(), lambda chance: chance.choice((2**31 - 1, -(2**31), chance.randrange(100)))),
    "short": (pa.int16(), lambda chance: chance.randrange(-(2**15), 2**15)),
    "byte": (pa.int8(), lambda chance: chance.randrange(-128, 128)),
    "float": (pa.float32(), lambda chance: struct.unpack("<f", chance.randbytes(4))[0]),
    "double": (pa.float64(), _double),
    "bool": (pa.bool_(), lambda chance: chance.random() < 0.5),
    "text": (pa.string(), _text),
    "bytes": (pa.binary(), lambda chance: chance.randbytes(chance.choice((0, 1, 40)))),
    "day": (pa.date32(), lambda chance: chance.choice((date.min, date.max, date(2026, 1, 1)))),
    "at": (pa.timestamp("us", "UTC"), _moment),
    "money": (
        pa.decimal128(38, 6),
        lambda chance: Decimal(chance.randrange(-(10**30), 10**30)).scaleb(-6),
    ),
    "cents": (pa.decimal128(9, 2), lambda chance: Decimal(chance.randrange(10**6)).scaleb(-2)),
}


def _rows(chance: random.Random) -> pa.Table:
    """A file's rows: of few values each, so that files differ; a column may be null throughout."""
    columns = {}
    for name, (kind, value) in VALUES.items():
        few = [value(chance) for _ in range(chance.randrange(1, 4))] + [None] * chance.choice((0, 0, 1, 3))
        columns[name] = pa.array([chance.choice(few) for _ in range(ROWS)], kind)
    return pa.table(columns)


def _by_delta_rs(address: str, parts: list[pa.Table]) -> None:
    for part in parts:
        write_deltalake(address, part, mode="append")


def _compacted(address: str, parts: list[pa.Table]) -> None:
    """Written, made into few files and read through a checkpoint."""
    _by_delta_rs(address, parts[:2])
    DeltaTable(address).optimize.compact()
    _by_delta_rs(address, parts[2:])
    DeltaTable(address).create_checkpoint()


@pytest.mark.parametrize("write", [_by_delta_rs, _compacted])
@pytest.mark.parametrize("seed", range(2))
def test_what_is_pruned_is_what_a_look_at_every_row_leaves_out(
    write: Callable[[str, list[pa.Table]], None], seed: int, tmp_path: Path
) -> None:
    chance = random.Random(seed)
    parts = [_rows(chance) for _ in range(FILES)]
    write(f"{tmp_path}/scores", parts)
    pruned = table_dataset(LakeLocation(tmp_path.as_uri()), "scores", DeltaTable(f"{tmp_path}/scores"))
    whole = ds.dataset(pa.concat_tables(parts))
    for name, (kind, _) in VALUES.items():
        values = {repr(value): value for part in parts for value in part[name].to_pylist()}
        for value in values.values():
            for compared in COMPARED:
                column = ds.field(name)
                asked = column.is_null() if value is None else compared(column, pa.scalar(value, kind))
                said = f"{name} {compared.__name__} {value!r}"
                found, there = (one.count_rows(filter=asked) for one in (pruned, whole))
                # Arrow itself lets NaN through where a Parquet file's own bounds say that all rows match.
                assert found >= there if pa.types.is_floating(kind) else found == there, said


def test_sql_finds_every_row_by_every_value_that_is_there(tmp_path: Path) -> None:
    chance = random.Random(7)
    parts = [_rows(chance) for _ in range(FILES)]
    _by_delta_rs(f"{tmp_path}/scores", parts)
    pruned = table_dataset(LakeLocation(tmp_path.as_uri()), "scores", DeltaTable(f"{tmp_path}/scores"))
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("pruned", pruned)
        connection.register("given", pa.concat_tables(parts))
        connection.execute("CREATE TABLE whole AS SELECT * FROM given")
        for name in VALUES:
            ends = f'SELECT DISTINCT "{name}" FROM whole WHERE "{name}" IS NOT NULL ORDER BY 1'  # noqa: S608
            for (value,) in connection.execute(ends).fetchall():
                for compared in ("=", "<", ">="):
                    where = f'"{name}" {compared} ?'
                    counts = [
                        connection.execute(f"SELECT count(*) FROM {table} WHERE {where}", [value]).fetchone()  # noqa: S608
                        for table in ("pruned", "whole")
                    ]
                    assert counts[0] == counts[1], f"{name} {compared} {value!r}"


def test_sql_finds_the_record_of_a_deletion_by_the_time_that_it_shows(tmp_path: Path) -> None:
    lake = LakeLocation(tmp_path.as_uri())
    at = datetime(2026, 11, 30, 12, 0, 4, 861_141, tzinfo=UTC)
    event = {"deletion_id": "d", "event": "done", "at": at, "user_id": 2**63 - 1, "who": "w", "reason": "r"}
    RecordTable(lake, "lake_deletions").add("d", event)
    for compared in (">=", "=", "<="):
        sql = f"SELECT user_id FROM lake_deletions WHERE \"at\" {compared} '2026-11-30T12:00:04.861141Z'"  # noqa: S608
        assert query(lake, sql, None, 5).rows == [[2**63 - 1]], compared
    assert query(lake, f"SELECT 1 FROM lake_deletions WHERE user_id = {2**63 - 1}", None, 5).rows == [[1]]  # noqa: S608


def test_statistics_of_our_own_files_hold_for_readers_who_take_them_as_exact(tmp_path: Path) -> None:
    at = [EPOCH + timedelta(seconds=5, microseconds=us) for us in (1, 861_141)]
    rows = pa.table(
        {
            "at": pa.array(at, pa.timestamp("us", "UTC")),
            "text": ["x" * 500, "y" * 500],
            "number": pa.array([0.1 + 0.2, 1e300 / 3], pa.float64()),
            "event_date": pa.array([date(1970, 1, 1)] * 2),
        }
    )
    address = f"{tmp_path}/scores"
    table = DeltaTable.create(address, rows.schema, partition_by=["event_date"])
    files = write_data_files(fs.LocalFileSystem(), address, rows)
    table.create_write_transaction(
        [add_action(file) for file in files],
        mode="append",
        schema=Schema.from_arrow(rows.schema),
        partition_by=["event_date"],
        commit_properties=CommitProperties(),
    )
    opened = DeltaTable(address)
    for name in ("at", "text", "number"):
        for value in rows[name].to_pylist():
            for compared in ("=", ">=", "<="):
                found = opened.to_pyarrow_table(filters=[(name, compared, value)])
                assert found.num_rows >= 1, (name, compared, value)
