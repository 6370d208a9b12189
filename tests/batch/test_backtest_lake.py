"""A period of the lake as a labelled history: nothing of which only alerts are judged; days by the topic."""

from pathlib import Path

import pyarrow as pa
import pytest

from batch.backtest.read_lake import read_lake
from batch.backtest.request import BacktestRefused
from batch.imports.job import import_partition
from batch.ingest.columns import OUTCOME
from batch.training.labelled import Period
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.windows import DAY_MS
from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.ledger.memory import MemoryDatabase
from ray_fraud.stores.tables.delta import DeltaTransactions
from ray_fraud.stores.tables.port import Append, ReadRange
from ray_fraud.stores.verdicts.memory import MemoryVerdicts
from ray_fraud.stores.verdicts.port import NewVerdict
from tests.batch.labelled_world import PARTITION, START_S, labelled_records, table_of

FIRST_MS = round(START_S * 1000)
DAYS = 4
ALL = Period(FIRST_MS - 10 * DAY_MS, FIRST_MS + 100 * DAY_MS)
ROWS = table_of(labelled_records(400, DAYS)).drop_columns([OUTCOME])
EVENT_MS = ROWS["event_time"].cast("int64").to_numpy() // 1_000


def append(table: DeltaTransactions, rows: pa.Table, partition: PartitionId) -> None:
    files = table.write_files(rows)
    read = ReadRange(partition, "transactions", 0, rows.num_rows, rows.num_rows, {}, 0)
    table.append(Append(f"run {partition}", [read], files))


@pytest.fixture
def table(tmp_path: Path) -> DeltaTransactions:
    made = DeltaTransactions(LakeLocation(tmp_path.as_uri()))
    made.create()
    append(made, ROWS, PARTITION)
    return made


def moved(rows: pa.Table, days: int, topic_id: str) -> pa.Table:
    """The same rows so much later, as of another topic."""
    later = pa.array((EVENT_MS + days * DAY_MS) * 1_000, pa.timestamp("us", "UTC"))
    columns = {name: rows[name] for name in rows.column_names}
    columns |= {"event_time": later, "record_time": later, "event_date": later.cast(pa.date32())}
    columns["topic_id"] = pa.array([topic_id] * rows.num_rows, pa.string())
    return pa.table(columns).cast(rows.schema)


def test_rows_younger_than_the_labels_delay_are_left_out_judged_or_not(table: DeltaTransactions) -> None:
    verdicts = MemoryVerdicts(MemoryDatabase(now_ms=lambda: ALL.until_ms))
    last = int(EVENT_MS.argmax())
    key = ROWS["transaction_id"][last].as_py(), ROWS["user_id"][last].as_py()
    verdicts.add([NewVerdict(transaction_id=key[0], user_id=key[1], fraud=True)])
    found = read_lake(table, verdicts, ALL, ALL.until_ms, DAY_MS)
    assert found.event_ms[-1] <= EVENT_MS.max() - DAY_MS
    assert len(found) == int((EVENT_MS.max() - DAY_MS >= EVENT_MS).sum())
    assert not found.fraud.any()
    assert read_lake(table, verdicts, ALL, ALL.until_ms, 0).fraud.sum() == 1
    with pytest.raises(BacktestRefused, match="younger ones than the label delay"):
        read_lake(table, verdicts, ALL, ALL.until_ms, 30 * DAY_MS)


def test_an_import_newer_than_the_topic_moves_no_window(table: DeltaTransactions) -> None:
    imported = import_partition("0" * 64)
    append(table, moved(ROWS, 50, imported.topic_id), imported)
    assert table.newest_ms() == EVENT_MS.max()
    assert set(table.recent(["topic_id"], DAY_MS)["topic_id"].to_pylist()) == {PARTITION.topic_id}


def test_of_imports_alone_the_newest_event_is_theirs(tmp_path: Path) -> None:
    alone = DeltaTransactions(LakeLocation((tmp_path / "other").as_uri()))
    alone.create()
    assert alone.newest_ms() is None
    imported = import_partition("0" * 64)
    append(alone, moved(ROWS, 0, imported.topic_id), imported)
    assert alone.newest_ms() == EVENT_MS.max()


def test_a_file_of_both_kinds_is_read_for_the_topics_newest(tmp_path: Path) -> None:
    """Care puts small files of a date together."""
    both = DeltaTransactions(LakeLocation((tmp_path / "both").as_uri()))
    both.create()
    imported = moved(ROWS, 0, import_partition("0" * 64).topic_id)
    early = EVENT_MS.max() - 3_600_000 > EVENT_MS
    append(both, pa.concat_tables([ROWS.filter(pa.array(early)), imported]), PARTITION)
    assert both.newest_ms() == EVENT_MS[early].max()
