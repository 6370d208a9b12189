"""A row of a file and a record of the topic with the same content: the same verdict, in all three formats."""

import json
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batch.imports.form import Encoding, Form
from batch.imports.sources import LINE_BYTES, FileFormat
from batch.ingest.columns import OUTCOME
from tests.batch.import_samples import (
    TEXTS,
    Verdict,
    as_json,
    contract_document,
    contract_value,
    decoders_verdict,
    judged,
    write_csv,
    write_lines,
)
from tests.corpus.documents import Document, changed_transactions, transactions
from tests.corpus.poison import POISON
from tests.domain.samples import NOW_MS, NOW_S

QUICK = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
FIELDS = (
    "transaction_id", "user_id", "amount", "timestamp", "merchant_id", "device_id", "currency", "channel",
    "card_number", "lat", "lon", "city", "country",
)  # fmt: skip
GOOD = {"transaction_id": "t1", "user_id": 7, "amount": 12.5, "timestamp": NOW_S}
CARD = "4111111111111111"


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


# --- JSON lines ---------------------------------------------------------------------------------------------


def needs_no_change(document: Document) -> bool:
    """Whether a line is a record's value as it stands."""
    texts = [document.get(name) for name in TEXTS if name not in ("city", "country")]
    flat = document.get("location") is None and ("lat" in document or "lon" in document)
    dated = isinstance(document.get("timestamp"), str)
    return not flat and not dated and not any(type(text) is int for text in texts)


@given(lines=st.lists(transactions | changed_transactions(), min_size=1, max_size=8))
@QUICK
def test_a_json_line_has_the_verdict_of_the_record(folder: Path, lines: list[Document]) -> None:
    values = [as_json(line) for line in lines]
    # The first line shows that the file has the fields at all.
    file = write_lines(folder / "p.jsonl", [as_json(GOOD), *values])
    verdicts = judged(file, FileFormat.JSONL).verdicts
    for row, (line, value) in enumerate(zip(lines, values, strict=True), start=1):
        if needs_no_change(line):
            assert verdicts[row] == decoders_verdict(value)
        elif line.get("location") is not None:
            changed = {name: contract_value(name, cell) for name, cell in line.items()}
            assert verdicts[row] == decoders_verdict(as_json(changed))


def test_poison_in_json_lines_is_refused_for_the_same_reason(folder: Path) -> None:
    cases = [
        case.value for case in POISON if case.value and case.value.strip() and b"\n" not in case.value.strip()
    ]
    values = [value for value in cases if not value.endswith((b"\r", b"\n")) and len(value) < LINE_BYTES]
    assert len(values) > 50
    file = write_lines(folder / "poison.jsonl", [as_json(GOOD), *values])
    verdicts = judged(file, FileFormat.JSONL, chunk_rows=100).verdicts
    for row, value in enumerate(values, start=1):
        parsed = _parsed(value)
        if not isinstance(parsed, dict) or needs_no_change(parsed):
            assert verdicts[row] == decoders_verdict(value), value[:200]


def _parsed(value: bytes) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


@given(lines=st.lists(transactions | changed_transactions(), min_size=1, max_size=8))
@QUICK
def test_a_json_line_with_other_names_has_the_verdict_of_the_record(
    folder: Path, lines: list[Document]
) -> None:
    fields = [*FIELDS[:9], "location"]
    mapping = {field: field.upper() for field in fields}
    renamed = [{mapping.get(name, name): cell for name, cell in line.items()} for line in lines]
    file = write_lines(
        folder / "r.jsonl", [as_json({k.upper(): v for k, v in GOOD.items()}), *map(as_json, renamed)]
    )
    verdicts = judged(file, FileFormat.JSONL, mapping).verdicts
    for row, line in enumerate(lines, start=1):
        if line.get("location") is None and ("lat" in line or "lon" in line):
            continue
        known = {name: contract_value(name, cell) for name, cell in line.items() if name in fields}
        assert verdicts[row] == decoders_verdict(as_json(known))


