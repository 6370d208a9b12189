"""Counting by a table of the range gives what counting by sorting gives, and what a loop gives."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ray_fraud.domain.patterns.counting import WIDEST, counted_by, distinct, numbered, sizes

NARROW = st.lists(st.integers(-5, 5), max_size=50)
WIDE = st.lists(st.integers(-(2**62), 2**62), max_size=50)


@given(NARROW | WIDE)
def test_values_are_counted(values: list[int]) -> None:
    rows = np.array(values, np.int64)
    counts = Counter(values)
    assert distinct(rows) == len(counts)
    assert sizes(rows).tolist() == [counts[value] for value in values]
    different = sorted(counts)
    assert numbered(rows).tolist() == [different.index(value) for value in values]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), min_size=1, max_size=50))
def test_pairs_are_counted(pairs: list[tuple[int, int]]) -> None:
    rows, columns = (np.array([pair[place] for pair in pairs], np.int64) for place in range(2))
    counts = Counter(pairs)
    table = counted_by(rows, columns)
    assert table.shape == (rows.max() + 1, columns.max() + 1)
    assert {(row, column): table[row, column] for row, column in np.argwhere(table).tolist()} == counts


def test_a_range_just_within_and_just_beyond_the_table() -> None:
    for last in (2 * WIDEST - 1, 2 * WIDEST):
        rows = np.array([0, last], np.int64)
        assert distinct(rows) == 2
        assert sizes(rows).tolist() == [1, 1]
