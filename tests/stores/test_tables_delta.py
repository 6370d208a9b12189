"""What a Delta table shows to others: metadata of a commit, statistics, refusals."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import msgspec
import pytest
from deltalake import DeltaTable

from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.delta_location import UNSAFE, delta_location
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.tables.delta import RANGES, DeltaTransactions
from ray_fraud.stores.tables.port import Append, ReadRange
from tests.stores.table_samples import FIRST, TOPIC, rows


@pytest.fixture
def table(tmp_path: Path) -> DeltaTransactions:
    made = DeltaTransactions(LakeLocation(tmp_path.as_uri()))
    made.create()
    return made


def test_a_commit_names_from_to_and_rejected_of_each_partition(
    table: DeltaTransactions, tmp_path: Path
) -> None:
    files = table.write_files(rows(FIRST, 0, 3))
    table.append(Append("run", [ReadRange(FIRST, TOPIC, 0, 5, 3, {"not_json": 2}, 0)], files))
    newest = DeltaTable(f"{tmp_path}/transactions").history(1)[0]
    (read,) = json.loads(newest[RANGES])
    assert (read["from_offset"], read["to_offset"], read["rejected"]) == (0, 5, {"not_json": 2})


def test_engines_can_skip_files_by_day_offset_and_time(table: DeltaTransactions, tmp_path: Path) -> None:
    for begin, day in ((0, date(2026, 11, 24)), (3, date(2026, 11, 25))):
        files = table.write_files(rows(FIRST, begin, begin + 3, day))
        table.append(Append(str(day), [ReadRange(FIRST, TOPIC, begin, begin + 3, 3, {}, 0)], files))
    opened = DeltaTable(f"{tmp_path}/transactions")
    stats = opened.get_add_actions(flatten=True)
    assert sorted(stats["min.offset"].to_pylist()) == [0, 3]
    assert sorted(stats["max.offset"].to_pylist()) == [2, 5]
    assert opened.to_pyarrow_table(filters=[("event_date", "=", date(2026, 11, 25))]).num_rows == 3
    assert opened.to_pyarrow_table(filters=[("offset", ">", 3)]).num_rows == 2


def test_a_filter_on_any_column_finds_the_rows(table: DeltaTransactions, tmp_path: Path) -> None:
    files = table.write_files(rows(FIRST, 0, 3))
    table.append(Append("run", [ReadRange(FIRST, TOPIC, 0, 3, 3, {}, 0)], files))
    opened = DeltaTable(f"{tmp_path}/transactions")
    for name, value in (("topic_id", "topic-id"), ("amount", 12.5), ("transaction_id", "tx-1")):
        found = opened.to_pyarrow_table(filters=[(name, "=", value)])
        assert found.num_rows == (1 if name == "transaction_id" else 3), name


def test_a_lake_without_the_table_or_in_an_impossible_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreRefused, match="open transactions"):
        DeltaTransactions(LakeLocation(tmp_path.as_uri())).view()
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(StoreRefused, match="create the tables"):
        DeltaTransactions(LakeLocation(blocked.as_uri())).create()


@pytest.mark.parametrize("kind", ["folder", pytest.param("s3", marks=pytest.mark.servers)])
def test_many_may_create_the_tables_at_once(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    lake = LakeLocation(tmp_path.as_uri()) if kind == "folder" else request.getfixturevalue("s3_lake")
    for number in range(5):  # a race; not each is a close one
        location = msgspec.structs.replace(lake, url=f"{lake.url}/{number}")
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _, at=location: DeltaTransactions(at).create(), range(8)))
        assert DeltaTransactions(location).rows() == 0


def test_unsafe_renames_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(UNSAFE, "true")
    with pytest.raises(StoreRefused, match=UNSAFE):
        DeltaTransactions(LakeLocation(tmp_path.as_uri()))


def test_s3_options_are_those_of_delta_rs(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets.json"
    secrets.write_text('{"access_key_id": "id", "secret_access_key": "key"}')
    secrets.chmod(0o600)
    options = {"endpoint": "127.0.0.1:9000", "scheme": "http", "region": "here"}
    address, given = delta_location(LakeLocation("s3://bucket/lake/", options, secrets), "transactions")
    assert address == "s3://bucket/lake/transactions"
    assert given == {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9000",
        "AWS_REGION": "here",
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "key",
        "AWS_CONDITIONAL_PUT": "etag",
        "AWS_ALLOW_HTTP": "true",
        "connect_timeout": "3000ms",
        "timeout": "20000ms",
        "retry_timeout": "30000ms",
    }
