"""Versions side by side: intervals, distances, and what is missing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_fraud.domain.live_comparison import (
    LiveVersion,
    MatureAlerts,
    ModelAlerts,
    ModelScores,
    Role,
    live_comparison,
    stability_index,
)

VERSIONS = [LiveVersion("forest:1", Role.PRODUCTION, 9_500), LiveVersion("forest:2", Role.TESTING, 500)]
SHADOW = LiveVersion("forest:3", Role.TESTING, 0)
histograms = st.lists(st.integers(0, 500), min_size=4, max_size=4).filter(any)


def scored(model: str, *histogram: int) -> ModelScores:
    return ModelScores(model, sum(histogram), 0, 1, 0.2, {"p50": 0.2}, histogram)


def test_each_version_has_its_own_figures_in_the_given_order() -> None:
    mature = MatureAlerts(20, 8, 2)
    alerts = {
        "forest:1": ModelAlerts("forest:1", 40, 8, 12, mature),
        "other:9": ModelAlerts("other:9", 1, 1, 0),
    }
    scores = {"forest:1": scored("forest:1", 8, 2), "forest:3": scored("forest:3", 2, 8)}
    one, two, shadow = live_comparison([*VERSIONS, SHADOW], alerts, scores)
    assert (one.model, one.alerts, one.frauds, one.false_alerts, one.share_bp) == (
        "forest:1",
        40,
        8,
        12,
        9_500,
    )
    assert one.precision.value == 0.4, "what nobody judged in time is no fraud, what is young says nothing"
    assert one.mature == mature
    assert one.precision.low < 0.25 < 0.55 < one.precision.high
    assert one.distance == 0.0
    assert (two.alerts, two.precision.low, two.precision.high, two.scores, two.distance) == (
        0,
        0,
        1,
        None,
        None,
    )
    assert shadow.distance == pytest.approx(2 * 0.6 * 1.3862943611)


def test_without_production_there_is_no_distance() -> None:
    (alone,) = live_comparison([SHADOW], {}, {"forest:3": scored("forest:3", 1, 1)})
    assert alone.distance is None
    assert live_comparison([], {}, {}) == []


@given(histograms, histograms)
def test_the_distance_is_symmetric_and_zero_for_the_same(one: list[int], other: list[int]) -> None:
    assert stability_index(one, one) == 0.0
    assert stability_index(one, other) == pytest.approx(stability_index(other, one))
    assert stability_index(one, other) >= 0.0
    assert stability_index([10 * each for each in one], other) == pytest.approx(stability_index(one, other))


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="2 and 1 bins"):
        stability_index([1, 2], [1])
    with pytest.raises(ValueError, match="3 and 0 rows"):
        stability_index([1, 2], [0, 0])
