"""The handbook's rows as a file, complete or not there, and as a stream."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.csv
import pyarrow.parquet
import pytest

from ray_fraud.generator.encode import encode_transaction
from ray_fraud.generator.handbook import HandbookSettings, HandbookTransactions, handbook_transactions
from ray_fraud.generator.handbook_file import HandbookFileError, write_handbook
from ray_fraud.generator.handbook_stream import handbook_stream
from ray_fraud.generator.transaction import HandbookScenario

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
    file = tmp_path / "f.jsonl"
    file.write_bytes(b"old")
    broken = HandbookTransactions(**vars(made) | {"amount": made.amount[:-1]})
    with pytest.raises(ValueError, match="shorter"):
        write_handbook(broken, file)
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_the_stream_carries_the_same_rows_with_their_labels(made: HandbookTransactions) -> None:
    stream = list(handbook_stream(made))
    assert len(stream) == len(made)
    names = ("none", *HandbookScenario)
    for row, sent in zip(rows_of(made), stream, strict=True):
        value = json.loads(encode_transaction(sent.transaction))
        assert value == {
            "transaction_id": str(row["transaction_id"]),
            "timestamp": row["timestamp"],
            "user_id": row["user_id"],
            "merchant_id": str(row["merchant_id"]),
            "amount": row["amount"],
        }
        assert (sent.label.is_fraud, sent.label.scenario) == (row["fraud"] == 1, names[row["scenario"]])
