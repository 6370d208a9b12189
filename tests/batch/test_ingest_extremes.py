"""Every record that is accepted, however extreme, is committed and found again by every reader."""

from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from deltalake import DeltaTable

from batch.ingest.columns import OUTCOME, UNWRITABLE, rows_of
from batch.ingest.commit import quarantine
from batch.ingest.manifest import joined, write_rows
from batch.ingest.plan import Slice
from ray_fraud.domain import contract
from ray_fraud.domain.accept import LEAST_TIMESTAMP_MS, TIMESTAMP_LIMIT_MS
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.record import PartitionId, Record
from ray_fraud.domain.rejection import Rejection
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.domain.transaction import Transaction
from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.tables.care import TableCare
from ray_fraud.stores.tables.dataset import table_dataset
from ray_fraud.stores.tables.delta import DeltaTransactions
from ray_fraud.stores.tables.memory import MemoryTransactions, TableContents
from ray_fraud.stores.tables.port import Append
from ray_fraud.stores.tables.query import query
from tests.domain.samples import CARD_KEY, record, transaction

PARTITION = PartitionId("cluster", "import:" + "f" * 32, 2**31 - 1)
FIRST_OFFSET = 2**63 - 1 - 10_000
SETTINGS = DetectionSettings(max_future_skew_seconds=1e12)
FAR = DetectionSettings(max_future_skew_seconds=1e305)
LATEST_S = 99_999_999_999.999
TEXTS = ["\U0010ffff", "😀", "é", "\uffff", "\ue000", "'", '"', "\\", "%", "=/", "א", "𝔘", "~"]
NUMBERS = [0.0, -0.0, 5e-324, 0.1 + 0.2, 1e15 / 3, contract.MAX_AMOUNT]
SECONDS = [contract.MIN_TIMESTAMP, 951_782_400.0005, 1.7e9 + 0.9999, LATEST_S, 2**33, 9_223_372_036.9]
SENT_MS = [LEAST_TIMESTAMP_MS, TIMESTAMP_LIMIT_MS - 1, 9_223_372_036_855, 1_790_000_000_001]
USERS = [0, 2**53 + 1, contract.MAX_USER_ID, contract.MAX_USER_ID - 1]
LIMITS = {
    "transaction_id": contract.MAX_ID_LENGTH,
    "merchant_id": contract.MAX_ID_LENGTH,
    "device_id": contract.MAX_ID_LENGTH,
    "currency": contract.MAX_CURRENCY_LENGTH,
    "channel": contract.MAX_CHANNEL_LENGTH,
}


def extremes() -> list[Record]:
    """Each extreme of each field at least once, in values that the contract lets through."""
    sent, users, numbers = cycle(SENT_MS), cycle(USERS), cycle(NUMBERS)
    values: list[dict[str, Any]] = []
    for seconds in SECONDS:
        for text in TEXTS:
            values.append(
                {name: (text * size)[:size] for name, size in LIMITS.items()}
                | {"user_id": next(users), "amount": next(numbers), "timestamp": seconds}
                | {"location": {"lat": -0.0, "lon": 180.0, "city": (text * 128)[:128], "country": text}}
            )
            values.append(
                {
                    "transaction_id": text,
                    "user_id": next(users),
                    "amount": next(numbers),
                    "timestamp": seconds,
                }
                | {"location": {"lat": -90.0, "lon": 5e-324}}
            )
    return [
        Record(FIRST_OFFSET + number, next(sent), None, msgspec.json.encode(value))
        for number, value in enumerate(values)
    ]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> LakeLocation:
    """One commit of them all."""
    location = LakeLocation(tmp_path_factory.mktemp("lake").as_uri())
    table, records = DeltaTransactions(location), extremes()
    table.create()
    whole = Slice(PARTITION, FIRST_OFFSET, FIRST_OFFSET + len(records))
    rows = rows_of(records, PARTITION, whole.from_offset, whole.to_offset, Decoder(None), SETTINGS)
    assert rows[OUTCOME].null_count == len(records), rows[OUTCOME].to_pylist()
    reads, files = joined("topic", [whole], write_rows(table, rows))
    table.append(Append("run", reads, files))
    return location