def test_a_member_given_twice_stays_given_twice_whatever_it_is_called(folder: Path) -> None:
    lines = [b'{"ID":1,"U":7,"A":1,"A":900,"T":"2024-01-01T00:00:00Z"}']
    mapping = {"transaction_id": "ID", "user_id": "U", "amount": "A", "timestamp": "T"}
    (refused,) = judged(write_lines(folder / "t.jsonl", lines), FileFormat.JSONL, mapping).refused
    assert (refused.code, refused.field) == ("duplicate_key", "amount")


def test_what_is_no_row_of_json_is_refused_and_blank_lines_are_none(folder: Path) -> None:
    lines = [as_json(GOOD), b"", b"{", b"7", b"\xff", b"  ", as_json(GOOD)]
    found = judged(write_lines(folder / "b.jsonl", lines), FileFormat.JSONL)
    assert {each.row: each.code for each in found.refused} == {
        2: "not_json",
        3: "not_an_object",
        4: "not_utf8",
    }
    assert found.rows.filter(pa.compute.is_null(found.rows[OUTCOME]))["offset"].to_pylist() == [0, 6]
    assert found.rows.filter(pa.compute.equal(found.rows[OUTCOME], "hole"))["offset"].to_pylist() == [1, 5]


def test_flat_places_whole_numbers_and_iso_times_are_brought_into_form(folder: Path) -> None:
    line = {**GOOD, "transaction_id": 17, "timestamp": "2024-02-29T12:00:00.25+01:00", "lat": 52.5, "lon": 13}
    found = judged(write_lines(folder / "f.jsonl", [as_json(line)]), FileFormat.JSONL)
    (row,) = found.rows.to_pylist()
    assert (row["transaction_id"], row["lat"], row["lon"]) == ("17", 52.5, 13.0)
    assert row["event_time"] == datetime(2024, 2, 29, 11, 0, 0, 250_000, tzinfo=UTC)


# --- CSV ----------------------------------------------------------------------------------------------------

cells = {
    "transaction_id": st.text(max_size=5) | st.just("t1"),
    "user_id": st.sampled_from(["7", "007", "-1", "7.0", "", " 8 ", str(2**63), "x"]),
    "amount": st.sampled_from(["12.5", "1e3", "1e400", "NaN", "", "12,50", "-0.0", "1-", CARD]),
    "timestamp": st.sampled_from(
        [str(NOW_S), f"{NOW_S}.25", "2024-01-01", "2024-01-01 10:00:00", "2024-01-01T10:00:00Z", "2024-13-01",
         str(NOW_MS), "1", "", "yesterday", "0001-01-01T00:00:00+00:00"]
    ),
    "merchant_id": st.text(max_size=5),
    "device_id": st.sampled_from(["", "d", " ", "x" * 65]),
    "currency": st.sampled_from(["", "EUR"]),
    "channel": st.sampled_from(["", "web"]),
    "card_number": st.sampled_from(["", CARD, "4111-1111-1111-1111", "12"]),
    "lat": st.sampled_from(["", "52.5", "91", "x"]),
    "lon": st.sampled_from(["", "13.4", "-181"]),
    "city": st.text(max_size=5),
    "country": st.sampled_from(["", "DE"]),
}  # fmt: skip


def cell_value(name: str, cell: str) -> Any:
    """A cell of CSV as a value: empty is absent, and numbers are what JSON calls one."""
    if not cell:
        return None
    if name in TEXTS:
        return cell
    dated = contract_value(name, cell)
    if not isinstance(dated, str):
        return dated
    if name == "user_id" and cell.strip().endswith(".0"):
        cell = cell.strip().removesuffix(".0")
    try:
        parsed = json.loads(cell, parse_constant=lambda constant: constant)
    except ValueError:
        return cell
    return parsed if type(parsed) in (int, float) else cell


