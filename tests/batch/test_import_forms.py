"""How files write amounts, times, ids and texts, and what of that is understood: in every format alike."""

import codecs
import gzip
import json
import random
from datetime import UTC, datetime
from decimal import Decimal as Exact
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from batch.imports.column_map import ImportRefused
from batch.imports.form import PLAIN, Decimal, Encoding, Form, TimeUnit
from batch.imports.layout import Layout, preset, preset_names, read_layout
from batch.imports.look import prepare
from batch.imports.numbers import amount, decimal_of
from batch.imports.rows import Unreadable
from batch.imports.sources import FileFormat, format_of, open_source
from batch.imports.times import Times, joined_time
from batch.imports.user_ids import UserIds
from batch.ingest.columns import OUTCOME
from tests.batch.import_samples import as_json, judged, write_lines

HEADER = ["transaction_id", "user_id", "amount", "timestamp"]
GOOD = ["a", "7", "12.5", "2024-01-01 10:00:00"]
AT = datetime(2024, 1, 1, 10, tzinfo=UTC)
KEY = bytes(range(32))


def plain(value: Any) -> Any:
    return json.loads(bytes(value)) if isinstance(value, msgspec.Raw) else value


# --- amounts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "decimal", "said"),
    [
        ("12.5", None, 12.5), ("$80.31", None, 80.31), ("$-99.00", None, -99.0), ("-$99.00", None, -99.0),
        ("€ 12", None, 12), ("12.50 EUR", None, 12.5), ("(5.00)", None, -5.0), ("1,299.00", None, 1299.0),
        ("1,234,567.89", None, 1_234_567.89), ("1'299.50", None, 1299.5), ("0.07", None, 0.07),
        ("1.299,00", Decimal.COMMA, 1299.0), ("12,5", Decimal.COMMA, 12.5), ("1.299", Decimal.COMMA, 1299),
        ("-1 299,00 €", Decimal.COMMA, -1299.0), ("1,299", Decimal.POINT, 1299),
        ("00012,50", Decimal.COMMA, 12.5),
        # What is not clear, or no amount, stays what it is.
        ("1,299", None, "1,299"), ("12,50", None, "12,50"), ("1.299,00", Decimal.POINT, "1.299,00"),
        ("1,29,9.00", None, "1,29,9.00"), ("12.5.1", None, "12.5.1"), ("--5", None, "--5"),
        ("(5", None, "(5"),
        ("", None, ""), ("USD", None, "USD"), ("twelve", None, "twelve"),
        ("12 500 apples", None, "12 500 apples"),
    ],
)  # fmt: skip
def test_an_amount_is_read_only_if_it_is_clear(cell: str, decimal: Decimal | None, said: Any) -> None:
    assert plain(amount(cell, decimal)) == said


def test_which_mark_begins_the_fraction_is_found_by_amounts_that_show_it() -> None:
    assert decimal_of(["1.299", "12,5", None, "x"]) is Decimal.COMMA
    assert decimal_of(["1,299", "12.50", 7]) is Decimal.POINT
    assert decimal_of(["1.299,00"]) is Decimal.COMMA
    assert decimal_of(["1,299", "7", ""]) is None
    with pytest.raises(ImportRefused, match=r"'12\.5' and as '12,5': say by --decimal"):
        decimal_of(["12.5", "12,5"])


# --- times --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "form", "at"),
    [
        ("2024-01-01 10:00:00 UTC", PLAIN, AT), ("2024-01-01T10:00:00Z", PLAIN, AT),
        ("2024-01-01 11:00:00+0100", PLAIN, AT), ("2024-01-01 11:00 Europe/Berlin", PLAIN, AT),
        ("2024/1/1 10:00", PLAIN, AT), ("2024-1-1 10:00:00 GMT", PLAIN, AT),
        ("2024-01-01 11:00:00", Form(time_zone="Europe/Berlin"), AT),
        ("01.01.2024 10:00", Form(time_format="%d.%m.%Y %H:%M"), AT),
        ("10", Form(time_origin="2024-01-01", time_unit=TimeUnit.HOURS), AT),
        (10.0, Form(time_origin="2024-01-01", time_unit=TimeUnit.HOURS), AT),
        (600, Form(time_origin="2024-01-01", time_unit=TimeUnit.MINUTES), AT),
        (1_704_103_200_000, Form(time_unit=TimeUnit.MILLISECONDS), AT),
        (1_704_103_200_000_000_000, Form(time_unit=TimeUnit.NANOSECONDS), AT),
        (Exact("1704103200"), Form(time_unit=TimeUnit.SECONDS), AT),
    ],
)  # fmt: skip
def test_times_in_many_forms_are_the_same_moment(cell: Any, form: Form, at: datetime) -> None:
    assert plain(Times(form).of(cell)) == at.timestamp()