def expected() -> dict[int, tuple[int, float, float, str, datetime]]:
    found = {}
    for given in extremes():
        value = msgspec.json.decode(given.value or b"")
        at = datetime.fromtimestamp(round(value["timestamp"] * 1000) // 1000, UTC)
        at = at.replace(microsecond=round(value["timestamp"] * 1000) % 1000 * 1000)
        found[given.offset] = (
            value["user_id"],
            value["amount"],
            value["timestamp"],
            value["transaction_id"],
            at,
        )
    return found


COLUMNS = ["offset", "user_id", "amount", "timestamp", "transaction_id", "event_time"]
QUOTED = ",".join(f'"{name}"' for name in COLUMNS)


class Unguarded(Decoder):
    """Accepts what no table can hold, as a decoder with a fault would."""

    def decode(self, value: bytes | None) -> Transaction | Rejection:
        found = super().decode(value)
        if isinstance(found, Rejection):
            return found
        return msgspec.structs.replace(found, **UNWRITABLE_FIELDS.get(found.transaction_id, {}))


UNWRITABLE_FIELDS: dict[str, dict[str, Any]] = {
    "user": {"user_id": 2**63},
    "surrogate": {"merchant_id": "\ud800"},
    "year": {"timestamp": 3e11},
    "huge": {"timestamp": 1e300},
    "text": {"amount": "much"},
}


def unguarded_rows(size: int = 40) -> tuple[pa.Table, list[int]]:
    """Records of which each eighth cannot be written, and the offsets of those."""
    kinds = [list(UNWRITABLE_FIELDS)[n // 8 % 5] if n % 8 == 3 else f"tx-{n}" for n in range(size)]
    card: dict[str, Any] = {"card_number": "4111111111111111"}
    records = [record(n, transaction(kind), **card) for n, kind in enumerate(kinds)]
    rows = rows_of(records, PARTITION, 0, size, Unguarded(CARD_KEY), FAR)
    return rows, [n for n, kind in enumerate(kinds) if kind in UNWRITABLE_FIELDS]


@pytest.mark.parametrize("kind", ["memory", "delta"])
def test_a_record_that_no_row_can_hold_goes_to_quarantine_and_all_others_are_rows(
    kind: str, tmp_path: Path
) -> None:
    location = LakeLocation(tmp_path.as_uri())
    memory = MemoryTransactions(TableContents())
    table = memory if kind == "memory" else DeltaTransactions(location)
    table.create()
    rows, unwritable = unguarded_rows()
    blocks = write_rows(table, rows)
    reads, files = joined("topic", [Slice(PARTITION, 0, 40)], blocks)
    assert (reads[0].accepted, reads[0].rejected) == (35, {UNWRITABLE: 5})
    assert [quarantine(table, blocks, 5), quarantine(table, blocks, 6)] == [5, 0], "each once"
    table.append(Append("run", reads, files))
    kept = table.quarantined()
    assert [(row.partition, row.offset) for row in kept] == [(PARTITION, n) for n in unwritable]
    assert {row.noticed_ms for row in kept} == {5}
    assert [row.user_id for row in kept] == [None, None, 7, 7, None]
    assert all(row.original and "4111111111111111" not in row.original for row in kept)
    assert "event_time" in kept[2].reason
    assert table.rows_of(PARTITION, 0, 40, ["offset"]).num_rows == 35


def by_deltalake(lake: LakeLocation) -> pa.Table:
    return DeltaTable(f"{lake.url}/transactions").to_pyarrow_table(columns=COLUMNS)


def by_deltalake_filtered(lake: LakeLocation) -> pa.Table:
    filters = [("offset", ">=", FIRST_OFFSET), ("topic_id", "=", PARTITION.topic_id)]
    return DeltaTable(f"{lake.url}/transactions").to_pyarrow_table(columns=COLUMNS, filters=filters)


def by_the_platform(lake: LakeLocation) -> pa.Table:
    return DeltaTransactions(lake).rows_of(PARTITION, FIRST_OFFSET, 2**63 - 1, COLUMNS)


def by_arrow(lake: LakeLocation) -> pa.Table:
    dataset = table_dataset(lake, "transactions", DeltaTable(f"{lake.url}/transactions"))
    return dataset.to_table(columns=COLUMNS, filter=ds.field("user_id") >= 0)


def by_parquet_alone(lake: LakeLocation) -> pa.Table:
    files = DeltaTable(f"{lake.url}/transactions").file_uris()
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return connection.sql(f"SELECT {QUOTED} FROM read_parquet({files})").to_arrow_table()  # noqa: S608


def by_sql(lake: LakeLocation) -> pa.Table:
    sql = f"SELECT {QUOTED} FROM transactions WHERE event_time IS NOT NULL"  # noqa: S608
    shown = query(lake, sql, None, 10**6)
    return pa.table(dict(zip(shown.columns, zip(*shown.rows, strict=True), strict=True)))


READERS = [by_deltalake, by_deltalake_filtered, by_the_platform, by_arrow, by_parquet_alone, by_sql]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("cared", [False, True])
def test_every_reader_has_every_extreme(read: Any, cared: bool, lake: LakeLocation) -> None:
    if cared:
        care = TableCare(lake, "transactions")
        for rewrite in care.plan():
            care.rewrite(rewrite, "care")
        care.checkpoint()
    rows = read(lake).to_pydict()
    found = {row[0]: row[1:] for row in zip(*(rows[name] for name in COLUMNS), strict=True)}
    wanted = expected()
    assert found.keys() == wanted.keys()
    for offset, row in found.items():
        assert row == wanted[offset], offset


def test_each_row_is_found_by_its_own_values(lake: LakeLocation) -> None:
    for user in USERS:
        count = sum(row[0] == user for row in expected().values())
        assert query(lake, f"SELECT count(*) FROM transactions WHERE user_id = {user}", None, 1).rows == [  # noqa: S608
            [count]
        ]
    for at in {row[4] for row in expected().values()}:
        sql = f"SELECT count(*) FROM transactions WHERE event_time = '{at.isoformat()}'"  # noqa: S608
        assert query(lake, sql, None, 1).rows == [[sum(row[4] == at for row in expected().values())]], at
