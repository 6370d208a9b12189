"""A sample of a period: all rows if there are few, else rows of all files and hours."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.tables.columns import IMPORTED
from ray_fraud.stores.tables.feature_columns import SCORE_SCHEMA, SCORES
from ray_fraud.stores.tables.period import PeriodRows, newest_event_ms
from ray_fraud.stores.tables.positioned import Move, PositionedTable

NOON_MS = 1_767_268_800_000
"""2026-01-01 12:00 UTC."""
HOUR_MS = 3_600_000


def rows(first: int, event_ms: np.typing.NDArray[np.int64]) -> pa.Table:
    """A row per event time, with the score as its number from `first` on."""
    count = len(event_ms)
    times = pa.array(event_ms * 1_000, pa.timestamp("us", "UTC"))
    values = {
        "offset": np.arange(first, first + count),
        "score": np.arange(first, first + count, dtype=np.float64),
        "record_time": times,
        "event_time": times,
        "event_date": times.cast(pa.date32()),
    }
    fixed = {
        "topic_id": "t",
        "partition": 0,
        "transaction_id": "t",
        "user_id": 1,
        "model": "m:1",
        "model_digest": "d",
        "threshold": 0.5,
        "anomaly": False,
        "live": True,
    }
    columns = [
        pa.array(values[field.name], field.type)
        if field.name in values
        else pa.repeat(pa.scalar(fixed[field.name], field.type), count)
        for field in SCORE_SCHEMA
    ]
    return pa.table(columns, schema=SCORE_SCHEMA)


@pytest.fixture
def lake(tmp_path: Path) -> LakeLocation:
    return LakeLocation(tmp_path.as_uri())


def filled(lake: LakeLocation, *parts: pa.Table) -> None:
    """One commit per part."""
    table = PositionedTable(lake, SCORES, SCORE_SCHEMA)
    table.create()
    for number, part in enumerate(parts):
        move = Move("test", number or None, number + 1)
        table.commit(f"run {number}", [move], table.write_files(part), {})


def numbers(found: list[pa.Table]) -> list[float]:
    return [number for part in found for number in part["score"].to_pylist()]


def test_few_rows_are_all_there_once_and_none_of_another_time(lake: LakeLocation) -> None:
    hours = NOON_MS + HOUR_MS * np.arange(-20, 20)
    filled(lake, rows(0, hours[:15]), rows(15, hours[15:]))
    assert newest_event_ms(lake, SCORES) == hours[-1]
    period = PeriodRows(lake, SCORES, int(hours[5]), int(hours[30]))
    assert sorted(numbers(list(period.sample(["score"], 1_000)))) == list(range(5, 30))
    assert 3 < len(numbers(list(period.sample(["score"], 7)))) <= 7


def test_many_rows_are_bounded_and_come_from_every_part(lake: LakeLocation) -> None:
    small = [rows(100 * n, NOON_MS + HOUR_MS * n + np.arange(100)) for n in range(12)]
    big = rows(10_000, NOON_MS + np.arange(100_000) * 200)
    filled(lake, *small, big)
    period = PeriodRows(lake, SCORES, NOON_MS, NOON_MS + 24 * HOUR_MS)
    found = list(period.sample(["score"], 30_000, 4_999))
    assert max(part.num_rows for part in found) <= 4_999
    sampled = numbers(found)
    assert len(sampled) == len(set(sampled))
    assert 20_000 < len(sampled) <= 30_000
    assert {number // 100 for number in sampled if number < 10_000} == set(range(12))
    tenths = np.bincount([int(number - 10_000) // 10_000 for number in sampled if number >= 10_000])
    assert len(tenths) == 10
    assert tenths.max() - tenths.min() <= 1
    assert set(np.diff([number for number in sampled if number >= 10_000])) == {4.0}, "across batches, too"
    assert numbers(list(period.sample(["score"], 30_000, 4_999))) == sampled


def test_no_more_is_read_than_a_few_times_the_sample(lake: LakeLocation) -> None:
    filled(lake, *(rows(100 * n, NOON_MS + HOUR_MS * n + np.arange(100)) for n in range(12)))
    period = PeriodRows(lake, SCORES, NOON_MS, NOON_MS + 24 * HOUR_MS)
    sampled = numbers(list(period.sample(["score"], 100)))
    assert len(sampled) == 100
    assert len({number // 100 for number in sampled}) == 4


def test_a_table_without_rows_has_no_newest_event(lake: LakeLocation) -> None:
    with pytest.raises(StoreRefused):
        newest_event_ms(lake, SCORES)
    filled(lake)
    assert newest_event_ms(lake, SCORES) is None
    late = datetime(2026, 1, 2, tzinfo=UTC)
    period = PeriodRows(lake, SCORES, 0, round(late.timestamp() * 1000))
    assert list(period.sample(["score"], 5)) == []


def imported(part: pa.Table) -> pa.Table:
    topic = pa.repeat(pa.scalar(f"{IMPORTED}0123"), part.num_rows)
    return part.set_column(part.schema.get_field_index("topic_id"), part.schema.field("topic_id"), topic)


def test_an_import_that_is_newer_than_the_topic_is_not_the_newest_event(lake: LakeLocation) -> None:
    hours = NOON_MS + HOUR_MS * np.arange(-20, 20)
    filled(lake, imported(rows(0, hours + 72 * HOUR_MS)))
    assert newest_event_ms(lake, SCORES) == hours[-1] + 72 * HOUR_MS, "there is nothing else"
    table = PositionedTable(lake, SCORES, SCORE_SCHEMA)
    # One file with rows of both kinds, as care leaves it, and one of an earlier time of the topic.
    mixed = pa.concat_tables([rows(100, hours[:30]), imported(rows(200, hours[:35]))])
    for number, part in enumerate((mixed, rows(300, hours[:5]))):
        move = Move("later", number or None, number + 1)
        table.commit(f"later {number}", [move], table.write_files(part), {})
    assert newest_event_ms(lake, SCORES) == hours[29]
