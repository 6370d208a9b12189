"""The handbook's data: the published figures, and what its description says of any seed and size."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_fraud.generator.handbook import (
    COMPROMISED_CUSTOMER,
    COMPROMISED_TERMINAL,
    DAY_SECONDS,
    LARGE_AMOUNT,
    LARGE_FROM,
    START_TIME,
    HandbookSettings,
    HandbookTransactions,
    handbook_transactions,
)

PUBLISHED_ROWS = 1_754_155
PUBLISHED_FRAUDS = (973, 9_077, 4_631)
"""By scenario, as the source counts them after later scenarios took over rows of earlier ones."""
PUBLISHED_DIGEST = "c5f15a3f3062234f9f71039cff4d8056"
"""Of data that were equal, row by row, to the published ones of April to July 2018."""
SHIFTED_DIGEST = "d604af1d24e55f6a8ab002c999d77f56"
SMALL = HandbookSettings(customers=150, terminals=800, days=40)


def small(seed_shift: int = 0, days: int = SMALL.days) -> HandbookTransactions:
    return handbook_transactions(HandbookSettings(seed_shift, SMALL.customers, SMALL.terminals, days))


@pytest.mark.timeout(300, func_only=True)
def test_the_default_is_the_published_data_set() -> None:
    made = handbook_transactions()
    assert len(made) == PUBLISHED_ROWS
    assert tuple(np.bincount(made.scenario)[1:]) == PUBLISHED_FRAUDS
    assert made.digest() == PUBLISHED_DIGEST


def test_the_data_of_a_shift_are_the_ones_they_were() -> None:
    """Figures of experiments name their shift."""
    assert small(seed_shift=1000).digest() == SHIFTED_DIGEST


def test_another_shift_makes_other_transactions_and_compromises_others() -> None:
    one, two = small(), small(seed_shift=5_000)
    seen = [set(zip(made.timestamp.tolist(), made.user_id.tolist(), strict=True)) for made in (one, two)]
    assert len(seen[0] & seen[1]) < 10
    for scenario, column in ((COMPROMISED_TERMINAL, "merchant_id"), (COMPROMISED_CUSTOMER, "user_id")):
        first, second = (set(getattr(made, column)[made.scenario == scenario]) for made in (one, two))
        assert len(first & second) < min(len(first), len(second))


@given(seed_shift=st.integers(0, 2**32 - 150))
@settings(max_examples=12, deadline=None)
def test_rows_are_what_the_description_says_under_any_shift(seed_shift: int) -> None:
    made = small(seed_shift)
    assert np.array_equal(made.transaction_id, np.arange(len(made)))
    assert np.all(np.diff(made.timestamp) >= 0)
    since = made.timestamp - START_TIME
    assert np.all((since % DAY_SECONDS > 0) & (since >= 0) & (since < SMALL.days * DAY_SECONDS))
    assert np.all((made.user_id >= 0) & (made.user_id < SMALL.customers))
    assert np.all((made.merchant_id >= 0) & (made.merchant_id < SMALL.terminals))
    assert np.array_equal(made.fraud, made.scenario > 0)
    as_drawn = made.amount[made.scenario != COMPROMISED_CUSTOMER]
    assert np.all(as_drawn >= 0)
    assert np.array_equal(as_drawn, np.round(as_drawn, 2))
    assert np.all(made.amount[made.scenario == LARGE_AMOUNT] > LARGE_FROM)
    assert np.all(made.amount[made.scenario == 0] <= LARGE_FROM)


def test_a_compromised_terminal_makes_nothing_but_frauds_for_28_days() -> None:
    made = small()
    day = (made.timestamp - START_TIME) // DAY_SECONDS
    terminals = np.unique(made.merchant_id[made.scenario == COMPROMISED_TERMINAL])
    assert len(terminals) > 10
    for terminal in terminals:
        there = made.merchant_id == terminal
        fraud_days = day[there & (made.scenario == COMPROMISED_TERMINAL)]
        inside = there & (day >= fraud_days.min()) & (day <= fraud_days.max())
        # More than 28 days apart it was compromised twice.
        if fraud_days.max() - fraud_days.min() < 28:
            assert np.all(made.fraud[inside] == 1)


def test_no_compromise_begins_on_the_last_day() -> None:
    made = small(days=1)
    assert len(made) > 100
    assert set(made.scenario.tolist()) <= {0, LARGE_AMOUNT}


def test_a_longer_run_begins_with_the_transactions_of_a_shorter_one() -> None:
    """By any customer: only frauds, and the amounts that they change, depend on what comes later."""
    longer, shorter = small(), small(days=7)
    rows = len(shorter)
    for name in ("transaction_id", "timestamp", "user_id", "merchant_id"):
        assert np.array_equal(getattr(longer, name)[:rows], getattr(shorter, name))
    assert longer.timestamp[rows] >= START_TIME + 7 * DAY_SECONDS


def test_customers_with_no_terminal_in_reach_have_no_transactions() -> None:
    made = handbook_transactions(HandbookSettings(customers=50, terminals=2, days=5))
    assert len(np.unique(made.user_id)) < 10
    assert all(len(column) == len(made) for column in vars(made).values())


def test_progress_is_told_after_every_customer() -> None:
    told: list[int] = []
    handbook_transactions(HandbookSettings(customers=5, terminals=10, days=2), told.append)
    assert told == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"seed_shift": -1}, "seed_shift"),
        ({"seed_shift": 2**32 - 4_999}, "seed_shift"),
        ({"customers": 2}, "customers"),
        ({"terminals": 1}, "terminals"),
        ({"days": 0}, "days"),
        ({"days": 367}, "days"),
    ],
)
def test_wrong_settings_are_named(wrong: dict[str, int], field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field}: {wrong[field]} must be"):
        HandbookSettings(**wrong)