@pytest.mark.parametrize(
    "cell",
    ["2024-01-01 10:00 CEST", "2024-01-01 10:00 Nowhere/Else", "01/02/2024", "yesterday", "2024-02-30"],
)
def test_a_time_that_is_not_clear_is_left_to_be_refused(cell: str) -> None:
    assert Times().of(cell) == cell
    assert Times(Form(time_unit=TimeUnit.HOURS)).of(cell) == cell


def test_a_time_in_several_cells_is_put_together() -> None:
    assert joined_time(["2002", "9", "1", "6:21"]) == "2002-09-01 06:21"
    assert joined_time([2002, 9, 1, "06:21:30"]) == "2002-09-01 06:21:30"
    assert joined_time(["2024-01-01", "10:00"]) == "2024-01-01 10:00"
    assert joined_time(["2002", "", "1", "06:21"]) is None


def test_a_form_that_cannot_be_is_refused() -> None:
    for told, said in (
        ({"time_zone": "Nowhere/Else"}, "there is no 'Nowhere/Else'"),
        ({"delimiter": ";;"}, "must be one character"),
        ({"decimal": ";"}, "form: "),
        ({"decimals": ","}, "form: "),
    ):
        with pytest.raises(ImportRefused, match=said):
            Layout().under({}, told)
    with pytest.raises(ImportRefused, match="'soon' is no date"):
        Times(Form(time_origin="soon"))


# --- ids ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("7", 7), (" 8 ", 8), ("7.0", 7), ("596.00", 596), (596.0, 596),
        (Exact(10**17 + 1), 10**17 + 1), (7, 7),
        (7.5, 7.5), ("7.5", 7.5), (2.0**60, 2.0**60), ("C1231", "C1231"), (True, True),
    ],
)  # fmt: skip
def test_user_ids_are_whole_numbers_if_they_are_exactly_that(cell: Any, said: Any) -> None:
    assert plain(UserIds().of(cell)) == said


def test_hashed_user_ids_are_equal_where_the_ids_are_and_need_the_key() -> None:
    ids = UserIds(KEY)
    same = [ids.of(cell) for cell in ("596", 596, 596.0, "596.0", Exact(596), " 596 ")]
    assert len(set(same)) == 1
    others = {ids.of(f"C{n}") for n in range(1_000)}
    assert len(others) == 1_000
    assert all(0 <= each < 2**63 for each in others)
    assert UserIds(KEY[::-1]).of("C1") != ids.of("C1")
    assert ids.of(None) is None
    assert ids.of("  ") is None


# --- files --------------------------------------------------------------------------------------------------


def stored(file: Path, mapping: dict[str, str] | None = None, form: Form = PLAIN) -> list[tuple[Any, ...]]:
    found = judged(file, format_of(file), mapping, form=form)
    assert found.refused == []
    rows = found.rows.filter(pa.compute.is_null(found.rows[OUTCOME])).to_pylist()
    return [(row["transaction_id"], row["user_id"], row["amount"], row["event_time"]) for row in rows]


EXPECTED = [("a", 7, 12.5, AT), ("ä", 8, 1299.0, AT)]


def text(delimiter: str = ",") -> str:
    rows = [HEADER, GOOD, ["ä", "8", "1299", "2024-01-01 10:00:00"]]
    return "".join(delimiter.join(row) + "\n" for row in rows)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_by_the_header(tmp_path: Path, delimiter: str) -> None:
    file = tmp_path / "a.csv"
    file.write_text(text(delimiter), encoding="utf-8")
    assert stored(file) == EXPECTED


@pytest.mark.parametrize(
    ("content", "form"),
    [
        (codecs.BOM_UTF16_LE + text().encode("utf-16-le"), PLAIN),
        (codecs.BOM_UTF16_BE + text().encode("utf-16-be"), PLAIN),
        (text().encode("utf-16-le"), PLAIN),
        (text().encode("latin-1"), Form(encoding=Encoding.LATIN_1)),
        (text().encode("cp1252"), Form(encoding=Encoding.WINDOWS_1252)),
        (text().encode("utf-8-sig"), PLAIN),
    ],
)
def test_encodings(tmp_path: Path, content: bytes, form: Form) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(content)
    assert stored(file, form=form) == EXPECTED


