"""Sorting by packed numbers gives what sorting key by key gives."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_fraud.domain.patterns.sorting import order_of

NARROW, WIDE = st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1)


@given(st.lists(st.tuples(NARROW, NARROW, NARROW) | st.tuples(WIDE, NARROW, WIDE), max_size=40))
def test_rows_are_in_order_of_the_keys_and_then_of_position(rows: list[tuple[int, int, int]]) -> None:
    keys = [np.array([row[place] for row in rows], np.int64) for place in range(3)]
    expected = sorted(range(len(rows)), key=lambda row: (*rows[row], row))
    assert order_of(*keys).tolist() == expected


@pytest.mark.parametrize("width", range(59, 64))
def test_keys_that_just_fit_and_just_do_not(width: int) -> None:
    """Four rows take two bits."""
    key = np.array([2**width - 1, 0, 2**width - 2, 2**width - 1], np.int64)
    assert order_of(key).tolist() == [1, 2, 0, 3]


def test_keys_of_fewer_bits_are_taken_as_they_are() -> None:
    """The lake's partitions are such."""
    first: Any = np.array([1, 0, 1], np.int32)
    assert order_of(first, np.array([2**40, 5, -(2**20)])).tolist() == [1, 2, 0]