@given(rows=st.lists(st.tuples(*(cells[name] for name in FIELDS)), min_size=1, max_size=6))
@QUICK
def test_a_row_of_csv_has_the_verdict_of_the_record(folder: Path, rows: list[tuple[str, ...]]) -> None:
    file = write_csv(folder / "p.csv", FIELDS, rows)
    verdicts = judged(file, FileFormat.CSV, form=Form(delimiter=",", encoding=Encoding.UTF_8)).verdicts
    for number, row in enumerate(rows):
        named = {name: cell_value(name, cell) for name, cell in zip(FIELDS, row, strict=True)}
        # An end of a line within a cell is read as \n, however it was written.
        document = contract_document(
            {
                name: cell.replace("\r\n", "\n") if isinstance(cell, str) else cell
                for name, cell in named.items()
            }
        )
        value = as_json(document)
        if named["amount"] == float("inf"):
            value = value.replace(b"Infinity", b"1e400")
        assert verdicts[number] == decoders_verdict(value)


HEADER = "transaction_id,user_id,amount,timestamp,merchant_id\n"


def test_broken_rows_of_csv_are_refused_with_their_reason_and_the_rest_is_read(folder: Path) -> None:
    file = folder / "broken.csv"
    long = "x" * 140_000
    file.write_bytes(
        b"\xef\xbb\xbf" + HEADER.encode()
        + f"a,7,1.5,{NOW_S},m\n"
        f"b,7,1,5,{NOW_S},m\n"
        "\n"
        f"c,7,1.5,{NOW_S}\r\n"
        f'd,7,1.5,{NOW_S},"two\nlines"\n'
        f'e,7,1.5,{NOW_S},"{long}"\n'.encode()
        + b"f,7,1.5,%d,\xff\n" % NOW_S
        + f"g,7,1.5,{NOW_S},m".encode()
    )  # fmt: skip
    found = judged(file, FileFormat.CSV)
    assert {each.row: each.code for each in found.refused} == {
        1: "wrong_column_count", 3: "wrong_column_count", 4: "forbidden_character", 5: "not_csv",
        6: "not_utf8",
    }  # fmt: skip
    by_row = {each.row: each for each in found.refused}
    assert "6 cells where the header has 5" in by_row[1].reason
    assert json.loads(by_row[1].original) == ["b", "7", "1", "5", str(NOW_S), "m"]
    good = found.rows.filter(pa.compute.is_null(found.rows[OUTCOME]))
    assert good["transaction_id"].to_pylist() == ["a", "g"]


def test_a_quote_that_is_never_closed_costs_rows_but_no_crash(folder: Path) -> None:
    file = folder / "quote.csv"
    rows = "".join(f"t{n},7,1.5,{NOW_S},m\n" for n in range(20_000))
    file.write_text(HEADER + f't,7,1.5,{NOW_S},"m\n' + rows)
    found = judged(file, FileFormat.CSV, chunk_rows=50_000)
    assert "not_csv" in {each.code for each in found.refused}
    assert found.rows.filter(pa.compute.is_null(found.rows[OUTCOME])).num_rows > 10_000


def test_lines_without_end_are_refused_not_held_in_memory(folder: Path) -> None:
    lines = [as_json(GOOD), b'{"x":"' + b"y" * (3 << 20) + b'"}', as_json(GOOD)]
    found = judged(write_lines(folder / "long.jsonl", lines), FileFormat.JSONL)
    (refused,) = found.refused
    assert (refused.row, refused.code) == (1, "too_large")
    assert len(refused.original) <= 65_536
    assert found.rows.num_rows == 3


# --- Parquet ------------------------------------------------------------------------------------------------

times = st.datetimes(datetime(1999, 1, 1), datetime(2030, 1, 1))  # noqa: DTZ001 - columns without a zone
floats = st.sampled_from([12.5, 0.0, -1.0, float("nan"), float("inf"), float("-inf"), 1e16])
typed_rows = st.fixed_dictionaries(
    {
        "transaction_id": st.none() | st.integers(-5, 2**40),
        "user_id": st.none() | st.integers(-2, 2**62),
        "amount": st.none() | floats,
        "timestamp": st.none() | times,
        "merchant_id": st.none() | st.text(max_size=5),
        "card_number": st.sampled_from([None, CARD, "12"]),
        "location": st.none()
        | st.fixed_dictionaries(
            {
                "lat": st.none() | st.floats(-91, 91),
                "lon": st.none() | floats,
                "city": st.none() | st.text(max_size=3),
            }
        ),
    }
)
SCHEMA = pa.schema(
    [
        ("note", pa.string()),
        ("transaction_id", pa.int64()),
        ("user_id", pa.int64()),
        ("amount", pa.float64()),
        ("timestamp", pa.timestamp("us")),
        ("merchant_id", pa.string()),
        ("card_number", pa.string()),
        ("location", pa.struct([("lat", pa.float64()), ("lon", pa.float64()), ("city", pa.string())])),
    ]
)


