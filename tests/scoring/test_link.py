"""The link's arithmetic: accurate, and the same bits wherever an element stands."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_fraud.domain.model import IdentityLink, IsolationLink, LogisticLink
from ray_fraud.scoring.link import apply_link, calibrated, exp2

exponents = st.floats(-60, 60, allow_nan=False)


@given(exponents)
def test_exp2_is_accurate(x: float) -> None:
    assert exp2(np.array([x]))[0] == pytest.approx(math.exp2(x), rel=1e-13)


@given(exponents, st.integers(1, 300), st.data())
def test_exp2_of_an_element_ignores_its_place(x: float, size: int, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, size - 1))
    batch = np.linspace(-8, 1, size)
    batch[place] = x
    assert exp2(batch)[place].tobytes() == exp2(np.array([x]))[0].tobytes()


def test_whole_exponents_are_exact() -> None:
    assert exp2(np.array([-3.0, 0.0, 5.0])).tolist() == [0.125, 1.0, 32.0]


def test_isolation_link_is_one_half_at_the_mean_path_length() -> None:
    assert apply_link(IsolationLink(8.0), np.array([8.0, 16.0], np.float32)).tolist() == [0.5, 0.25]


def test_identity_link_widens_only() -> None:
    scores = apply_link(IdentityLink(), np.array([0.25], np.float32))
    assert scores.dtype == np.float64
    assert scores.tolist() == [0.25]


@given(st.floats(-700, 700), st.floats(-20, 20))
def test_the_logistic_link_is_the_probability_of_log_odds(raw: float, base: float) -> None:
    (score,) = apply_link(LogisticLink(base), np.array([raw], np.float32)).tolist()
    odds = float(np.float32(raw)) + base
    exact = 1.0 / (1.0 + math.exp(-odds)) if odds > -700 else 0.0
    assert score == pytest.approx(exact, rel=1e-11, abs=1e-290)
    assert 0.0 <= score <= 1.0


thousandths = st.integers(0, 1_000).map(lambda number: number / 1_000)
points = st.lists(
    st.tuples(thousandths, thousandths),
    min_size=2,
    max_size=8,
    unique_by=(lambda point: point[0], lambda point: point[1]),
).map(lambda found: tuple(zip(sorted(x for x, _ in found), sorted(y for _, y in found), strict=True)))


@given(points, st.lists(st.floats(-1, 2), min_size=1, max_size=30))
def test_calibration_keeps_the_order_and_goes_through_its_points(
    table: tuple[tuple[float, float], ...], scores: list[float]
) -> None:
    ordered = calibrated(table, np.sort(np.array(scores)))
    assert (np.diff(ordered) >= -1e-12).all()
    assert ((ordered >= 0) & (ordered <= 1)).all()
    x, y = np.array(table).T
    assert calibrated(table, x) == pytest.approx(y, abs=1e-9)


def test_without_a_table_scores_stay() -> None:
    assert calibrated((), np.array([0.3])).tolist() == [0.3]
