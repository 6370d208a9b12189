"""Counting by a table of the range gives what counting by sorting gives, and what a loop gives."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ray_fraud.domain.patterns.counting import WIDEST, distinct, sizes

NARROW = st.lists(st.integers(-5, 5), max_size=50)
WIDE = st.lists(st.integers(-(2**62), 2**62), max_size=50)


@given(NARROW | WIDE)
def test_values_are_counted(values: list[int]) -> None:
    rows = np.array(values, np.int64)
    counts = Counter(values)
    assert distinct(rows) == len(counts)
    assert sizes(rows).tolist() == [counts[value] for value in values]


def test_a_range_just_within_and_just_beyond_the_table() -> None:
    for last in (2 * WIDEST - 1, 2 * WIDEST):
        rows = np.array([0, last], np.int64)
        assert distinct(rows) == 2
        assert sizes(rows).tolist() == [1, 1]
