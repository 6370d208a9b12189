"""Labelled files become the same history whatever their format and names; what is refused is told."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batch.backtest.labels import labelled_columns
from batch.backtest.read_file import FileRequest, judge_labelled, read_file
from batch.backtest.read_lake import frauds_among
from batch.imports.column_map import ImportRefused
from batch.imports.part import Judge
from batch.imports.rows import Rows, Value
from batch.imports.sources import FileFormat, column_names, open_source
from batch.imports.user_ids import PLAIN_IDS, UserIds
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.domain.verdicts import Origin, Verdict
from tests.batch.import_samples import FAR, PARTITION, as_json, write_csv, write_lines
from tests.domain.samples import NOW_S, decoder

HANDBOOK = ["TRANSACTION_ID", "TX_DATETIME", "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT", "TX_FRAUD"]
ROWS: list[tuple[int, str, int, int, float, int]] = [
    (1, "2018-04-01 00:00:31", 596, 3156, 57.16, 0),
    (2, "2018-04-01 00:02:10", 4961, 3412, 81.51, 1),
    (3, "2018-04-01 00:02:10", 2, 1365, 146.0, 0),
]
EXPECTED = [("1", 596, False), ("2", 4961, True), ("3", 2, False)]
Read = tuple[list[tuple[str, int, bool]], list[str]]


def read(file: Path, file_format: FileFormat, fraud: str | None = None) -> Read:
    """(transaction, user, fraud) of the accepted rows, and the codes of the others, without processes."""
    columns = labelled_columns({}, fraud, column_names(file, file_format))
    source = open_source(file, file_format, columns.mapping, 2, (columns.label,))
    judge = Judge(PARTITION, decoder(), DetectionSettings(), FAR)
    rows, codes = [], []
    for chunk in source.chunks(0):
        judged = judge_labelled(judge, chunk, columns.label)
        found = (judged.rows["transaction_id"], judged.rows["user_id"], pa.array(judged.fraud))
        rows += list(zip(*(column.to_pylist() for column in found), strict=True))
        codes += [refused.code for refused in judged.refused]
    return rows, codes


def as_columns(rows: list[tuple[int, str, int, int, float, int]]) -> pa.Table:
    columns = dict(zip(HANDBOOK, map(list, zip(*rows, strict=True)), strict=True))
    times = pa.array(columns.pop("TX_DATETIME")).cast(pa.timestamp("ns"))
    return pa.table(columns).append_column("TX_DATETIME", times)


def test_the_handbook_is_understood_in_every_format(tmp_path: Path) -> None:
    pq.write_table(as_columns(ROWS), tmp_path / "a.parquet")
    write_csv(tmp_path / "a.csv", HANDBOOK, [[str(cell) for cell in row] for row in ROWS])
    lines = [as_json(dict(zip(HANDBOOK, row, strict=True))) for row in ROWS]
    write_lines(tmp_path / "a.jsonl", lines)
    for file_format in FileFormat:
        assert read(tmp_path / f"a.{file_format}", file_format) == (EXPECTED, []), file_format


def line(number: int, **changes: Any) -> dict[str, Any]:
    return {"transaction_id": f"t{number}", "user_id": 7, "amount": 1.5, "timestamp": NOW_S} | changes


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (1, True), (0, False), (True, True), (False, False), ("1", True), ("0", False),
        ("True", True), ("false", False), (None, False), (1.0, True),
        (2, None), ("maybe", None), (0.5, None), ("yes", True), ("No", False), ("1.0", True),
        ("perhaps", None), ([1], None),
    ],
)  # fmt: skip
def test_a_label_says_one_of_two_things_or_the_row_is_refused(
    tmp_path: Path, cell: Any, said: bool | None
) -> None:
    file = write_lines(tmp_path / "a.jsonl", [as_json(line(0, is_fraud=cell))])
    rows, codes = read(file, FileFormat.JSONL)
    assert (rows, codes) == (([], ["label_unknown"]) if said is None else ([("t0", 7, said)], []))


def test_bad_rows_are_refused_and_labels_stay_with_their_rows(tmp_path: Path) -> None:
    lines = [line(0, fraud=1, amount=-1), line(1, fraud=0), line(2, fraud=0), line(3, fraud=1)]
    file = write_lines(tmp_path / "a.jsonl", [*map(as_json, lines), b"{", b""])
    rows, codes = read(file, FileFormat.JSONL)
    assert rows == [("t1", 7, False), ("t2", 7, False), ("t3", 7, True)]
    assert codes == ["refund", "not_json"]


class CountingRows:
    """Rows that note how often a whole column of them is made."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self.made = 0

    def values(self, user_ids: UserIds = PLAIN_IDS) -> list[Value]:
        return self._rows.values(user_ids)

    def cells(self, column: str) -> list[Any]:
        self.made += 1
        return self._rows.cells(column)

    def original(self, index: int, value: bytes) -> bytes:
        return self._rows.original(index, value)


