"""Explanations: which features are told, with which sign, and in which words."""

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ray_fraud.domain.explanation import explanation, sentence
from ray_fraud.domain.features import FEATURE_COUNT, FEATURE_NAMES

NAN = float("nan")


def row(**values: float) -> NDArray[np.float32]:
    """A row of the catalogue with these values, all others missing."""
    features = np.full(FEATURE_COUNT, np.nan, np.float32)
    for name, value in values.items():
        features[FEATURE_NAMES.index(name)] = value
    return features


def pushes(*values: float) -> NDArray[np.float64]:
    """Pushes of the first features, all others 0."""
    made = np.zeros(FEATURE_COUNT)
    made[: len(values)] = values
    return made


def told(*values: float) -> list[str]:
    return [reason["feature"] for reason in explanation(pushes(*values), row(amount=1.0))]


def test_the_largest_push_of_either_sign_comes_first() -> None:
    made = explanation(pushes(1.0, -3.0, 2.0), row(amount=1840.25, lat=52.5))
    assert [(reason["feature"], reason["contribution"]) for reason in made] == [
        ("lat", -3.0),
        ("lon", 2.0),
        ("amount", 1.0),
    ]
    assert made[0] == {
        "feature": "lat",
        "value": 52.5,
        "contribution": -3.0,
        "sentence": "latitude 52.50°",
    }
    assert (made[1]["value"], made[1]["sentence"]) == (None, "transaction without a place")
    assert made[2]["value"] == 1840.25


def test_three_are_enough_if_the_rest_is_small() -> None:
    assert len(told(5.0, 3.0, 2.0, 0.5, 0.4, 0.1)) == 3
    assert len(told(5.0, 3.0, 2.0, 1.2, 0.1)) == 4
    assert len(told(5.0, 3.0, 2.0, 1.2, 1.1, 1.0, 0.9)) == 5


def test_what_pushed_nothing_is_not_told() -> None:
    assert told(1.0, 0.0, 2.0) == ["lon", "amount"]
    assert told() == []


def test_equal_pushes_keep_the_order_of_the_catalogue() -> None:
    assert told(1.0, -1.0, 1.0, -1.0, 1.0, 1.0) == list(FEATURE_NAMES[:5])


@given(
    st.lists(st.floats(-10, 10), min_size=FEATURE_COUNT, max_size=FEATURE_COUNT),
    st.lists(st.none() | st.floats(-1e6, 1e9, width=32), min_size=FEATURE_COUNT, max_size=FEATURE_COUNT),
)
def test_any_row_is_told_in_three_to_five_sentences(made: list[float], values: list[float | None]) -> None:
    values[0] = values[0] or 0.0  # the amount is never missing
    features = np.array([NAN if value is None else value for value in values], np.float32)
    reasons = explanation(np.array(made), features)
    moved = sum(push != 0 for push in made)
    assert min(3, moved) <= len(reasons) <= 5
    sizes = [abs(reason["contribution"]) for reason in reasons]
    assert sizes == sorted(sizes, reverse=True)
    for reason in reasons:
        index = FEATURE_NAMES.index(reason["feature"])
        assert reason["contribution"] == pytest.approx(made[index], rel=1e-5)
        assert (reason["value"] is None) == (values[index] is None)
        assert len(reason["sentence"]) > 5
        assert "nan" not in reason["sentence"]
        if reason["value"] is None:
            assert not re.search(r"\d", reason["sentence"].replace("30 days", ""))
    assert json.loads(json.dumps(reasons, allow_nan=False)) == reasons


def said(feature: str, **values: float) -> str:
    return sentence(feature, dict.fromkeys(FEATURE_NAMES, NAN) | values)


@pytest.mark.parametrize(
    ("feature", "values", "expected"),
    [
        ("amount", {"amount": 1840.4}, "amount 1,840"),
        ("amount", {"amount": 12.5}, "amount 12.5"),
        (
            "amount_over_mean_30d",
            {"amount": 1840.0, "amount_over_mean_30d": 14.0},
            "amount 1,840 is 14.0× this user's mean of 131.4",
        ),
        (
            "amount_over_mean_30d",
            {"amount": 0.0, "amount_over_mean_30d": 0.0},
            "amount 0 is 0× this user's mean",
        ),
        ("amount_over_mean_30d", {"amount": 3.0}, "no other transaction of this user in 30 days"),
        ("lon", {"lon": -0.1276}, "longitude -0.13°"),
        ("hour_of_day", {"hour_of_day": 3.0}, "between 03:00 and 03:59 UTC"),
        ("day_of_week", {"day_of_week": 6.0}, "on a Sunday (UTC)"),
        ("user_tx_count_1h", {"user_tx_count_1h": 1.0}, "1 transaction of this user in the last hour"),
        ("user_tx_count_7d", {"user_tx_count_7d": 1234.0}, "1,234 transactions of this user in 7 days"),
        ("user_amount_sum_24h", {"user_amount_sum_24h": 99.95}, "99.95 spent by this user in 24 hours"),
        ("seconds_since_previous", {}, "no previous transaction"),
        (
            "seconds_since_previous",
            {"seconds_since_previous": 12.0},
            "12 s after this user's previous transaction",
        ),
        (
            "seconds_since_previous",
            {"seconds_since_previous": 200_000.0},
            "2.3 days after this user's previous transaction",
        ),
        ("km_from_previous", {"km_from_previous": 5230.4}, "5,230 km from the previous place"),
        ("kmh_from_previous", {"kmh_from_previous": 812.0}, "812 km/h from the previous place"),
        ("user_high_decayed", {"user_high_decayed": 0.0}, "this user never paid far above the mean before"),
        (
            "user_high_decayed",
            {"user_high_decayed": 1.866},
            "this user paid far above the mean 1.866 times before, halved every 10 days",
        ),
        (
            "user_days_since_high",
            {"user_days_since_high": 0.25},
            "6.0 h since this user last paid far above the mean",
        ),
        (
            "user_days_since_high",
            {"user_days_since_high": -3.0},
            "3.0 days before this user last paid far above the mean",
        ),
        ("user_days_since_high", {}, "this user never paid far above the mean before"),
        ("merchant_risk", {"merchant_risk": 0.25}, "25 % of this merchant's transactions were fraud"),
        ("merchant_frauds_7d", {"merchant_frauds_7d": 1.0}, "1 known fraud of this merchant in a week"),
        ("merchant_run_days", {"merchant_run_days": 3.5}, "this merchant's frauds began 3.5 days before"),
        ("user_days_since_fraud", {}, "no known fraud of this user"),
        (
            "profile_hour_share",
            {"profile_hour_share": 0.0123},
            "1.23 % of this user's transactions at such an hour",
        ),
        (
            "profile_amount_z",
            {"amount": 5.0, "profile_amount_z": -2.25},
            "amount 5 is 2.2 deviations below this user's mean",
        ),
        (
            "profile_amount_over_max",
            {"amount": 900.0, "profile_amount_over_max": 3.0},
            "amount 900 is 3.0× this user's largest of 300",
        ),
        ("profile_km_from_home", {}, "no place, or no usual place of this user"),
    ],
)
def test_the_sentences(feature: str, values: dict[str, float], expected: str) -> None:
    assert said(feature, **values) == expected


@pytest.mark.parametrize("feature", FEATURE_NAMES)
def test_every_feature_of_the_catalogue_has_both_sentences(feature: str) -> None:
    assert said(feature) != said(feature, **dict.fromkeys(FEATURE_NAMES, 2.0))
