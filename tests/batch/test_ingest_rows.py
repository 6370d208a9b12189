"""Rows of the table from records of the log: every offset once, every field as it was sent."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from batch.ingest.columns import HOLE, NOTE, OUTCOME, rows_of
from batch.ingest.manifest import write_rows
from ray_fraud.domain.payload import payload_digest
from ray_fraud.domain.record import PartitionId, Record
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.stores.tables.columns import SCHEMA
from ray_fraud.stores.tables.memory import MemoryTransactions, TableContents
from tests.domain.samples import BERLIN, NOW_MS, NOW_S, decoder, record, transaction

PARTITION = PartitionId("cluster", "topic-id", 2)
SETTINGS = DetectionSettings()


def rows(records: list[Record], from_offset: int, to_offset: int) -> pa.Table:
    return rows_of(records, PARTITION, from_offset, to_offset, decoder(), SETTINGS)


def test_a_full_transaction_keeps_every_field() -> None:
    sent = transaction(
        "tx-ü", seconds=0.1234567, merchant_id="m", device_id="d", currency="EUR", channel="web", amount=12.5
    )
    (row,) = rows([record(5, sent, timestamp_ms=NOW_MS + 7)], 5, 6).to_pylist()
    at = datetime.fromtimestamp(NOW_S, UTC)
    assert row == {
        "topic_id": "topic-id",
        "partition": 2,
        "offset": 5,
        "record_time": at + timedelta(milliseconds=7),
        "event_time": at + timedelta(milliseconds=123),
        "transaction_id": "tx-ü",
        "user_id": 7,
        "amount": 12.5,
        "timestamp": sent.timestamp,
        "lat": BERLIN.lat,
        "lon": BERLIN.lon,
        "city": "Berlin",
        "country": "DE",
        "merchant_id": "m",
        "device_id": "d",
        "currency": "EUR",
        "channel": "web",
        "card_token": None,
        "card_first6": None,
        "card_last4": None,
        "payload_digest": payload_digest(sent),
        "event_date": at.date(),
        "user_text": None,
        OUTCOME: None,
        NOTE: None,
    }


def test_of_a_card_number_only_the_token_is_left() -> None:
    table = rows([record(0, transaction(), card_number="4111111111111111")], 0, 1)
    (row,) = table.to_pylist()
    assert (row["card_first6"], row["card_last4"]) == ("411111", "1111")
    assert len(row["card_token"]) == 32
    assert "4111111111111111" not in str(row)


def test_what_is_absent_is_null() -> None:
    (row,) = rows([record(0, transaction(location=None))], 0, 1).to_pylist()
    assert row["lat"] is row["lon"] is row["city"] is row["merchant_id"] is row["card_token"] is None


def test_refused_and_future_records_are_counted_with_their_code() -> None:
    far = transaction("far", seconds=SETTINGS.max_future_skew_seconds + 1)
    table = rows([record(0, b"no"), record(1, far, timestamp_ms=NOW_MS), record(3, transaction())], 0, 5)
    found = dict(zip(table["offset"].to_pylist(), table[OUTCOME].to_pylist(), strict=True))
    assert found == {0: "not_json", 1: "timestamp_in_future", 2: HOLE, 3: None, 4: HOLE}


def test_midnight_divides_days_to_the_millisecond() -> None:
    midnight = 1_700_006_400
    before, after = (transaction(str(s), seconds=midnight - NOW_S + s) for s in (-0.001, 0.0))
    dates = rows([record(0, before), record(1, after)], 0, 2)["event_date"].to_pylist()
    assert [str(date) for date in dates] == ["2023-11-14", "2023-11-15"]


kinds = st.lists(st.sampled_from(["good", "bad", "hole"]), max_size=40)


@given(kinds)
def test_every_offset_becomes_exactly_one_row(log: list[str]) -> None:
    records = [
        record(offset, transaction(f"t{offset}") if kind == "good" else b"?")
        for offset, kind in enumerate(log)
        if kind != "hole"
    ]
    table = rows(records, 0, len(log))
    assert sorted(table["offset"].to_pylist()) == list(range(len(log)))
    outcomes = dict(zip(table["offset"].to_pylist(), table[OUTCOME].to_pylist(), strict=True))
    expected = {"good": None, "bad": "not_json", "hole": HOLE}
    assert outcomes == {offset: expected[kind] for offset, kind in enumerate(log)}


@given(kinds)
def test_what_was_written_says_what_became_of_each_offset(log: list[str]) -> None:
    records = [
        record(offset, transaction(f"t{offset}") if kind == "good" else b"?")
        for offset, kind in enumerate(log)
        if kind != "hole"
    ]
    contents = TableContents()
    written = write_rows(MemoryTransactions(contents), rows(records, 0, len(log)))
    if not log:
        assert written == []
        return
    (block,) = written
    assert (block.first_offset, block.last_offset, block.offsets) == (0, len(log) - 1, len(log))
    assert block.accepted == log.count("good")
    assert block.outcomes.get(HOLE, 0) == log.count("hole")
    stored = [contents.files[file.path] for file in block.files]
    assert sum(table.num_rows for table in stored) == log.count("good")
    assert all(table.schema.names == SCHEMA.names for table in stored)
