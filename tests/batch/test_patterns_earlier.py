"""Crowds that come again are no rings; rings are found beside them."""

from collections import Counter
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.patterns.earlier import BusiestInLake, vouched
from ray_fraud.domain.alert import RuleName
from ray_fraud.domain.patterns.earlier_days import EarlierRows, Question, busiest_before
from ray_fraud.domain.patterns.finding import Finding
from ray_fraud.domain.patterns.settings import CoordinatedSettings, PatternSettings
from ray_fraud.domain.windows import DAY_MS
from ray_fraud.stores.errors import StoreUnavailable
from tests.batch.usual_crowds import FIRST_DAY, judge

SETTINGS = CoordinatedSettings()
MINUTE_MS, HOUR_MS = 60_000, 3_600_000


def test_billing_runs_salary_days_and_lunch_hours_are_no_rings() -> None:
    """Twenty days; `tests.benchmarks.usual_crowds` has a year."""
    judged = judge(3, range(FIRST_DAY + 40, FIRST_DAY + 60), 9, 1, PatternSettings())
    assert judged.before > 30
    assert judged.false_findings == 0
    assert judged.rings_found >= 0.9 * judged.rings


earlier = st.lists(st.tuples(st.integers(1, 6), st.integers(-9 * DAY_MS, DAY_MS)), max_size=40)


@given(earlier, st.integers(0, 23), st.integers(1, 4))
def test_the_busiest_window_is_that_of_counting_each_one(
    rows: list[tuple[int, int]], hour: int, half_hours: int
) -> None:
    settings = CoordinatedSettings(earlier_days=7)
    asked = Question("merchant_id", ("m",), hour * HOUR_MS, half_hours * 30 * MINUTE_MS, 1.0, 2.0)
    found = busiest_before(
        EarlierRows(
            np.array([user for user, _ in rows], np.int64), np.array([at for _, at in rows], np.int64)
        ),
        asked,
        settings,
    )
    best = 0
    for back in range(1, 8):
        begin = asked.first_ms - back * DAY_MS - HOUR_MS
        firsts: dict[int, int] = {}
        for user, at in sorted(rows, key=lambda row: row[1]):
            if begin <= at <= begin + 2 * HOUR_MS + asked.length_ms:
                firsts.setdefault(user, at)
        counts = Counter(
            start
            for start in firsts.values()
            for at in firsts.values()
            if start <= at <= start + asked.length_ms
        )
        best = max(best, *counts.values(), 0)
    assert found == best


def finding(subject: str, rows: range) -> Finding:
    settings = PatternSettings().coordinated
    return Finding(
        RuleName.COORDINATED,
        subject,
        0,
        40 * DAY_MS,
        40 * DAY_MS + 1,
        settings.severity,
        "",
        tuple(rows),
        tuple(rows),
    )


def members(merchants: list[str | None]) -> pa.Table:
    count = len(merchants)
    return pa.table(
        {"user_id": range(count), "amount": [10.0] * count, "merchant_id": pa.array(merchants, pa.string())}
    )


def test_a_ring_at_another_merchant_than_the_usual_crowd_stays() -> None:
    table = members([*["canteen"] * 60, *["shop"] * 9])
    one = finding("cell:8a", range(69))

    def busiest(asked: Iterable[Question]) -> dict[Question, int]:
        return {each: 60 if each.names == ("canteen",) else 3 for each in asked}

    assert vouched([one], table, busiest, SETTINGS).findings == [one]
    only = finding("cell:8a", range(60))
    assert vouched([only], table, busiest, SETTINGS) == ([], 1)


def test_a_shared_device_is_held_against_its_own_earlier_days() -> None:
    asked: list[Question] = []

    def busiest(questions: Iterable[Question]) -> dict[Question, int]:
        asked.extend(questions)
        return {}

    one = finding("device:d1", range(9))
    assert vouched([one], members(["busy"] * 9), busiest, SETTINGS).findings == [one]
    assert [(each.column, each.names) for each in asked] == [("device_id", ("d1",))]


def test_a_lake_that_does_not_answer_leaves_findings_and_is_asked_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls = []

    def read(since_ms: int, until_ms: int) -> Iterable[pa.Table]:
        calls.append((since_ms, until_ms))
        raise StoreUnavailable("lake", "does not answer")

    busiest = BusiestInLake(read, SETTINGS)
    one = finding("merchant:m", range(9))
    for _ in range(2):
        assert vouched([one], members(["m"] * 9), busiest, SETTINGS).findings == [one]
    assert len(calls) == 2
    assert "not held against earlier days" in caplog.text


def test_an_answer_is_found_once() -> None:
    calls = []

    def read(since_ms: int, until_ms: int) -> Iterable[pa.Table]:
        calls.append((since_ms, until_ms))
        return []

    busiest = BusiestInLake(read, SETTINGS)
    one = finding("merchant:m", range(9))
    for _ in range(3):
        assert vouched([one], members(["m"] * 9), busiest, SETTINGS).findings == [one]
    assert len(calls) == 1
