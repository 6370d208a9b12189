"""The totals of a lifetime, against the definition written as one sum."""

import math
import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_fraud.domain.lifetime import DECAY, MOST_DAYS, MOST_TRANSACTIONS, Totals, lifetime_with
from ray_fraud.domain.windows import DAY_MS

NONE: Totals = (0.0, 0.0, 0, 0)
START_MS = 20_000 * DAY_MS

moves = st.lists(
    st.tuples(
        st.sampled_from((0, 1, DAY_MS // 2, DAY_MS, 5 * DAY_MS)), st.sampled_from((0.0, 1.0, 9.0, 300.0))
    ),
    max_size=60,
)


def take(totals: Totals, event_ms: int, amount: float) -> tuple[tuple[float, float], Totals]:
    return lifetime_with(*totals, event_ms, event_ms // DAY_MS, amount)


@given(moves)
def test_in_order_the_feature_is_the_sum_over_earlier_high_ones(moves: list[tuple[int, float]]) -> None:
    totals, event_ms = NONE, START_MS
    amounts: list[float] = []
    highs: list[int] = []
    for step_ms, amount in moves:
        event_ms += step_ms
        (decayed, since), totals = take(totals, event_ms, amount)
        expected = math.fsum(0.5 ** ((event_ms // DAY_MS - then // DAY_MS) / 10) for then in highs)
        assert decayed == pytest.approx(expected, rel=1e-9)
        assert since == pytest.approx((event_ms - highs[-1]) / DAY_MS if highs else math.nan, nan_ok=True)
        if len(amounts) >= 5 and amount > 3 * sum(amounts) / len(amounts):
            highs.append(event_ms)
        amounts.append(amount)
    assert (totals[0], totals[3]) == (sum(amounts), len(amounts))


@given(moves, st.randoms(use_true_random=False))
def test_whatever_the_order_of_arrival_the_newest_high_one_is_that_by_event_time(
    moves: list[tuple[int, float]], chance: random.Random
) -> None:
    times = [START_MS + sum(step for step, _ in moves[: n + 1]) for n in range(len(moves))]
    chance.shuffle(times)
    totals, highs = NONE, []
    for event_ms, (_, amount) in zip(times, moves, strict=True):
        before = totals
        _, totals = take(totals, event_ms, amount)
        if before[3] >= 5 and amount > 3 * before[0] / before[3]:
            highs.append(event_ms)
    newest = max(highs, default=0)
    assert totals[2] == newest
    days = [newest // DAY_MS - then // DAY_MS for then in highs]
    assert totals[1] == pytest.approx(math.fsum(0.5 ** (n / 10) for n in days), rel=1e-9)


def test_the_powers_are_repeated_products_that_stay_near_the_true_ones() -> None:
    assert len(DECAY) == MOST_DAYS + 1
    assert DECAY[:3] == (1.0, 0.9330329915368074, 0.9330329915368074 * 0.9330329915368074)
    for tens in range(MOST_DAYS // 10 + 1):
        assert abs(Fraction(DECAY[10 * tens]) * 2**tens - 1) < Fraction(1, 10**12)


def test_more_than_four_hundred_days_decay_no_further() -> None:
    totals = (1e6, 8.0, START_MS, 100)
    at_end, later = (take(totals, START_MS + days * DAY_MS, 1.0)[0] for days in (400, 3_000))
    assert at_end == (8.0 * DECAY[400], 400.0)
    assert later == (at_end[0], 3_000.0)


def test_the_first_high_one_may_lie_before_1970_and_its_time_counts() -> None:
    _, totals = take((5.0, 0.0, 0, 5), -3 * DAY_MS, 100.0)
    assert totals == (105.0, 1.0, -3 * DAY_MS, 6)
    assert take(totals, 0, 1.0)[0] == (DECAY[3], 3.0)


def test_the_count_stays_at_what_a_state_can_hold_and_the_sum_with_it() -> None:
    full = (1e6, 0.0, 0, MOST_TRANSACTIONS)
    assert take((1e6, 0.0, 0, MOST_TRANSACTIONS - 1), START_MS, 2.0)[1][3] == MOST_TRANSACTIONS
    assert take(full, START_MS, 0.0)[1] == full
    assert take(full, START_MS, 50.0)[1] == (1e6, 1.0, START_MS, MOST_TRANSACTIONS)
