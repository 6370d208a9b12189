"""The handbook's file: the same rows in every format, complete or not there."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.csv
import pyarrow.parquet
import pytest

from ray_fraud.generator.handbook import HandbookSettings, HandbookTransactions, handbook_transactions
from ray_fraud.generator.handbook_file import HandbookFileError, write_handbook

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def made() -> HandbookTransactions:
    return handbook_transactions(HandbookSettings(customers=100, terminals=500, days=10))


def rows_of(made: HandbookTransactions) -> Rows:
    columns = vars(made)
    return [
        dict(zip(columns, row, strict=True))
        for row in zip(*(c.tolist() for c in columns.values()), strict=True)
    ]


def from_lines(file: Path) -> Rows:
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert all(isinstance(line[name], str) for line in lines for name in ("transaction_id", "merchant_id"))
    return [line | {name: int(line[name]) for name in ("transaction_id", "merchant_id")} for line in lines]


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("f.parquet", lambda file: pyarrow.parquet.read_table(file).to_pylist()),
        ("f.CSV", lambda file: pyarrow.csv.read_csv(file).to_pylist()),
        ("f.jsonl", from_lines),
        ("new/folder/f.ndjson", from_lines),
    ],
)
def test_a_file_holds_every_row_to_the_last_bit(
    made: HandbookTransactions, tmp_path: Path, name: str, read: Callable[[Path], Rows]
) -> None:
    write_handbook(made, tmp_path / name)
    assert read(tmp_path / name) == rows_of(made)


def test_an_ending_that_says_no_format_is_refused(made: HandbookTransactions, tmp_path: Path) -> None:
    with pytest.raises(HandbookFileError, match=r"f\.xlsx: the ending must be one of \.parquet, \.csv"):
        write_handbook(made, tmp_path / "f.xlsx")
    assert list(tmp_path.iterdir()) == []


def test_what_could_not_be_written_leaves_the_old_file_and_nothing_else(
    made: HandbookTransactions, tmp_path: Path
) -> None:
    file = tmp_path / "f.parquet"
    file.write_bytes(b"old")
    broken = HandbookTransactions(**vars(made) | {"amount": made.amount[:-1]})
    with pytest.raises(ValueError, match="Column"):
        write_handbook(broken, file)
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]
