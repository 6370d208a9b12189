"""Importing verdicts: what a row says, which rows are refused and why, and that a second run adds nothing."""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.imports.column_map import ImportRefused
from batch.imports.part import Refused
from batch.imports.rejected_file import RejectedFile
from batch.imports.sources import FileFormat
from batch.verdicts.job import CHUNK_ROWS, VerdictImportReport, import_verdicts
from batch.verdicts.rows import COLUMNS, Defaults, verdict_of
from batch.verdicts.source import SourceRow, rows_of
from ray_fraud.domain.rejection import Rejection
from ray_fraud.domain.verdicts import Origin
from ray_fraud.stores.errors import StoreUnavailable
from ray_fraud.stores.ledger.memory import Fault, MemoryDatabase
from ray_fraud.stores.verdicts.memory import MemoryVerdicts
from ray_fraud.stores.verdicts.port import NewVerdict, why_refused

NOW_MS = 1_764_000_000_000
KNOWN_MS = 1_763_000_000_500
DEFAULTS = Defaults(Origin.CHARGEBACK, "bank")
GOOD = {"transaction_id": "t1", "user_id": 7, "verdict": "true_fraud"}


class Lines:
    """A side file in memory."""

    def __init__(self) -> None:
        self.refused: list[Refused] = []

    def keep_below(self, position: int) -> None:
        self.refused = [each for each in self.refused if each.row < position]

    def add(self, refused: Iterable[Refused]) -> None:
        self.refused += refused

    def flush(self) -> None:
        """Nothing is held back."""


def source_rows(rows: Sequence[dict[str, Any]]) -> list[SourceRow]:
    return [SourceRow(number, row, json.dumps(row).encode()) for number, row in enumerate(rows)]


def run(
    rows: Iterable[SourceRow], database: MemoryDatabase, lines: Lines | RejectedFile
) -> VerdictImportReport:
    return import_verdicts(rows, MemoryVerdicts(database), lines, "verdicts:x", DEFAULTS, NOW_MS)


def database() -> MemoryDatabase:
    return MemoryDatabase(now_ms=lambda: NOW_MS)


def test_a_row_says_what_its_cells_say() -> None:
    row = {
        **GOOD,
        "verdict": "taken_back",
        "merchant_id": "shop",
        "event_time": 1_762_999_999.25,
        "known_at": "2025-11-13T02:13:20.500",
        "origin": "analyst",
        "reviewer": "ana",
        "note": "called",
    }
    assert verdict_of(row, DEFAULTS, NOW_MS) == NewVerdict(
        transaction_id="t1",
        user_id=7,
        fraud=None,
        origin=Origin.ANALYST,
        merchant_id="shop",
        event_ms=1_762_999_999_250,
        known_ms=KNOWN_MS,
        reviewer="ana",
        note="called",
    )


def test_text_stands_for_numbers_and_numbers_for_text_and_empty_cells_are_absent() -> None:
    row = {"transaction_id": 17, "user_id": "7", "verdict": "false_positive", "known_at": "1763000000.5"}
    absent = dict.fromkeys(("merchant_id", "event_time", "origin", "reviewer", "note"), "")
    assert verdict_of(row | absent, DEFAULTS, NOW_MS) == NewVerdict(
        transaction_id="17", user_id=7, fraud=False, known_ms=KNOWN_MS, reviewer="bank"
    )


@pytest.mark.parametrize(
    ("change", "code", "field", "words"),
    [
        ({"transaction_id": None}, "missing_field", "transaction_id", "required"),
        ({"verdict": ""}, "missing_field", "verdict", "required"),
        ({"verdict": "fraud"}, "out_of_range", "verdict", "'fraud' is none of true_fraud"),
        ({"verdict": True}, "wrong_type", "verdict", "true or false"),
        ({"origin": "rumour"}, "out_of_range", "origin", "'rumour' is none of analyst"),
        ({"user_id": "seven"}, "wrong_type", "user_id", "whole number"),
        ({"user_id": 1.5}, "wrong_type", "user_id", "whole number"),
        ({"user_id": -1}, "out_of_range", "user_id", "-1 is not in 0"),
        ({"user_id": "9" * 30}, "out_of_range", "user_id", "is not in 0"),
        ({"transaction_id": "t" * 65}, "out_of_range", "transaction_id", "65 characters"),
        ({"note": "a\0"}, "forbidden_character", "note", "NUL"),
        ({"merchant_id": "\udc80"}, "not_utf8", "merchant_id", "UTF-8"),
        ({"merchant_id": ["shop"]}, "wrong_type", "merchant_id", "must be text"),
        ({"known_at": NOW_MS / 1000 + 60}, "timestamp_in_future", "known_at", "60.000 s later"),
        ({"known_at": NOW_MS}, "out_of_range", "known_at", "no time in unix seconds"),
        ({"known_at": "yesterday"}, "wrong_type", "known_at", "ISO 8601"),
        ({"known_at": float("nan")}, "wrong_type", "known_at", "ISO 8601"),
        ({"event_time": -5}, "out_of_range", "event_time", "no time"),
    ],
)
def test_a_row_that_cannot_be_is_refused_with_field_and_rule(
    change: dict[str, Any], code: str, field: str, words: str
) -> None:
    found = verdict_of({**GOOD, **change}, DEFAULTS, NOW_MS)
    assert isinstance(found, Rejection), found
    assert (found.code, found.field) == (code, field)
    assert found.message.startswith(f"{field}: ")
    assert words in found.message


CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text("a1.é\0\udc80", max_size=70),
    st.sampled_from(["true_fraud", "analyst"]),
    st.datetimes(),
    st.lists(st.integers(), max_size=1),
)


@given(st.dictionaries(st.sampled_from(COLUMNS), CELLS))
def test_any_row_is_a_verdict_that_can_be_stored_or_a_refusal(row: dict[str, Any]) -> None:
    found = verdict_of({**GOOD, **row}, DEFAULTS, NOW_MS)
    if isinstance(found, NewVerdict):
        assert why_refused(found, NOW_MS) is None
    else:
        assert found.field in COLUMNS


@pytest.mark.parametrize("file_format", list(FileFormat))
def test_the_formats_say_the_same(tmp_path: Path, file_format: FileFormat) -> None:
    file = tmp_path / "verdicts"
    at = datetime.fromtimestamp(KNOWN_MS / 1000, UTC)
    if file_format is FileFormat.CSV:
        file.write_text(
            "transaction_id,user_id,verdict,known_at,note,other\n"
            't1,7,true_fraud,2025-11-13T02:13:20.5,"a, b",x\n\nt2,8,taken_back,,,\n'
        )
    elif file_format is FileFormat.JSONL:
        first = {**GOOD, "known_at": KNOWN_MS / 1000, "note": "a, b", "other": 1}
        second = {"transaction_id": "t2", "user_id": 8, "verdict": "taken_back"}
        file.write_text(f"{json.dumps(first)}\n\n{json.dumps(second)}\n")
    else:
        columns = {
            "transaction_id": ["t1", "t2"],
            "user_id": [7, 8],
            "verdict": ["true_fraud", "taken_back"],
            "known_at": pa.array([at, None], pa.timestamp("ms", "UTC")),
            "note": ["a, b", None],
        }
        pq.write_table(pa.table(columns), file)
    found = [verdict_of(row.cells, DEFAULTS, NOW_MS) for row in rows_of(file, file_format)]  # type: ignore[arg-type] # all are readable
    assert found == [
        NewVerdict(
            transaction_id="t1", user_id=7, fraud=True, known_ms=KNOWN_MS, reviewer="bank", note="a, b"
        ),
        NewVerdict(transaction_id="t2", user_id=8, fraud=None, reviewer="bank"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            FileFormat.CSV,
            "transaction_id,verdict\n",
            "no column user_id; the columns are transaction_id, verdict",
        ),
        (FileFormat.CSV, "", "no column transaction_id, user_id, verdict; the columns are none"),
        (FileFormat.CSV, "transaction_id,user_id,verdict,note,note\n", "column note is there more than once"),
        (FileFormat.PARQUET, "PAR", "cannot be read as Parquet"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, name: FileFormat, content: str, message: str) -> None:
    file = tmp_path / "f"
    file.write_text(content)
    with pytest.raises(ImportRefused, match=message):
        list(rows_of(file, name))


def test_bad_rows_go_to_the_side_file_and_the_good_ones_are_stored(tmp_path: Path) -> None:
    file = tmp_path / "f.jsonl"
    card = {**GOOD, "user_id": None, "card_number": "4111111111111111"}
    file.write_text("\n".join([json.dumps(GOOD), "{", "7", json.dumps(card)]))
    lines, stored = Lines(), database()
    report = run(rows_of(file, FileFormat.JSONL), stored, lines)
    assert (report.rows, report.added, report.already_there) == (4, 1, 0)
    assert report.rejected == {"missing_field": 1, "not_an_object": 1, "not_json": 1}
    assert [(each.row, each.code, each.field) for each in lines.refused] == [
        (1, "not_json", ""),
        (2, "not_an_object", ""),
        (3, "missing_field", "user_id"),
    ]
    assert "4111111111111111" not in lines.refused[-1].original
    assert len(stored.feedback) == 1


def test_a_second_run_adds_nothing_and_tells_of_each_bad_row_once() -> None:
    rows = source_rows([GOOD, {**GOOD, "verdict": "taken_back"}, {**GOOD, "user_id": -1}])
    lines, stored = Lines(), database()
    first, second = run(rows, stored, lines), run(rows, stored, lines)
    assert (first.added, first.already_there, second.added, second.already_there) == (2, 0, 0, 2)
    assert first.rejected == second.rejected == {"out_of_range": 1}
    assert len(lines.refused) == 1
    assert len(stored.feedback) == 2


@pytest.mark.parametrize("fault", [Fault.FAIL_BEFORE, Fault.FAIL_AFTER_COMMIT])
@pytest.mark.parametrize("chunk", [0, 1, 2])
def test_an_interrupted_import_goes_on_as_if_nothing_had_been(fault: Fault, chunk: int) -> None:
    rows = source_rows([{**GOOD, "transaction_id": f"t{number}"} for number in range(2 * CHUNK_ROWS + 1)])
    bad = [row._replace(cells={}) if row.number % 1_000 == 0 else row for row in rows]
    lines, stored = Lines(), database()
    stored.queue.extend([Fault.NONE] * chunk + [fault])
    with pytest.raises(StoreUnavailable):
        run(bad, stored, lines)
    report = run(bad, stored, lines)
    assert report.added + report.already_there == len(stored.feedback) == len(rows) - 5
    assert [each.row for each in lines.refused] == [0, 1_000, 2_000, 3_000, 4_000]
