"""Groups that are left out unsorted have no crowds, and a crowd is what a loop finds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_fraud.domain.patterns.crowds import Usual, crowds, may_be_crowded
from ray_fraud.domain.patterns.poisson import poisson_tail
from ray_fraud.domain.patterns.sorting import order_of
from ray_fraud.domain.patterns.totals import crowd_of, span_of

WINDOW_MS, COUNT = 60, 3
GROUPS = st.integers(0, 3) | st.sampled_from([10**12])
ROWS = st.lists(st.tuples(GROUPS, st.integers(0, 600) | st.integers(200, 230)), min_size=1, max_size=60)


def usual_of(group: np.ndarray, at_ms: np.ndarray) -> Usual:
    return Usual(WINDOW_MS, span_of(at_ms).length_ms, crowd_of(group))


def covered_among(some: np.ndarray, group: np.ndarray, at_ms: np.ndarray, surprise: float) -> list[int]:
    """Positions of the rows in crowds, those of `some` looked at."""
    rows = np.flatnonzero(some)
    rows = rows[order_of(group[rows], at_ms[rows])]
    found = crowds(group[rows], at_ms[rows], COUNT, surprise, usual_of(group, at_ms))
    return sorted(rows[found.covered].tolist())


def covered_by_a_loop(group: np.ndarray, at_ms: np.ndarray, surprise: float) -> list[int]:
    usual, found = usual_of(group, at_ms), set()
    for end in range(len(group)):
        own = [row for row in range(len(group)) if group[row] == group[end]]
        # Of rows at the same moment, those behind are not in the window that ends here.
        before = [row for row in own if (at_ms[row], row) <= (at_ms[end], end)]
        within = [row for row in before if at_ms[row] >= at_ms[end] - WINDOW_MS]
        mean = usual.mean(np.array([len(own)]), np.array([len(within)]))
        if len(within) >= COUNT and poisson_tail(np.array([len(within)]), mean)[0] < surprise:
            found |= set(within)
    return sorted(found)


@given(ROWS, st.sampled_from([0.9, 0.1, 0.01, 1e-4]))
def test_what_is_left_out_has_no_crowd(rows: list[tuple[int, int]], surprise: float) -> None:
    group, at_ms = (np.array([row[place] for row in rows], np.int64) for place in range(2))
    some = may_be_crowded(group, at_ms, COUNT, surprise, usual_of(group, at_ms))
    expected = covered_by_a_loop(group, at_ms, surprise)
    assert covered_among(some, group, at_ms, surprise) == expected
    assert covered_among(np.ones(len(group), np.bool_), group, at_ms, surprise) == expected


def test_quiet_groups_are_left_out_and_a_crowd_on_the_border_of_two_windows_is_not() -> None:
    quiet = np.arange(0, 6000, 100)
    crowd = np.array([3000 - 30, 3000 - 15, 3000, 3000 + 15, 3000 + 30])
    group = np.concatenate((np.zeros(len(quiet)), np.ones(len(quiet)), np.ones(len(crowd)))).astype(np.int64)
    at_ms = np.concatenate((quiet, quiet, crowd))
    some = may_be_crowded(group, at_ms, COUNT, 1e-4, usual_of(group, at_ms))
    assert some.tolist() == (group == 1).tolist()


@pytest.mark.parametrize("groups", [2, 40, 4_000])
def test_the_table_is_as_fine_as_its_size_allows_and_leaves_out_no_crowd(groups: int) -> None:
    """From eight slots of a window to none at all."""
    rng = np.random.default_rng(groups)
    group, at_ms = rng.integers(0, groups, 8_000), rng.integers(0, 40 * WINDOW_MS, 8_000)
    crowd = group == groups // 2
    at_ms[np.flatnonzero(crowd)[:3]] = 7 * WINDOW_MS
    some = may_be_crowded(group, at_ms, COUNT, 1e-3, usual_of(group, at_ms))
    everything = np.ones(len(group), np.bool_)
    assert covered_among(some, group, at_ms, 1e-3) == covered_among(everything, group, at_ms, 1e-3)