def write_parquet(file: Path, rows: list[dict[str, Any]], schema: pa.Schema, *, group: int = 4) -> Path:
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), file, row_group_size=group)
    return file


@given(rows=st.lists(typed_rows, min_size=1, max_size=9), flat=st.booleans())
@QUICK
def test_a_row_of_parquet_has_the_verdict_of_the_record(
    folder: Path, rows: list[dict[str, Any]], flat: bool
) -> None:
    schema, content = SCHEMA, rows
    if flat:
        place = [pa.field(field.name, field.type) for field in SCHEMA.field("location").type]
        schema = pa.schema([*list(SCHEMA)[:-1], *place])
        content = [{**row, **(row["location"] or {})} for row in rows]
    file = write_parquet(folder / "p.parquet", content, schema)
    verdicts = judged(file, FileFormat.PARQUET).verdicts
    expected = [decoders_verdict(as_json(contract_document(row))) for row in rows]
    assert [verdicts[number] for number in range(len(rows))] == expected


@pytest.mark.parametrize("position", range(11))
def test_reading_goes_on_at_any_row(folder: Path, position: int) -> None:
    rows = [{**GOOD, "transaction_id": f"t{n}"} for n in range(10)]
    schema = pa.schema([(name, pa.string() if name == "transaction_id" else pa.float64()) for name in GOOD])
    schema = schema.set(1, pa.field("user_id", pa.int64()))
    files = {
        FileFormat.PARQUET: write_parquet(folder / "on.parquet", rows, schema),
        FileFormat.CSV: write_csv(
            folder / "on.csv", list(GOOD), [[str(cell) for cell in row.values()] for row in rows]
        ),
        FileFormat.JSONL: write_lines(folder / "on.jsonl", [as_json(row) for row in rows]),
    }
    for file_format, file in files.items():
        whole = judged(file, file_format).verdicts
        rest = judged(file, file_format, position=position).verdicts
        assert rest == {row: verdict for row, verdict in whole.items() if row >= position}
        assert len(whole) == 10


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        (datetime(2024, 1, 1, 10, 0, 0, 250_000), pa.timestamp("ms")),  # noqa: DTZ001
        (datetime(2024, 1, 1, 10, 0, 0, 250_000), pa.timestamp("ns")),  # noqa: DTZ001
        (datetime(2024, 1, 1, 10, 0, 0, 250_000, tzinfo=UTC), pa.timestamp("us", "Europe/Berlin")),
        ("2024-01-01T11:00:00.25+01:00", pa.string()),
        (1_704_103_200.25, pa.float64()),
    ],
)
def test_a_time_of_any_type_is_the_same_moment(folder: Path, cell: object, kind: pa.DataType) -> None:
    schema = pa.schema([("transaction_id", pa.string()), ("user_id", pa.int32()), ("amount", pa.float32()),
                        ("timestamp", kind)])  # fmt: skip
    file = write_parquet(folder / "time.parquet", [{**GOOD, "timestamp": cell}], schema)
    (row,) = judged(file, FileFormat.PARQUET).rows.to_pylist()
    assert row["timestamp"] == 1_704_103_200.25
    assert row["record_time"] == row["event_time"] == datetime(2024, 1, 1, 10, 0, 0, 250_000, tzinfo=UTC)


