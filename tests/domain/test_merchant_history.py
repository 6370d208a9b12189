"""Merchants at a moment: what plain loops over their transactions say."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_fraud.domain.feature_tables import MerchantTable
from ray_fraud.domain.merchant_history import MAX_RUN, MerchantHistory, user_risk
from ray_fraud.domain.windows import DAY_MS


class Sale(NamedTuple):
    merchant: int
    event_ms: int
    fraud: bool


sales = st.lists(
    st.builds(
        Sale,
        st.integers(0, 3),
        st.one_of(st.integers(0, 60 * DAY_MS), st.integers(0, 60).map(lambda day: day * DAY_MS)),
        st.booleans(),
    ),
    max_size=40,
)
MERCHANTS = ("a", "b", "c", "d")


def history(rows: Sequence[Sale], labelled: Sequence[Sale] | None = None) -> MerchantHistory:
    """Of all rows by day, and of the labelled ones exactly."""
    daily = np.zeros((len(MERCHANTS), 61), np.int64)
    for row in rows:
        daily[row.merchant, row.event_ms // DAY_MS] += 1
    known = sorted(rows if labelled is None else labelled)
    starts = [sum(row.merchant < merchant for row in known) for merchant in range(len(MERCHANTS) + 1)]
    return MerchantHistory(
        MERCHANTS,
        0,
        daily,
        np.array(starts, np.int64),
        np.array([row.event_ms for row in known], np.int64),
        np.array([row.fraud for row in known], np.bool_),
    )


def plain(rows: Sequence[Sale], as_of_ms: int, maturity_ms: int, until_ms: int) -> dict[str, list[int]]:
    """By merchant: transactions, frauds of 7 and of 30 days, run, its begin, the last fraud."""
    mature_ms = as_of_ms - maturity_ms
    found = {}
    for merchant, name in enumerate(MERCHANTS):
        of_it = [row for row in rows if row.merchant == merchant]
        known = sorted(row for row in of_it if row.event_ms <= until_ms)
        frauds = [row.event_ms for row in known if row.fraud]
        recent = [sum(at >= mature_ms - days * DAY_MS for at in frauds) for days in (7, 30)]
        if not recent[1]:
            continue
        run = []
        for row in reversed(known):
            if not row.fraud or row.event_ms // DAY_MS < mature_ms // DAY_MS - 30:
                break
            run.append(row.event_ms)
        last_day = mature_ms // DAY_MS
        mature = sum(last_day - 30 <= row.event_ms // DAY_MS < last_day for row in of_it)
        found[name] = [mature, *recent, len(run), run[-1] if run else -1, max(frauds)]
    return found


def listed(table: MerchantTable) -> dict[str, list[int]]:
    columns = (
        table.transactions, table.frauds_7d, table.frauds_30d,
        table.run, table.run_began_ms, table.last_fraud_ms,
    )  # fmt: skip
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return dict(zip(table.merchant_ids, map(list, rows), strict=True))


moments = st.integers(0, 70 * DAY_MS)
delays = st.sampled_from([0, DAY_MS, 7 * DAY_MS, 7 * DAY_MS + 1])


@given(sales, moments, delays)
def test_a_table_says_what_plain_loops_say(rows: list[Sale], as_of_ms: int, delay_ms: int) -> None:
    until_ms = as_of_ms - delay_ms
    table = history(rows).table_at(as_of_ms, delay_ms, until_ms)
    assert listed(table) == plain(rows, as_of_ms, delay_ms, until_ms)


@given(sales, moments, delays)
def test_given_only_what_is_known_it_says_the_same(rows: list[Sale], as_of_ms: int, delay_ms: int) -> None:
    until_ms = as_of_ms - delay_ms
    known = [row for row in rows if row.event_ms <= until_ms]
    assert listed(history(rows, known).table_at(as_of_ms, delay_ms)) == listed(
        history(rows).table_at(as_of_ms, delay_ms, until_ms)
    )


def test_the_longest_run_is_bounded() -> None:
    rows = [Sale(0, at * 1000, True) for at in range(MAX_RUN + 5)]
    table = history(rows).table_at(DAY_MS, 0)
    assert (table.run.tolist(), table.run_began_ms.tolist()) == ([MAX_RUN], [5_000])


def test_a_run_is_no_longer_than_its_days() -> None:
    rows = [Sale(0, day * DAY_MS, True) for day in range(50)]
    table = history(rows).table_at(50 * DAY_MS, 7 * DAY_MS, 43 * DAY_MS)
    assert (table.run.tolist(), table.run_began_ms.tolist()) == ([31], [13 * DAY_MS])


frauds = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 60 * DAY_MS)), max_size=20)


@given(frauds, moments, delays)
def test_users_have_their_frauds_and_the_last_one(
    known: list[tuple[int, int]], as_of_ms: int, maturity_ms: int
) -> None:
    users = np.array([user for user, _ in known], np.int64)
    event_ms = np.array([at for _, at in known], np.int64)
    table = user_risk(users, event_ms, as_of_ms, maturity_ms)
    from_ms = as_of_ms - maturity_ms - 30 * DAY_MS
    assert table.user_ids.tolist() == sorted(set(users.tolist()))
    for user, count, last in zip(table.user_ids, table.frauds_30d, table.last_fraud_ms, strict=True):
        of_user = [at for who, at in known if who == user]
        assert (count, last) == (sum(at >= from_ms for at in of_user), max(of_user))


@pytest.mark.parametrize("as_of_ms", [0, 10**15])
def test_without_merchants_there_is_nothing(as_of_ms: int) -> None:
    none = MerchantHistory(
        (), 0, np.zeros((0, 1), np.int64), np.zeros(1, np.int64), np.zeros(0, np.int64), np.zeros(0, np.bool_)
    )
    assert listed(none.table_at(as_of_ms, DAY_MS)) == {}
