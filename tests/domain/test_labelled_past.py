"""Moments, habits and first tables: what plain loops say."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_fraud.domain.daily_habits import DailyHabits, PlaceDays
from ray_fraud.domain.feature_tables import HOURS, MIN_PROFILE, WEEKDAYS
from ray_fraud.domain.labelled_past import LabelledPast, first_refresh, refreshes
from ray_fraud.domain.merchant_history import MerchantHistory
from ray_fraud.domain.windows import DAY_MS, HOUR_MS

times = st.lists(st.integers(0, 9 * DAY_MS), max_size=60).map(sorted)
every = st.integers(1, 3 * DAY_MS)
Visit = tuple[int, int, float, int, float | None]
visits = st.lists(
    st.tuples(
        st.integers(1, 3),
        st.integers(0, 9),
        st.floats(0.01, 1e4),
        st.integers(0, 23),
        st.one_of(st.none(), st.sampled_from([52.5, -3.1])),
    ),
    min_size=12,
    max_size=40,
)


@given(times, every)
def test_a_refresh_is_due_after_a_day_or_some_time(event_ms: list[int], every_ms: int) -> None:
    expected, last = [], None
    for position, now in enumerate(event_ms):
        if last is None or now // DAY_MS > last // DAY_MS or now - last >= every_ms:
            expected.append((position, now))
            last = now
    assert list(refreshes(np.array(event_ms, np.int64), every_ms)) == expected


def test_time_between_refreshes_must_be_some() -> None:
    with pytest.raises(ValueError, match="every_ms: 0"):
        list(refreshes(np.zeros(1, np.int64), 0))


def by_day(rows: list[Visit]) -> DailyHabits:
    """The habits of each day, by loops."""
    pairs = sorted({(user, day) for user, day, *_ in rows})
    of = {pair: [row for row in rows if row[:2] == pair] for pair in pairs}
    amounts = [np.array([row[2] for row in of[pair]]) for pair in pairs]
    places = [(user, day, lat) for user, day, _, _, lat in rows if lat is not None]
    return DailyHabits(
        np.array([user for user, _ in pairs], np.int64),
        np.array([day for _, day in pairs], np.int64),
        np.array([len(each) for each in amounts], np.int64),
        np.array([each.mean() for each in amounts]),
        np.array([((each - each.mean()) ** 2).sum() for each in amounts]),
        np.array([each.max() for each in amounts]),
        np.array(
            [np.bincount([row[3] for row in of[pair]], minlength=HOURS) for pair in pairs], np.int32
        ).reshape(-1, HOURS),
        PlaceDays(
            np.array([user for user, _, _ in places], np.int64),
            np.array([day for _, day, _ in places], np.int64),
            np.array([lat for _, _, lat in places], np.float64),
            np.zeros(len(places)),
            np.ones(len(places), np.int64),
        ),
    )


@given(visits, st.integers(0, 5), st.integers(3, 10))
def test_days_together_give_the_profile_of_their_rows(
    rows: list[Visit], from_day: int, until_day: int
) -> None:
    table = by_day(rows).profiles(from_day, until_day)
    within = [row for row in rows if from_day <= row[1] < until_day]
    counts = Counter(row[0] for row in within)
    expected = sorted(user for user, count in counts.items() if count >= MIN_PROFILE)
    assert table.user_ids.tolist() == expected
    for row, user in enumerate(expected):
        mine = [each for each in within if each[0] == user]
        amounts = np.array([each[2] for each in mine])
        assert table.counts[row] == len(mine)
        assert table.means[row] == pytest.approx(amounts.mean(), rel=1e-9)
        assert table.deviations[row] == pytest.approx(amounts.std(), rel=1e-9, abs=1e-9)
        assert table.largest[row] == amounts.max()
        assert table.hours[row].tolist() == np.bincount([each[3] for each in mine], minlength=HOURS).tolist()
        # The first day was a Thursday.
        days = np.bincount([(each[1] + 3) % WEEKDAYS for each in mine], minlength=WEEKDAYS)
        assert table.weekdays[row].tolist() == days.tolist()
        where = Counter(each[4] for each in mine if each[4] is not None)
        if where:
            assert table.home_lat[row] == min(where, key=lambda lat: (-where[lat], lat))
            assert table.home_lon[row] == 0
        else:
            assert np.isnan([table.home_lat[row], table.home_lon[row]]).all()


def nothing_known(fraud_ms: list[int]) -> LabelledPast:
    merchants = MerchantHistory(
        (), 0, np.zeros((0, 1), np.int64), np.zeros(1, np.int64), np.zeros(0, np.int64), np.zeros(0, np.bool_)
    )
    return LabelledPast(merchants, np.ones(len(fraud_ms), np.int64), np.array(fraud_ms, np.int64))


@given(
    st.lists(st.tuples(st.integers(0, 30 * DAY_MS), st.integers(1, 3)), max_size=40).map(sorted),
    st.lists(st.integers(0, 30 * DAY_MS), max_size=1),
    st.integers(1, 4),
)
def test_the_first_tables_have_something_in_them(
    rows: list[tuple[int, int]], fraud_ms: list[int], profile_days: int
) -> None:
    delay_ms = 2 * DAY_MS
    event_ms, users = (np.array([row[part] for row in rows], np.int64) for part in (0, 1))
    found = first_refresh(nothing_known(fraud_ms), users, event_ms, 6 * HOUR_MS, delay_ms, profile_days)
    expected = None
    for position, now in refreshes(event_ms, 6 * HOUR_MS):
        day = now // DAY_MS
        seen = Counter(user for at, user in rows if day - profile_days <= at // DAY_MS < day)
        if max(seen.values(), default=0) >= MIN_PROFILE or any(at <= now - delay_ms for at in fraud_ms):
            expected = position
            break
    assert found == expected