def test_other_types_that_writers_use(folder: Path) -> None:
    schema = pa.schema([("transaction_id", pa.binary()), ("user_id", pa.uint64()),
                        ("amount", pa.decimal128(10, 2)), ("timestamp", pa.date32()),
                        ("merchant_id", pa.dictionary(pa.int8(), pa.string())),
                        ("channel", pa.float64())])  # fmt: skip
    day = datetime(2024, 1, 1, tzinfo=UTC).date()
    rows = [
        {"transaction_id": b"t1", "user_id": 7, "amount": 12, "timestamp": day,
         "merchant_id": "m"},
        {"transaction_id": b"\xff", "user_id": 2**63, "amount": 12, "timestamp": None},
        {"transaction_id": b"t2", "user_id": 2**63, "amount": 12, "timestamp": None},
        {"transaction_id": b"t3", "user_id": 1, "amount": 12,
         "timestamp": day, "channel": 1.5},
    ]  # fmt: skip
    found = judged(write_parquet(folder / "types.parquet", rows, schema), FileFormat.PARQUET)
    assert [(each.row, each.code, each.field) for each in found.refused] == [
        (1, "not_utf8", ""), (2, "out_of_range", "user_id"), (3, "wrong_type", "channel")
    ]  # fmt: skip
    (row,) = found.rows.filter(pa.compute.is_null(found.rows[OUTCOME])).to_pylist()
    assert (row["transaction_id"], row["amount"], row["merchant_id"]) == ("t1", 12.0, "m")


# --- all ----------------------------------------------------------------------------------------------------


def test_a_row_from_after_the_import_s_start_is_refused_as_in_the_hot_path(folder: Path) -> None:
    at = [NOW_S + shift for shift in (0, 300, 300.001)]
    lines = [as_json({**GOOD, "timestamp": seconds}) for seconds in at]
    found = judged(write_lines(folder / "late.jsonl", lines), FileFormat.JSONL, began_ms=NOW_MS)
    (refused,) = found.refused
    assert (refused.row, refused.code, refused.field) == (2, "timestamp_in_future", "timestamp")
    assert "300.001 s later than the begin of this import" in refused.reason
    sent = found.rows["record_time"].to_pylist()
    assert sent[1] == datetime.fromtimestamp(NOW_S, UTC) + timedelta(seconds=300)


TEST_NUMBER = "4000001234567899"
"""No valid Luhn sum: only the name of its field tells that it is a card number."""


@pytest.mark.parametrize("card", [CARD, TEST_NUMBER, int(TEST_NUMBER)])
@pytest.mark.parametrize("broken", [b"", b"?"])
def test_the_original_of_a_refused_row_shows_no_card_number(
    folder: Path, card: str | int, broken: bytes
) -> None:
    line = as_json({"PAN": card, **GOOD, "amount": -1}) + broken
    lines = [as_json(GOOD), line, line.replace(b"PAN", b"card_number")]
    jsonl = write_lines(folder / "card.jsonl", lines)
    for mapping, row in (({"card_number": "PAN"}, 1), ({}, 2)):
        by_row = {each.row: each for each in judged(jsonl, FileFormat.JSONL, mapping).refused}
        assert str(card) not in by_row[row].original
        assert str(card) not in by_row[row].reason
        assert str(card)[:6] in by_row[row].original
    rows = [[str(card), "t", "7", "-1", str(NOW_S)], [str(card), "t", "7", "-1", str(NOW_S), "extra"]]
    csv_file = write_csv(folder / "card.csv", ["PAN", *GOOD], rows)
    refused = judged(csv_file, FileFormat.CSV, {"card_number": "PAN"}).refused
    assert [each.code for each in refused] == ["refund", "wrong_column_count"]
    assert not any(str(card) in each.original for each in refused)


def test_of_a_card_number_only_the_token_is_left(folder: Path) -> None:
    file = write_csv(folder / "token.csv", ["pan", *GOOD], [[CARD, "t", "7", "1", str(NOW_S)]])
    found = judged(file, FileFormat.CSV, {"card_number": "pan"})
    assert found.verdicts[0] == Verdict(
        *decoders_verdict(as_json({**GOOD, "transaction_id": "t", "amount": 1, "card_number": CARD}))[:2]
    )
    assert CARD not in str(found.rows.to_pylist())
