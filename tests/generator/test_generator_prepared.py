"""Prepared records and their batches, read back by kafka-python's own parser."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.record.default_records import DefaultRecordBatch
from kafka.record.util import decode_varint

from ray_fraud.generator.prepared import PreparedFileError, Template, prepare, read_templates
from ray_fraud.generator.wire import MAX_BATCH_RECORDS, record_batch, varint, wire_template

PREFIX = b"0b1c2d3e-4f50-4a61-8b72-"


def prepared(folder: Path, **wanted: Any) -> Path:
    file = folder / "prepared.jsonl"
    with file.open("wb") as out:
        prepare(out, **({"seed": 1, "users": 1000, "count": 3000} | wanted))
    return file


def lines(file: Path) -> list[bytes]:
    return file.read_bytes().splitlines()


def test_one_in_a_hundred_prepared_records_is_high(tmp_path: Path) -> None:
    amounts = [json.loads(line)["amount"] for line in lines(prepared(tmp_path, count=20_000))]
    assert sum(amount > 2000 for amount in amounts) / len(amounts) == pytest.approx(0.01, rel=0.2)
    assert max(amounts) <= 5000


def test_nobody_travels_in_prepared_records(tmp_path: Path) -> None:
    places: dict[int, set[str]] = {}
    for line in lines(prepared(tmp_path, users=50)):
        record = json.loads(line)
        places.setdefault(record["user_id"], set()).add(record["location"]["city"])
    assert all(len(cities) == 1 for cities in places.values())


def test_prepared_files_of_a_seed_are_equal() -> None:
    files = [io.BytesIO(), io.BytesIO(), io.BytesIO()]
    for file, seed in zip(files, (1, 1, 2), strict=True):
        prepare(file, seed=seed, users=10, count=100)
    assert files[0].getvalue() == files[1].getvalue() != files[2].getvalue()


@pytest.mark.parametrize("count", [1, 63, 64, 65, 700])
def test_a_batch_is_what_kafka_reads(tmp_path: Path, count: int) -> None:
    file = prepared(tmp_path, count=count)
    originals = [json.loads(line) for line in lines(file)]
    templates = [wire_template(template) for template in read_templates(file)]
    batch = DefaultRecordBatch(record_batch(templates, 1_767_225_600_007, PREFIX, 4090))
    assert batch.validate_crc()
    records = list(batch)
    assert [record.offset for record in records] == list(range(count))
    for number, (record, original) in enumerate(zip(records, originals, strict=True), start=4090):
        assert record.timestamp == 1_767_225_600_007
        assert record.key == str(original["user_id"]).encode()
        assert record.headers == []
        assert json.loads(record.value) == original | {
            "timestamp": 1_767_225_600.007,
            "transaction_id": f"{PREFIX.decode()}{number:012x}",
        }


@pytest.mark.parametrize("count", [0, MAX_BATCH_RECORDS + 1])
def test_a_batch_of_a_wrong_size_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="templates"):
        record_batch([wire_template(Template(b"1", b'","user_id":1}'))] * count, 1, PREFIX, 0)


@given(st.integers(0, 2**31))
def test_varints_are_kafkas(number: int) -> None:
    encoded = varint(number)
    assert decode_varint(bytearray(encoded), 0) == (number, len(encoded))


@pytest.mark.parametrize("line", [b"", b"{}", b'{"transaction_id":"x","timestamp":1}', b"\xff\xfe"])
def test_another_layout_is_refused_with_its_line(tmp_path: Path, line: bytes) -> None:
    file = prepared(tmp_path, count=2)
    file.write_bytes(file.read_bytes() + line + b"\n")
    with pytest.raises(PreparedFileError, match=r"line 3 .*generate --to"):
        read_templates(file)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(PreparedFileError, match="no records"):
        read_templates(tmp_path / "empty")
