"""The link's arithmetic: accurate, and the same bits wherever an element stands."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_fraud.domain.model import IdentityLink, IsolationLink
from ray_fraud.scoring.link import apply_link, exp2

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
