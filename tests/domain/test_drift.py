"""The stability index against a plain one, and what it has to be whatever the values are."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ray_fraud.domain.drift import (
    BINS,
    LEAST_SHARE,
    Reference,
    Values,
    psi,
    psi_of_counts,
    reference_of,
)

NUMBERS = st.one_of(
    st.floats(width=32, allow_infinity=True),
    st.sampled_from([0.0, 1.0, 2.0, math.nan]),
    st.integers(-5, 5).map(float),
)
SAMPLES = st.lists(NUMBERS, min_size=1, max_size=60).map(lambda values: np.array(values, np.float32))


def plain_bins(reference: Reference, values: Values) -> list[int]:
    """Row by row, by the words of the docstring."""
    counts = [0] * (len(reference.edges) + 2)
    for value in values.tolist():
        if math.isnan(value):
            counts[-1] += 1
            continue
        place = 0
        while place < len(reference.edges) and value > reference.edges[place]:
            place += 1
        counts[place] += 1
    return counts


def plain_psi(reference: Reference, values: Values) -> float:
    total = 0.0
    for count, share in zip(
        plain_bins(reference, values), (*reference.shares, reference.missing), strict=True
    ):
        now, then = max(count / len(values), LEAST_SHARE), max(share, LEAST_SHARE)
        total += (now - then) * math.log(now / then)
    return total


@given(SAMPLES, SAMPLES)
def test_it_is_what_a_plain_one_counts(training: Values, today: Values) -> None:
    reference = reference_of(training)
    assert reference.counts(today).tolist() == plain_bins(reference, today)
    assert psi(reference, today) == pytest.approx(plain_psi(reference, today), abs=1e-12)


@given(SAMPLES, st.integers(1, 5))
def test_equal_shares_are_no_drift(training: Values, times: int) -> None:
    reference = reference_of(training)
    again: Values = np.concatenate([training] * times)
    assert psi(reference, again) == pytest.approx(0.0, abs=1e-12)


@given(SAMPLES, SAMPLES)
def test_it_is_never_negative_and_finite(training: Values, today: Values) -> None:
    found = psi(reference_of(training), today)
    assert 0 <= found < math.inf


@given(SAMPLES, SAMPLES, st.integers(0, 2**32 - 1))
def test_the_order_of_rows_is_nothing(training: Values, today: Values, seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert reference_of(rng.permutation(training)) == reference_of(training)
    reference = reference_of(training)
    assert psi(reference, rng.permutation(today)) == psi(reference, today)


@given(SAMPLES, SAMPLES, st.integers(0, 60))
def test_counts_of_parts_add_up(training: Values, today: Values, cut: int) -> None:
    reference = reference_of(training)
    parts = reference.counts(today[:cut]) + reference.counts(today[cut:])
    assert psi_of_counts(reference, parts) == psi(reference, today)


@given(SAMPLES)
def test_it_has_a_bounded_number_of_bins_and_survives_the_manifest(training: Values) -> None:
    reference = reference_of(training)
    assert len(reference.shares) <= BINS
    assert msgspec.json.decode(msgspec.json.encode(reference), type=Reference) == reference


@given(st.integers(0, 2**32 - 1))
def test_the_further_it_is_shifted_the_bigger_it_is(seed: int) -> None:
    training = np.random.default_rng(seed).normal(0, 1, 2_000)
    reference = reference_of(training)
    found = [psi(reference, training + shift) for shift in (0.0, 0.25, 0.5, 1.0, 2.0)]
    assert found == sorted(found)
    assert found[0] == pytest.approx(0, abs=1e-12)
    assert found[1] < 0.1 < 0.25 < found[3]


def test_what_merely_varies_is_no_alarm() -> None:
    rng = np.random.default_rng(5)
    reference = reference_of(rng.lognormal(3, 1, 20_000))
    assert psi(reference, rng.lognormal(3, 1, 1_000)) < 0.05


@pytest.mark.parametrize("value", [0.0, 5.0, -3.0, 1e30])
def test_a_constant_is_told_from_what_lies_below_above_and_is_missing(value: float) -> None:
    reference = reference_of(np.full(100, value))
    assert psi(reference, np.full(7, value)) == pytest.approx(0, abs=1e-12)
    for other in (np.nextafter(value, -np.inf), np.nextafter(value, np.inf), math.nan):
        assert psi(reference, np.full(7, other)) > 5


def test_a_frequent_value_of_a_discrete_feature_is_a_bin_of_its_own() -> None:
    training: NDArray[np.float64] = np.repeat([0.0, 1.0, 4.0], [10, 80, 10])
    reference = reference_of(training)
    assert psi(reference, np.repeat([0.0, 1.0, 4.0], [50, 40, 10])) > 0.25
    assert psi(reference, np.repeat([0.0, 1.0, 4.0], [10, 40, 50])) > 0.25


def test_values_that_are_gone_are_drift() -> None:
    training = np.random.default_rng(1).normal(size=1_000)
    reference = reference_of(training)
    assert reference.missing == 0
    gone = training.copy()
    gone[::2] = math.nan
    assert psi(reference, gone) > 0.25
    never = reference_of(np.full(10, math.nan))
    assert (never.edges, never.shares, never.missing) == ((), (0.0,), 1.0)
    assert psi(never, np.full(3, math.nan)) == 0
    assert psi(never, training) > 5


def test_without_rows_there_is_no_answer() -> None:
    with pytest.raises(ValueError, match="values: no rows"):
        reference_of(np.empty(0))
    with pytest.raises(ValueError, match="counts: no rows"):
        psi(reference_of(np.zeros(3)), np.empty(0))
    with pytest.raises(ValueError, match="counts: 2, the reference has 4"):
        psi_of_counts(reference_of(np.zeros(3)), np.array([1, 2]))


@pytest.mark.parametrize(
    ("edges", "shares", "missing", "message"),
    [
        ((1.0,), (1.0,), 0.0, "must be one more"),
        ((1.0, 1.0), (0.2, 0.3, 0.5), 0.0, "do not ascend"),
        ((math.inf,), (0.5, 0.5), 0.0, "not finite"),
        ((1.0,), (0.5, 0.4), 0.0, "must be 1"),
        ((1.0,), (1.5, -0.5), 0.0, "must be 1"),
    ],
)
def test_what_no_reference_can_be_is_an_error(
    edges: tuple[float, ...], shares: tuple[float, ...], missing: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Reference(edges, shares, missing)
