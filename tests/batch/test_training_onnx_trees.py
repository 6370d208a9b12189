"""The export of trees: exact branches, exact sums."""

import itertools
import math
from fractions import Fraction

import numpy as np
import onnxruntime
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batch.training.onnx_trees import Tree, export_trees, floor_float32, summable_quantum

float32s = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.floats(-1e30, 1e30), float32s)
def test_rounding_a_threshold_down_changes_no_branch(threshold: float, x: float) -> None:
    rounded = float(floor_float32(np.array([threshold]))[0])
    assert (x <= threshold) == (x <= rounded)


@given(st.floats(-1e30, 1e30))
def test_a_value_next_to_the_threshold_branches_equally(threshold: float) -> None:
    rounded = floor_float32(np.array([threshold]))[0]
    for x in (rounded, np.nextafter(rounded, np.float32(np.inf)), np.nextafter(rounded, np.float32(-np.inf))):
        assert (float(x) <= threshold) == (x <= rounded)


@example([5e-324], None)
@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=120), st.randoms(use_true_random=False))
def test_sums_of_quantised_leaves_are_exact_in_any_order(largest: list[float], random: object) -> None:
    if not any(largest):
        return
    quantum = summable_quantum(largest)
    leaves = np.array([round(value / quantum) * quantum for value in largest], np.float32)
    exact = sum((Fraction(float(leaf)) for leaf in leaves), Fraction(0))
    for order in (leaves, leaves[::-1], np.sort(leaves)):
        assert Fraction(float(list(itertools.accumulate(order))[-1])) == exact


def test_the_quantum_is_a_power_of_two_and_fine() -> None:
    assert summable_quantum([0.01] * 100) == 2.0**-23


def test_negative_leaves_are_refused() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        summable_quantum([1.0, -0.5])


def _run(trees: list[Tree], rows: list[list[float]]) -> list[float]:
    session = onnxruntime.InferenceSession(
        export_trees(trees, len(rows[0])), providers=["CPUExecutionProvider"]
    )
    (raw,) = session.run(None, {"features": np.array(rows, np.float32)})
    return [float(value) for value in raw[:, 0]]


def _stump(threshold: float, low: float, high: float) -> Tree:
    """value `low` if column 0 <= threshold else `high`."""
    ids = np.array
    return Tree(
        ids([1, -1, -1]),
        ids([2, -1, -1]),
        ids([0, -2, -2]),
        np.array([threshold, 0, 0]),
        np.array([9, low, high]),
        np.array([2.0, 1.0, 1.0]),
    )


def test_equal_goes_left_and_a_float64_threshold_is_kept() -> None:
    third = 1 / 3  # not a float32: the nearest float32 lies above it
    below, above = floor_float32(np.array([third]))[0], np.float32(third)
    assert float(above) > third > float(below)
    assert _run([_stump(third, 1.0, 2.0)], [[float(below)], [float(above)]]) == [1.0, 2.0]


def test_trees_are_summed_and_a_tree_of_one_leaf_counts() -> None:
    leaf = Tree(np.array([-1]), np.array([-1]), np.array([-2]), np.array([0.0]), np.array([0.5]), np.ones(1))
    assert _run([_stump(0.0, 1.0, 2.0), leaf, _stump(5.0, 4.0, 8.0)], [[-1], [1], [6]]) == [5.5, 6.5, 10.5]


def test_a_deeper_tree_keeps_its_shape() -> None:
    tree = Tree(
        left=np.array([1, -1, 3, -1, -1]),
        right=np.array([2, -1, 4, -1, -1]),
        feature=np.array([0, -2, 1, -2, -2]),
        threshold=np.array([0.0, 0, 10.0, 0, 0]),
        value=np.array([0, 1.0, 0, 2.0, 3.0]),
        cover=np.array([3.0, 1.0, 2.0, 1.0, 1.0]),
    )
    assert _run([tree], [[-1, 0], [1, 10], [1, 11]]) == [1.0, 2.0, 3.0]
    assert math.isclose(summable_quantum([3.0]), 2.0**-22)