def test_what_is_not_in_the_encoding_is_refused_and_another_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(text().encode("latin-1"))
    (refused,) = judged(file, FileFormat.CSV).refused
    assert (refused.code, "--encoding latin-1" in refused.reason) == ("not_utf8", True)
    file.write_bytes(text().encode("utf-16-le")[:-1])
    with pytest.raises(ImportRefused, match="it is not in utf-16"):
        judged(file, FileFormat.CSV)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json"])
def test_packed_files_are_read_and_gone_on_with(tmp_path: Path, name: str, suffix: str) -> None:
    file = tmp_path / f"{name}{suffix}"
    lines = [as_json(dict(zip(HEADER, [row[0], int(row[1]), float(row[2]), row[3]], strict=True)))
             for row in (GOOD, ["ä", "8", "1299", "2024-01-01 10:00:00"])]  # fmt: skip
    content = {
        "a.csv": text().encode(), "a.jsonl": b"\n".join(lines), "a.json": b" [" + b" ,\n".join(lines) + b"]\n"
    }[name]  # fmt: skip
    file.write_bytes(gzip.compress(content) if suffix == ".gz" else zstandard.compress(content))
    assert stored(file) == EXPECTED
    rest = judged(file, format_of(file), position=1)
    assert rest.rows["transaction_id"].to_pylist() == ["ä"]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_packed_file_that_ends_in_the_middle_is_refused(tmp_path: Path, suffix: str) -> None:
    chance = random.Random(3)
    rows = [",".join([f"t{n}", "7", f"{chance.random():.9f}", GOOD[3]]) + "\n" for n in range(5_000)]
    content = (",".join(HEADER) + "\n" + "".join(rows)).encode()
    packed = gzip.compress(content) if suffix == ".gz" else zstandard.compress(content)
    file = tmp_path / f"a.csv{suffix}"
    file.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(ImportRefused, match="Truncated compressed stream"):
        judged(file, FileFormat.CSV, chunk_rows=100)


def test_an_array_is_read_item_by_item(tmp_path: Path) -> None:
    items = [{"transaction_id": f't"[{n}', "user_id": n, "amount": 1, "timestamp": GOOD[3], "x": [{"]": "}"}]}
             for n in range(300)]  # fmt: skip
    file = tmp_path / "a.json"
    file.write_text(json.dumps(items, indent=1))
    assert [row[0] for row in stored(file)] == [item["transaction_id"] for item in items]
    for broken, said in (
        (json.dumps(items)[:-5], "has no end"),
        (json.dumps(items) + "{}", "something lies behind"),
    ):
        file.write_text(broken)
        with pytest.raises(ImportRefused, match=said):
            judged(file, FileFormat.JSONL)
    file.write_text("[]")
    assert list(open_source(file, FileFormat.JSONL, {}).chunks(0)) == []


def test_parquet_says_the_same_as_csv(tmp_path: Path) -> None:
    columns = {
        "transaction_id": pa.array([1.0, 2.0], pa.float64()),
        "user_id": pa.array(["7", "8.0"]),
        "amount": pa.array(["12.5", "$1,299.00"]),
        "timestamp": pa.array(["2024-01-01 10:00:00 UTC"] * 2),
        "merchant_id": pa.array([Exact(5), Exact(6)], pa.decimal128(18, 0)),
    }
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table(columns), file)
    found = judged(file, FileFormat.PARQUET).rows.to_pylist()
    told = [(row["transaction_id"], row["user_id"], row["amount"], row["merchant_id"]) for row in found]
    assert told == [("1", 7, 12.5, "5"), ("2", 8, 1299.0, "6")]
    pq.write_table(
        pa.table(columns | {"user_id": pa.array([Exact(10**17 + 1), None], pa.decimal128(18, 0))}), file
    )
    found = judged(file, FileFormat.PARQUET).rows.to_pylist()
    assert found[0]["user_id"] == 10**17 + 1


def test_joined_columns_row_numbers_and_constants_in_every_format(tmp_path: Path) -> None:
    rows = [
        {"u": 7, "d": "2024-01-01", "t": "10:00", "amount": 2},
        {"u": 8, "d": "2024-01-01", "t": "10:00", "amount": 3},
    ]
    mapping = {"transaction_id": "shop-@row", "user_id": "u", "timestamp": "d+t", "currency": "=EUR"}
    write_lines(tmp_path / "a.jsonl", [as_json(row) for row in rows])
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    (tmp_path / "a.csv").write_text("u,d,t,amount\n7,2024-01-01,10:00,2\n8,2024-01-01,10:00,3\n")
    for file_format in FileFormat:
        found = judged(tmp_path / f"a.{file_format}", file_format, mapping, position=0, chunk_rows=1)
        assert found.refused == [], file_format
        told = [
            (row["transaction_id"], row["user_id"], row["currency"], row["event_time"])
            for row in found.rows.to_pylist()
        ]
        assert told == [("shop-0", 7, "EUR", AT), ("shop-1", 8, "EUR", AT)], file_format


