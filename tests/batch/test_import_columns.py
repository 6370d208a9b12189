"""Which column is which field, and what is told before anything is written."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batch.imports.column_map import ImportRefused, described, map_columns, map_keys, parse_mapping
from batch.imports.rows import Chunk
from batch.imports.sources import FileFormat, format_of, open_source
from tests.batch.import_samples import write_csv, write_lines

REQUIRED = ["transaction_id", "user_id", "amount", "timestamp"]


def test_columns_are_called_like_their_fields_unless_a_mapping_says_otherwise() -> None:
    mapping = parse_mapping(["amount=TX_AMOUNT", "location.lat=Y", "lon=X=1"])
    found = map_columns(mapping, [*REQUIRED, "TX_AMOUNT", "X=1", "Y", "city", "note"])
    assert found.columns == {
        "transaction_id": "transaction_id",
        "user_id": "user_id",
        "amount": "TX_AMOUNT",
        "timestamp": "timestamp",
        "lat": "Y",
        "lon": "X=1",
        "city": "city",
    }
    assert found.ignored == ("amount", "note")


def test_a_column_with_members_is_the_location_and_flat_ones_are_not() -> None:
    found = map_columns({}, [*REQUIRED, "lat", "lon", "location"], ["location"])
    assert found.columns["location"] == "location"
    assert found.ignored == ("lat", "lon")


@pytest.mark.parametrize("columns", [["city", "country"], ["lat", "city"], ["location"]])
def test_half_a_place_is_none(columns: list[str]) -> None:
    assert map_columns({}, [*REQUIRED, *columns]).ignored == tuple(columns)


@pytest.mark.parametrize(
    ("pairs", "hint"),
    [
        (["amount"], "FIELD=COLUMN"),
        (["amount="], "FIELD=COLUMN"),
        (["amuont=A"], "there is no field amuont; fields are transaction_id,"),
        (["amount=A", "amount=B"], "amount is mapped to A already"),
        (["location=L", "lat=Y"], "exclude each other"),
    ],
)
def test_a_mapping_that_cannot_be_is_explained(pairs: list[str], hint: str) -> None:
    with pytest.raises(ImportRefused, match=hint):
        parse_mapping(pairs)


@pytest.mark.parametrize(
    ("mapping", "columns", "hint"),
    [
        (
            {},
            ["user_id", "when"],
            "no column for transaction_id, amount, timestamp; the file has user_id, when;",
        ),
        ({"amount": "AMT"}, REQUIRED, "--map amount=AMT: the file has no such column; it has transaction_id"),
        ({}, [*REQUIRED, "amount"], "column amount is in the file more than once"),
        ({"city": "town"}, [*REQUIRED, "town"], "a location needs both lat and lon"),
        ({"location": "place"}, [*REQUIRED, "place"], "no members lat and lon"),
    ],
)
def test_columns_that_are_missing_are_named(mapping: dict[str, str], columns: list[str], hint: str) -> None:
    with pytest.raises(ImportRefused, match=hint):
        map_columns(mapping, columns)


def test_keys_of_json_lines_are_looked_for_in_the_first_lines() -> None:
    assert map_keys({}, [*REQUIRED, "note"]).ignored == ("note",)
    assert map_keys({}, []).columns["amount"] == "amount"
    with pytest.raises(ImportRefused, match="no column for amount"):
        map_keys({"amount": "AMT"}, REQUIRED)


def test_equal_mappings_have_one_description() -> None:
    assert described({"b": "2", "a": "1"}) == described({"a": "1", "b": "2"}) == "import a=1 b=2"


@pytest.mark.parametrize(
    ("name", "content", "hint"),
    [
        ("x.parquet", b"no", "no Parquet file"),
        ("x.csv", b"", "no header"),
        ("x.csv", b"\n", "no header"),
        ("x.csv", b"transaction_id:user_id:amount:timestamp\n", "no column for"),
        ("x.jsonl", b'{"a": 1}\n', "no column for transaction_id"),
        ("x.txt", b"", "the name says no format"),
    ],
)
def test_a_file_that_cannot_be_used_is_explained(
    tmp_path: Path, name: str, content: bytes, hint: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(ImportRefused, match=hint) as caught:
        open_source(file, format_of(file), {})
    assert name in str(caught.value)


def test_files_without_rows_have_none(tmp_path: Path) -> None:
    parquet = tmp_path / "x.parquet"
    pq.write_table(pa.table({name: pa.array([], pa.string()) for name in REQUIRED}), parquet)
    files = {
        FileFormat.PARQUET: parquet,
        FileFormat.CSV: write_csv(tmp_path / "x.csv", REQUIRED, []),
        FileFormat.JSONL: write_lines(tmp_path / "x.jsonl", []),
    }
    for file_format, file in files.items():
        assert list(open_source(file, file_format, {}).chunks(0)) == []


def test_a_damaged_file_is_refused_where_the_damage_is(tmp_path: Path) -> None:
    file = tmp_path / "x.parquet"
    rows = 5_000
    columns = {name: [f"{name} {number}" for number in range(rows)] for name in REQUIRED}
    pq.write_table(pa.table(columns), file, row_group_size=1_000, compression="zstd")
    content = bytearray(file.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 2_000] = bytes(2_000)
    file.write_bytes(content)
    chunks = open_source(file, FileFormat.PARQUET, {}, 100).chunks(0)
    read: list[Chunk] = []
    with pytest.raises(ImportRefused, match="cannot be read on"):
        read.extend(chunks)
    assert [chunk.first_row for chunk in read] == list(range(0, 100 * len(read), 100))
