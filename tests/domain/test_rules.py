"""The hot rules: limits, ties and sentences."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_fraud.domain.alert import RuleName, Severity
from ray_fraud.domain.rules import Neighbour, geo_velocity, hits_without_model, ml_anomaly
from ray_fraud.domain.settings import (
    DetectionSettings,
    GeoVelocitySettings,
    HighAmountSettings,
    MlAnomalySettings,
)
from ray_fraud.domain.split import Arm

SETTINGS = DetectionSettings()
GEO = GeoVelocitySettings()


def journey(km: float, seconds: float, position: str = "previous") -> Neighbour:
    return Neighbour(position, 0, 5.0, 1.0, 2.0, km, seconds, km / (max(seconds, 1) / 3600))


def high_amount_reason(amount: float, limit: float = 2000.0) -> str | None:
    settings = DetectionSettings(high_amount=HighAmountSettings(limit=limit))
    hits = hits_without_model(amount, None, None, settings)
    return hits[0].reason if hits else None


def test_the_limit_itself_is_no_high_amount() -> None:
    assert high_amount_reason(2000.0) is None
    assert high_amount_reason(4812.0) == "amount 4,812.00 is above the limit of 2,000"
    assert high_amount_reason(0.6, 0.5) == "amount 0.60 is above the limit of 0.5"


def test_an_amount_a_hair_above_the_limit_is_not_shown_as_the_limit() -> None:
    assert high_amount_reason(2000.000001) == "amount 2,000.000001 is above the limit of 2,000"


def test_a_speed_a_hair_above_the_limit_is_not_shown_as_the_limit() -> None:
    hit = geo_velocity(journey(800.25, 3600), None, GEO)
    assert hit is not None
    assert hit.reason == "800 km in 60 min = 800.25 km/h, limit 800"


def test_a_fast_journey_is_told_with_its_numbers() -> None:
    hit = geo_velocity(journey(4812, 31 * 60), None, GEO)
    assert hit is not None
    assert hit.reason == "4,812 km in 31 min = 9,314 km/h, limit 800"
    assert (hit.rule, hit.severity) == (RuleName.GEO_VELOCITY, Severity.HIGH)
    assert hit.neighbour == journey(4812, 31 * 60)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 s"),
        (0.4, "0.4 s"),
        (45, "45 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7190, "2 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations_are_told_for_people(seconds: float, told: str) -> None:
    hit = geo_velocity(journey(20_000, seconds), None, GEO)
    assert hit is not None
    assert f" in {told} = " in hit.reason


def test_the_speed_limit_itself_is_allowed() -> None:
    assert geo_velocity(journey(800, 3600), None, GEO) is None
    assert geo_velocity(journey(801, 3600), None, GEO) is not None


def test_a_short_journey_never_counts() -> None:
    assert geo_velocity(journey(49.9, 1), None, GEO) is None
    assert geo_velocity(journey(50, 1), None, GEO) is not None


def test_the_faster_of_both_journeys_is_compared() -> None:
    slow, fast = journey(1000, 3600), journey(2000, 3600, "next")
    hit = geo_velocity(slow, fast, GEO)
    assert hit is not None
    assert hit.neighbour is fast


def test_a_faster_but_short_journey_does_not_hide_the_other() -> None:
    long, short = journey(1000, 3600), journey(49, 1, "next")
    assert short.kmh > long.kmh
    hit = geo_velocity(long, short, GEO)
    assert hit is not None
    assert hit.neighbour is long


def test_on_a_tie_the_previous_one_is_compared() -> None:
    hit = geo_velocity(journey(1000, 3600), journey(1000, 3600, "next"), GEO)
    assert hit is not None
    assert hit.neighbour is not None
    assert hit.neighbour.position == "previous"


def test_rules_stand_in_the_order_of_their_names() -> None:
    hits = hits_without_model(9999.0, None, journey(1000, 60, "next"), SETTINGS)
    assert [hit.rule for hit in hits] == [RuleName.HIGH_AMOUNT, RuleName.GEO_VELOCITY]


@settings(deadline=None)
@given(st.floats(0, 1e15), st.floats(0, 20_016), st.floats(0, 1e7))
def test_a_hit_is_exactly_an_excess(amount: float, km: float, seconds: float) -> None:
    neighbour = journey(km, seconds)
    rules = {hit.rule for hit in hits_without_model(amount, neighbour, None, SETTINGS)}
    assert (RuleName.HIGH_AMOUNT in rules) == (amount > 2000)
    assert (RuleName.GEO_VELOCITY in rules) == (km >= 50 and neighbour.kmh > 800)


def test_an_anomaly_names_its_model() -> None:
    arm = Arm("isolation_forest", 2, "d", 0.61, 10_000)
    hit = ml_anomaly(0.7345678, arm, MlAnomalySettings(severity=Severity.LOW))
    assert hit.reason == "score 0.7346 of isolation_forest:2 is above its threshold 0.61"
    assert (hit.rule, hit.severity, hit.neighbour) == (RuleName.ML_ANOMALY, Severity.LOW, None)