def test_the_first_rows_settle_how_amounts_are_written_and_card_numbers_are_no_user_ids(
    tmp_path: Path,
) -> None:
    file = tmp_path / "a.csv"
    file.write_text(
        "transaction_id;user_id;amount;timestamp\na;7;1.299,00;2024-01-01\nb;7;2.500;2024-01-01\n"
    )
    prepared = prepare(file, FileFormat.CSV, Layout())
    assert prepared.form.decimal is Decimal.COMMA
    assert [row[2] for row in stored(file, form=prepared.form)] == [1299.0, 2500.0]
    cards = ["4111111111111111", "5500005555555559", "17"]
    file.write_text(",".join(HEADER) + "\n" + "".join(f"a,{card},1,2024-01-01\n" for card in cards))
    with pytest.raises(
        ImportRefused, match="2 of the first 3 are card numbers, which must not be stored"
    ) as told:
        prepare(file, FileFormat.CSV, Layout())
    assert cards[0] not in str(told.value)
    hashed = prepare(file, FileFormat.CSV, Layout(form=Form(hash_user=True)))
    (chunk,) = hashed.source.chunks(0)
    values = chunk.rows.values(UserIds(KEY))
    assert not any(cards[0].encode() in each for each in values if isinstance(each, bytes))


# --- words --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({1: "2.29E+15"}, "wrong_type", "the value is 2.29E+15: saved by a spreadsheet? the digits are lost"),
        ({1: "C17"}, "wrong_type", "the value is 'C17'; accepted is a whole number; --hash-user"),
        ({2: "twelve"}, "wrong_type", "the value is 'twelve'; accepted is a number like 12.50"),
        ({2: "-3"}, "refund", "-3 is below 0 in base currency: a refund"),
        ({3: "01/02/2024"}, "wrong_type", "the value is '01/02/2024'; accepted is unix seconds or ISO 8601"),
        ({3: "1704103200000"}, "timestamp_in_milliseconds", "or say --time-unit milliseconds"),
    ],
)
def test_a_refusal_quotes_the_value_and_says_what_is_accepted(
    tmp_path: Path, change: dict[int, str], code: str, said: str
) -> None:
    row = [change.get(at, cell) for at, cell in enumerate(GOOD)]
    file = tmp_path / "a.csv"
    file.write_text(",".join(HEADER) + "\n" + ",".join(row) + "\n")
    (refused,) = judged(file, FileFormat.CSV).refused
    assert refused.code == code
    assert said in refused.reason


def test_nothing_in_a_message_steers_a_terminal(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("\x1b[2Jname,b\n1,2\n")
    with pytest.raises(ImportRefused) as told:
        open_source(file, FileFormat.CSV, {})
    assert "\x1b" not in str(told.value)
    assert "\\x1b[2Jname" in str(told.value)


# --- mappings as files --------------------------------------------------------------------------------------


def test_every_preset_is_a_mapping_and_names_its_source() -> None:
    assert len(preset_names()) >= 7
    for name in preset_names():
        layout = preset(name)
        assert layout.about
        assert layout.fraud


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[columns]\nuser = 'A'", "there is no field user"),
        ("[columns]\nuser_id = ''", "user_id has no column"),
        ("[colums]\n", "it is no mapping"),
        ("[form]\ndelimiter = 3", "it is no mapping"),
        ("no toml", "it is no mapping"),
    ],
)
def test_a_mapping_that_cannot_be_used_is_named(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "map.toml"
    file.write_text(content)
    with pytest.raises(ImportRefused, match=said) as told:
        read_layout(file)
    assert "map.toml" in str(told.value)


def test_unreadable_rows_stay_in_their_places(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text(f"{','.join(HEADER)}\n{','.join(GOOD)}\nx\n\n{','.join(GOOD)}\n")
    (chunk,) = open_source(file, FileFormat.CSV, {"transaction_id": "@row"}).chunks(0)
    values = chunk.rows.values()
    assert [type(each) for each in values] == [bytes, Unreadable, type(None), bytes]
    assert json.loads(values[3] or b"")["transaction_id"] == "3"  # type: ignore[arg-type]  # bytes, see above
