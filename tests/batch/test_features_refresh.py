"""Feature tables are made of completed days and of verdicts, and only when there is something new."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from batch.features.config import FeatureConfig
from batch.features.profiles import profiles_of
from batch.features.refresh import RefreshReport, refresh
from ray_fraud.domain.alert import Alert, RuleName, Severity, Source, alert_uid
from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.feature_tables.encoding import decode_tables
from ray_fraud.stores.feature_tables.memory import MemoryFeatureRefreshes, MemoryFeatureTables
from ray_fraud.stores.ledger.memory import MemoryDatabase
from ray_fraud.stores.ledger.memory_queries import MemoryAlertQueries
from ray_fraud.stores.ledger.port import TopicAlert
from ray_fraud.stores.ledger.queries import Verdict
from ray_fraud.stores.review_data.memory import MemoryReviewData

DAY = 20_000
DAY_SECONDS = 86_400
PARTITION = PartitionId("cluster", "topic", 0)
Row = tuple[int, float, int, float | None, float | None]
"""User, amount, seconds since the beginning of day 0, latitude, longitude."""


def rows_of(rows: Sequence[Row]) -> pa.Table:
    users, amounts, seconds, lats, lons = zip(*rows, strict=True) if rows else ((),) * 5
    return pa.table(
        {
            "user_id": pa.array(users, pa.int64()),
            "amount": pa.array(amounts, pa.float64()),
            "event_time": pa.array(
                [datetime.fromtimestamp(at, UTC) for at in seconds], pa.timestamp("us", "UTC")
            ),
            "lat": pa.array(lats, pa.float64()),
            "lon": pa.array(lons, pa.float64()),
        }
    )


class Lake:
    """Rows of days."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = list(rows)
        self.reads = 0

    def newest_day(self) -> int | None:
        return max((row[2] // DAY_SECONDS for row in self.rows), default=None)

    def rows_of_days(self, from_day: int, until_day: int, columns: Sequence[str]) -> pa.Table:
        self.reads += 1
        assert set(columns) <= set(rows_of(visits(1, DAY, [1.0])).column_names)
        return rows_of([row for row in self.rows if from_day <= row[2] // DAY_SECONDS < until_day])


class World:
    def __init__(self, rows: Sequence[Row] = ()) -> None:
        self.lake = Lake(rows)
        self.now_ms = 1_000_000_000
        self.database = MemoryDatabase(now_ms=lambda: self.now_ms)
        self.files = MemoryFeatureTables()
        self.refreshes = MemoryFeatureRefreshes()
        self.offered: list[str] = []

    def refresh(self, delay_seconds: float = 0.0) -> RefreshReport:
        return refresh(
            FeatureConfig(model_cache=Path("unused"), verdict_delay_seconds=delay_seconds),
            self.lake,
            MemoryReviewData(self.database),
            self.files,
            self.refreshes,
            self._offer,
        )

    def _offer(self, digest: str, content: bytes) -> None:
        assert self.files.load(digest) == content, "offered before it is in the lake"
        assert self.refreshes.newest() != digest, "published before it was offered"
        self.offered.append(digest)

    def alert(self, transaction_id: str, merchant: str | None, rule: RuleName = RuleName.HIGH_AMOUNT) -> int:
        uid = alert_uid(transaction_id, 1, rule, bytes(16))
        details = {"transaction": {"merchant_id": merchant}}
        made = Alert(
            uid, transaction_id, 1, rule, Severity.LOW, "r", 1.0, 1, 0, 0, None, None, None, None, Source.HOT,
            details,
        )  # fmt: skip
        self.database.store([TopicAlert(made, PARTITION, 1)])
        return self.database.alerts[uid].alert_id

    def judge(self, alert_id: int, verdict: Verdict | None) -> None:
        MemoryAlertQueries(self.database).add_feedback(alert_id, verdict, "ann", str(self.now_ms))

    def risk(self) -> dict[str, tuple[int, int]]:
        digest = self.refreshes.newest()
        assert digest is not None
        table = decode_tables(self.files.load(digest)).tables.merchants
        counts = zip(table.verdicts.tolist(), table.frauds.tolist(), strict=True)
        return dict(zip(table.merchant_ids, counts, strict=True))


def visits(user: int, day: int, amounts: Sequence[float], hour: int = 9) -> list[Row]:
    start = day * DAY_SECONDS + hour * 3600
    return [(user, amount, start + number, 52.52, 13.404) for number, amount in enumerate(amounts)]


def test_a_profile_says_what_the_rows_say() -> None:
    rows = [
        *visits(7, DAY, [10, 20, 30, 40, 50]),
        *visits(3, DAY, [1] * 5, hour=23),
        *visits(9, DAY, [5] * 4),
    ]
    rows += [(7, 60.0, DAY * DAY_SECONDS + 3 * 3600, -33.9, 151.2), (3, 1.0, DAY * DAY_SECONDS, None, None)]
    table = profiles_of(rows_of(rows))
    assert table.user_ids.tolist() == [3, 7]
    assert table.counts.tolist() == [6, 6]
    assert table.means.tolist() == [1.0, 35.0]
    assert table.deviations[1] == pytest.approx(np.std([10, 20, 30, 40, 50, 60]))
    assert table.largest.tolist() == [1.0, 60.0]
    assert (table.hours[1][9], table.hours[1][3], table.hours[0][23], table.hours[0][0]) == (5, 1, 5, 1)
    assert table.hours.sum() == 12
    assert (table.home_lat[1], table.home_lon[1]) == (52.5, 13.4)


def test_users_without_places_have_no_home() -> None:
    rows = [(1, 2.0, DAY * DAY_SECONDS + number, None, None) for number in range(5)]
    table = profiles_of(rows_of(rows))
    assert np.isnan([table.home_lat[0], table.home_lon[0]]).all()


def test_an_empty_lake_without_verdicts_publishes_nothing() -> None:
    made = World()
    assert made.refresh() == RefreshReport(None, False, 0, 0)
    assert made.offered == []


def test_the_day_that_still_runs_is_in_no_profile() -> None:
    made = World(visits(1, DAY, [3.0] * 6))
    assert made.refresh().digest is None
    made.lake.rows += visits(1, DAY + 1, [3.0] * 50)
    report = made.refresh()
    assert (report.refreshed, report.profiles) == (True, 1)
    assert report.digest is not None
    assert decode_tables(made.files.load(report.digest)).tables.profiles.counts.tolist() == [6]


def test_nothing_new_is_nothing_to_do() -> None:
    made = World([*visits(1, DAY, [3.0] * 6), *visits(1, DAY + 1, [3.0])])
    first = made.refresh()
    reads = made.lake.reads
    made.lake.rows += visits(1, DAY + 1, [9.0])
    again = made.refresh()
    assert (again.digest, again.refreshed, made.lake.reads) == (first.digest, False, reads)
    assert made.offered == [first.digest]


def test_verdicts_count_once_per_transaction_and_the_newest_counts() -> None:
    made = World()
    for rule in (RuleName.HIGH_AMOUNT, RuleName.ML_ANOMALY):
        made.judge(made.alert("t1", "shop", rule), Verdict.TRUE_FRAUD)
    wrong = made.alert("t2", "shop")
    made.judge(wrong, Verdict.TRUE_FRAUD)
    made.judge(wrong, Verdict.FALSE_POSITIVE)
    taken_back = made.alert("t3", "other")
    made.judge(taken_back, Verdict.TRUE_FRAUD)
    made.judge(taken_back, None)
    made.judge(made.alert("t4", None), Verdict.TRUE_FRAUD)
    assert made.refresh().merchants == 1
    assert made.risk() == {"shop": (2, 1)}


def test_a_verdict_counts_when_its_delay_has_passed() -> None:
    made = World()
    made.judge(made.alert("t1", "shop"), Verdict.TRUE_FRAUD)
    made.now_ms += 59_000
    assert made.refresh(delay_seconds=60).digest is None
    made.now_ms += 1_000
    assert made.refresh(delay_seconds=60).merchants == 1


def test_a_verdict_leaves_the_profiles_as_they_are() -> None:
    made = World([*visits(1, DAY, [3.0] * 6), *visits(1, DAY + 1, [3.0])])
    made.refresh()
    reads = made.lake.reads
    made.judge(made.alert("t1", "shop"), Verdict.FALSE_POSITIVE)
    report = made.refresh()
    assert (report.refreshed, report.merchants, report.profiles, made.lake.reads) == (True, 1, 1, reads)


def test_lost_tables_are_made_anew() -> None:
    made = World([*visits(1, DAY, [3.0] * 6), *visits(1, DAY + 1, [3.0])])
    first = made.refresh()
    made.files.contents.clear()
    again = made.refresh()
    assert (again.refreshed, again.profiles) == (True, 1)
    assert again.digest == first.digest
    assert first.digest in made.files.contents
