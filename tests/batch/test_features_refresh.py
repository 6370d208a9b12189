"""Feature tables are made of completed days and of verdicts, and only when there is something new."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest

from batch.features.config import FeatureConfig
from batch.features.profiles import profiles_of
from batch.features.refresh import Refresher, RefreshReport
from ray_fraud.domain.alert import Alert, RuleName, Severity, Source, alert_uid
from ray_fraud.domain.feature_tables import FeatureTables
from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.feature_tables.memory import MemoryFeatureRefreshes, MemoryFeatureTables
from ray_fraud.stores.feature_tables.parts import Parts, TableReader
from ray_fraud.stores.ledger.memory import MemoryDatabase
from ray_fraud.stores.ledger.port import TopicAlert
from ray_fraud.stores.verdicts.memory import MemoryVerdicts
from ray_fraud.stores.verdicts.port import NewVerdict

DAY = 20_000
DAY_SECONDS = 86_400
PARTITION = PartitionId("cluster", "topic", 0)


class Row(NamedTuple):
    user: int
    amount: float
    at: int
    """Unix seconds."""
    lat: float | None = None
    lon: float | None = None
    merchant: str | None = None
    name: str = "t"


def rows_of(rows: Sequence[Row]) -> pa.Table:
    users, amounts, seconds, lats, lons, merchants, names = zip(*rows, strict=True) if rows else ((),) * 7
    times = [datetime.fromtimestamp(at, UTC) for at in seconds]
    return pa.table(
        {
            "user_id": pa.array(users, pa.int64()),
            "amount": pa.array(amounts, pa.float64()),
            "event_time": pa.array(times, pa.timestamp("us", "UTC")),
            "lat": pa.array(lats, pa.float64()),
            "lon": pa.array(lons, pa.float64()),
            "merchant_id": pa.array(merchants, pa.string()),
            "transaction_id": pa.array(names, pa.string()),
        }
    )


class Lake:
    """Rows of days."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = list(rows)
        self.profile_reads = 0

    def newest_ms(self) -> int | None:
        return max((row.at * 1000 for row in self.rows), default=None)

    def rows_of_days(self, from_day: int, until_day: int, columns: Sequence[str]) -> pa.Table:
        self.profile_reads += "amount" in columns
        chosen = [row for row in self.rows if from_day <= row.at // DAY_SECONDS < until_day]
        return rows_of(chosen).select(list(columns))


class World:
    def __init__(self, rows: Sequence[Row] = ()) -> None:
        self.lake = Lake(rows)
        self.now_ms = 2_000_000_000_000
        self.database = MemoryDatabase(now_ms=lambda: self.now_ms)
        self.verdicts = MemoryVerdicts(self.database)
        self.files = MemoryFeatureTables()
        self.refreshes = MemoryFeatureRefreshes()
        self.offered: list[str] = []
        self.refresher = self.restarted()

    def restarted(self, delay_seconds: float = 0.0) -> Refresher:
        self.refresher = Refresher(
            FeatureConfig(model_cache=Path("unused"), verdict_delay_seconds=delay_seconds),
            self.lake,
            self.verdicts,
            self.files,
            self.refreshes,
            self._offer,
            lambda: self.now_ms / 1000,
        )
        return self.refresher

    def refresh(self) -> RefreshReport:
        return self.refresher.refresh()

    def _offer(self, parts: Parts) -> None:
        assert all(self.files.load(digest) == content for digest, content in parts.contents.items())
        assert self.refreshes.newest() != parts.digest, "published before it was offered"
        self.offered.append(parts.digest)

    def alert(self, transaction_id: str, merchant: str | None, rule: RuleName = RuleName.HIGH_AMOUNT) -> int:
        uid = alert_uid(transaction_id, 1, rule, bytes(16))
        details = {"transaction": {"merchant_id": merchant}}
        made = Alert(
            uid, transaction_id, 1, rule, Severity.LOW, "r", (DAY + 1) * 86_400.0, 1, 0, 0, None, None, None,
            None, Source.HOT, details,
        )  # fmt: skip
        self.database.store([TopicAlert(made, PARTITION, 1)])
        return self.database.alerts[uid].alert_id

    def judge(self, alert_id: int, fraud: bool | None) -> None:
        self.verdicts.give(alert_id, fraud, "ann", str(self.now_ms))

    def tables(self) -> FeatureTables:
        digest = self.refreshes.newest()
        assert digest is not None
        return TableReader(self.files).load(digest)

    def frauds(self) -> dict[str, int]:
        table = self.tables().merchants
        return dict(zip(table.merchant_ids, table.frauds_30d.tolist(), strict=True))


def visits(user: int, day: int, amounts: Sequence[float], hour: int = 9) -> list[Row]:
    start = day * DAY_SECONDS + hour * 3600
    return [Row(user, amount, start + number, 52.52, 13.404) for number, amount in enumerate(amounts)]


def sales(merchant: str, days: Sequence[float]) -> list[Row]:
    """One transaction of user 1 at each moment, in days since day 0; named by place."""
    return [
        Row(1, 5.0, round(day * DAY_SECONDS), merchant=merchant, name=f"{merchant}-{number}")
        for number, day in enumerate(days)
    ]


def test_a_profile_says_what_the_rows_say() -> None:
    rows = [
        *visits(7, DAY, [10, 20, 30, 40, 50]),
        *visits(3, DAY, [1] * 5, hour=23),
        *visits(9, DAY, [5] * 4),
    ]
    rows += [Row(7, 60.0, DAY * DAY_SECONDS + 3 * 3600, -33.9, 151.2), Row(3, 1.0, DAY * DAY_SECONDS)]
    table = profiles_of(rows_of(rows), DAY, DAY + 1)
    assert table.user_ids.tolist() == [3, 7]
    assert table.counts.tolist() == [6, 6]
    assert table.means.tolist() == [1.0, 35.0]
    assert table.deviations[1] == pytest.approx(np.std([10, 20, 30, 40, 50, 60]))
    assert table.largest.tolist() == [1.0, 60.0]
    assert (table.hours[1][9], table.hours[1][3], table.hours[0][23], table.hours[0][0]) == (5, 1, 5, 1)
    assert table.hours.sum() == 12
    friday = [0, 0, 0, 0, 6, 0, 0]
    assert table.weekdays.tolist() == [friday, friday]
    assert (table.home_lat[1], table.home_lon[1]) == (52.5, 13.4)


def test_users_without_places_have_no_home() -> None:
    rows = [Row(1, 2.0, DAY * DAY_SECONDS + number) for number in range(5)]
    table = profiles_of(rows_of(rows), DAY, DAY + 1)
    assert np.isnan([table.home_lat[0], table.home_lon[0]]).all()


def test_an_empty_lake_without_verdicts_publishes_nothing() -> None:
    made = World()
    assert made.refresh() == RefreshReport()
    assert made.offered == []


def test_before_the_first_ingest_there_is_nothing_to_do() -> None:
    made = World()
    made.judge(made.alert("t1", "shop"), True)
    assert made.refresh() == made.refresher.look_for_verdicts() == RefreshReport()
    made.lake.rows += sales("shop", [DAY + 1])
    assert made.refresher.look_for_verdicts().merchants == 1


def test_a_look_without_new_verdicts_leaves_the_lake_alone() -> None:
    made = World(sales("shop", [DAY + 1]))
    made.refresh()
    made.lake.rows.clear()
    assert made.refresher.look_for_verdicts() == RefreshReport()


def test_the_day_that_still_runs_is_in_no_profile() -> None:
    made = World(visits(1, DAY, [3.0] * 6))
    assert made.refresh().digest is None
    made.lake.rows += visits(1, DAY + 1, [3.0] * 50)
    report = made.refresh()
    assert (report.refreshed, report.profiles) == (True, 1)
    assert made.tables().profiles.counts.tolist() == [6]


def test_nothing_new_is_nothing_to_do() -> None:
    made = World([*visits(1, DAY, [3.0] * 6), *visits(1, DAY + 1, [3.0])])
    first = made.refresh()
    reads = made.lake.profile_reads
    made.lake.rows += visits(1, DAY + 1, [9.0])
    for refresher in (made.refresher, made.restarted()):
        again = refresher.refresh()
        assert (again.digest, again.refreshed, made.lake.profile_reads) == (first.digest, False, reads)
    assert made.offered == [first.digest]


def test_verdicts_count_once_per_transaction_and_the_last_one_counts() -> None:
    made = World([*sales("shop", [DAY + 1, DAY + 1]), *sales("other", [DAY + 1])])
    for rule in (RuleName.HIGH_AMOUNT, RuleName.ML_ANOMALY):
        made.judge(made.alert("shop-0", "shop", rule), True)
    wrong = made.alert("shop-1", "shop")
    made.judge(wrong, True)
    made.judge(wrong, False)
    taken_back = made.alert("other-0", "other")
    made.judge(taken_back, True)
    made.judge(taken_back, None)
    made.judge(made.alert("t4", None), True)
    report = made.refresh()
    assert (report.merchants, report.users) == (1, 1)
    assert made.frauds() == {"shop": 1}
    assert made.tables().users.user_ids.tolist() == [1]


def test_a_verdict_counts_when_its_delay_has_passed() -> None:
    made = World(sales("shop", [DAY + 1]))
    made.restarted(delay_seconds=60)
    made.judge(made.alert("shop-0", "shop"), True)
    made.now_ms += 59_000
    assert made.refresh().digest is None
    made.now_ms += 1_000
    assert made.refresh().merchants == 1


def test_a_look_for_verdicts_leaves_the_profiles_as_they_are() -> None:
    made = World([*visits(1, DAY, [3.0] * 6), *visits(1, DAY + 1, [3.0]), *sales("shop", [DAY + 1])])
    made.refresh()
    made.lake.rows += visits(2, DAY + 1, [3.0] * 9) + visits(2, DAY + 2, [3.0])
    reads = made.lake.profile_reads
    assert not made.refresher.look_for_verdicts().refreshed
    made.judge(made.alert("shop-0", "shop"), True)
    report = made.refresher.look_for_verdicts()
    assert (report.refreshed, report.merchants, report.profiles) == (True, 1, 1)
    assert made.lake.profile_reads == reads
    assert made.refresh().profiles == 2, "the next batch sees to the day that has ended"


def test_a_chargeback_finds_its_merchant_in_the_lake() -> None:
    made = World(sales("shop", [DAY + 1, DAY + 2]))
    made.verdicts.add(
        [NewVerdict(transaction_id=f"shop-{number}", user_id=1, fraud=True) for number in (1, 7)]
    )
    assert made.refresh().merchants == 1
    assert made.frauds() == {"shop": 1}
    made.lake.rows += [Row(1, 2.0, (DAY + 2) * DAY_SECONDS + 3600, merchant="late", name="shop-7")]
    assert made.refresh().merchants == 2, "it came into the lake after its verdict"


def test_a_verdict_may_be_quicker_than_the_lake() -> None:
    made = World(sales("shop", [DAY, DAY + 0.5]))
    made.verdicts.add(
        [
            NewVerdict(
                transaction_id="not yet there",
                user_id=9,
                fraud=True,
                merchant_id="shop",
                event_ms=round((DAY + 0.9) * DAY_SECONDS * 1000),
            )
        ]
    )
    made.refresh()
    table = made.tables().merchants
    assert (made.frauds(), table.run.tolist()) == ({"shop": 1}, [1])
    assert made.tables().users.user_ids.tolist() == [9]


def test_unjudged_transactions_end_a_run_once_they_are_mature() -> None:
    made = World(sales("shop", [DAY, DAY + 1, DAY + 2, DAY + 3, DAY + 4]))
    for number in (1, 2):
        made.judge(made.alert(f"shop-{number}", "shop"), True)
    made.refresh()
    table = made.tables().merchants
    assert (table.run.tolist(), table.run_began_ms.tolist()) == ([2], [(DAY + 1) * DAY_SECONDS * 1000])
    made.lake.rows += sales("elsewhere", [DAY + 10.5])
    made.refresh()
    table = made.tables().merchants
    assert (table.run.tolist(), table.frauds_30d.tolist()) == ([0], [2])
    assert table.transactions.tolist() == [3], "whole days before the eighth day from the newest event"


def test_merchants_are_looked_at_again_after_an_hour_of_event_time() -> None:
    made = World(sales("shop", [DAY + 1]))
    made.judge(made.alert("shop-0", "shop"), True)
    made.refresh()
    made.lake.rows += sales("elsewhere", [DAY + 1 + 0.9 / 24])
    assert not made.refresh().refreshed
    made.lake.rows += sales("elsewhere", [DAY + 1 + 1.1 / 24])
    assert made.refresh().refreshed


def test_lost_tables_are_made_anew() -> None:
    made = World([*visits(1, DAY, [3.0] * 6), *visits(1, DAY + 1, [3.0])])
    first = made.refresh()
    made.files.contents.clear()
    made.restarted()
    again = made.refresh()
    assert (again.refreshed, again.profiles) == (True, 1)
    assert again.digest == first.digest
    assert first.digest in made.files.contents