def test_labels_of_a_chunk_are_read_once_however_many_say_nothing_known(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "a.jsonl", [as_json(line(n, fraud="perhaps")) for n in range(50)])
    (chunk,) = open_source(file, FileFormat.JSONL, {}).chunks(0)
    rows = CountingRows(chunk.rows)
    judged = judge_labelled(
        Judge(PARTITION, decoder(), DetectionSettings(), FAR), chunk._replace(rows=rows), "fraud"
    )
    assert len(judged.refused) == 50
    assert rows.made == 1


def test_a_file_is_read_by_processes_and_put_in_order_of_time(tmp_path: Path) -> None:
    late = [line(0, fraud=0, timestamp=NOW_S + 5), line(1, fraud=1), line(2, fraud=3), line(3, fraud=0)]
    file = write_lines(tmp_path / "a.jsonl", list(map(as_json, late)))
    told: list[tuple[int, int]] = []
    request = FileRequest(file, FileFormat.JSONL, {}, None, DetectionSettings())
    found = read_file(request, 1, lambda done, in_all: told.append((done, in_all)))
    assert found.history.rows["transaction_id"].to_pylist() == ["t1", "t3", "t0"]
    assert found.history.rows["offset"].to_pylist() == [0, 1, 2]
    assert found.history.fraud.tolist() == [True, False, False]
    assert (found.rows, found.refusals.by_code) == (4, {"label_unknown": 1})
    assert found.refusals.first[0].startswith("row 2: fraud: 3 in column fraud is none of 1, true,")
    assert told[-1] == (file.stat().st_size, file.stat().st_size)


def test_columns_are_found_by_name_and_a_mapping_goes_first() -> None:
    assert labelled_columns({}, None, HANDBOOK).mapping["merchant_id"] == "TERMINAL_ID"
    chosen = labelled_columns(
        {"merchant_id": "CUSTOMER_ID"}, "TX_FRAUD_SCENARIO", [*HANDBOOK, "TX_FRAUD_SCENARIO"]
    )
    assert (chosen.mapping["merchant_id"], chosen.label) == ("CUSTOMER_ID", "TX_FRAUD_SCENARIO")
    own = labelled_columns({}, None, ["transaction_id", "TRANSACTION_ID", "fraud"])
    assert own.mapping == {}


@pytest.mark.parametrize(
    ("fraud", "available", "said"),
    [
        (None, ["transaction_id"], "no column says what was fraud"),
        (None, ["fraud", "is_fraud"], "fraud and is_fraud could be the label"),
        ("verdict", ["fraud"], "--map fraud=verdict: the file has no such column"),
    ],
)
def test_a_label_that_is_not_clear_is_refused(fraud: str | None, available: list[str], said: str) -> None:
    with pytest.raises(ImportRefused, match=said):
        labelled_columns({}, fraud, available)


def verdict(number: int, transaction_id: str, fraud: bool | None, known_ms: int, user_id: int = 7) -> Verdict:
    return Verdict(number, transaction_id, user_id, None, None, fraud, known_ms, Origin.CHARGEBACK)


def test_rows_of_the_lake_are_what_verdicts_call_them_by_now() -> None:
    rows = pa.table({"transaction_id": ["a", "b", "c", "d", "a"], "user_id": [7, 7, 7, 7, 8]})
    verdicts = [
        verdict(1, "a", True, 10),
        verdict(2, "b", True, 10),
        verdict(3, "b", None, 20),
        verdict(4, "c", True, 31),
        verdict(5, "d", False, 10),
    ]
    assert np.flatnonzero(frauds_among(rows, verdicts, 30)).tolist() == [0]
    assert np.flatnonzero(frauds_among(rows, verdicts, 31)).tolist() == [0, 2]
    assert np.flatnonzero(frauds_among(rows, verdicts, 15)).tolist() == [0, 1]
