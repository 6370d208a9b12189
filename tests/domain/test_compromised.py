"""Known cards: what plain loops say, and what the handbook's own filter leaves of a test."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ray_fraud.domain.compromised import known_compromised
from ray_fraud.domain.windows import DAY_MS

moments = st.one_of(st.integers(0, 40 * DAY_MS - 1), st.integers(0, 39).map(lambda day: day * DAY_MS))
rows = st.lists(st.tuples(st.integers(1, 4), moments, st.booleans()), min_size=1, max_size=60)
Rows = list[tuple[int, int, bool]]


def known(drawn: Rows, known_from_ms: int, delay_ms: int) -> list[bool]:
    users, event_ms, fraud = (np.array(column) for column in zip(*drawn, strict=True))
    known_rows: list[bool] = known_compromised(
        users, event_ms, fraud, known_from_ms=known_from_ms, delay_ms=delay_ms
    ).tolist()
    return known_rows


@given(rows, st.integers(0, 20 * DAY_MS), st.sampled_from([1, DAY_MS, 7 * DAY_MS, 10 * DAY_MS - 1]))
def test_a_card_is_known_by_any_fraud_that_is_old_enough(
    drawn: Rows, known_from_ms: int, delay_ms: int
) -> None:
    expected = [
        any(
            other == user and fraud and at >= known_from_ms and at + delay_ms < event_ms // DAY_MS * DAY_MS
            for other, at, fraud in drawn
        )
        for user, event_ms, _ in drawn
    ]
    assert known(drawn, known_from_ms, delay_ms) == expected


@given(rows)
def test_with_seven_days_it_is_the_filter_of_the_handbook(drawn: Rows) -> None:
    """As `get_train_test_set` is written: a set of cards that grows with each day of the test."""
    start, train_days, delay, test_days = 5, 7, 7, 7
    compromised = {user for user, at, fraud in drawn if fraud and start <= at // DAY_MS < start + train_days}
    left = []
    for day in range(test_days):
        new_day = start + train_days + day - 1
        compromised |= {user for user, at, fraud in drawn if fraud and at // DAY_MS == new_day}
        test_day = start + train_days + delay + day
        left += [
            index
            for index, (user, at, _) in enumerate(drawn)
            if at // DAY_MS == test_day and user not in compromised
        ]
    gone = known(drawn, start * DAY_MS, delay * DAY_MS)
    tested = range(start + train_days + delay, start + train_days + delay + test_days)
    assert sorted(left) == [
        index for index, (_, at, _) in enumerate(drawn) if at // DAY_MS in tested and not gone[index]
    ]
