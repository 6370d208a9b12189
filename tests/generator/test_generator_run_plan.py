"""Rate, clock and length: what was asked for, or a sentence that says what does not fit."""

import math
from typing import Any

import pytest

from ray_fraud.generator.run_plan import PlanError, RunPlan, Wishes, plan_run

NOW = 1_790_000_000.0
DAY = 86_400.0


def plan(**wishes: Any) -> RunPlan:
    return plan_run(Wishes(**wishes), NOW)


def test_by_default_75_a_second_dated_now_without_end() -> None:
    made = plan()
    assert (made.settings.start_time, made.settings.rate_hz, made.speed) == (NOW, 75.0, 1.0)
    assert made.settings.length_seconds is None
    assert made.wall_limit_seconds is None


def test_seconds_are_seconds_of_the_stream() -> None:
    assert plan(tps=20, seconds=30).settings.span_seconds == 30


def test_as_fast_as_it_goes_the_events_end_now() -> None:
    made = plan(tps=0, count=7500)
    assert math.isinf(made.speed)
    assert NOW - 107 < made.settings.start_time < NOW - 100
    assert made.settings.count == 7500


def test_a_file_keeps_no_pace_and_ends_now() -> None:
    made = plan(keeps_pace=False, tps=10, seconds=60)
    assert math.isinf(made.speed)
    assert made.settings.start_time == NOW - 60
    assert made.settings.span_seconds == 60
    assert made.wall_limit_seconds is None


def test_history_is_made_at_the_natural_rate_and_full_speed() -> None:
    made = plan(users=1000, start_time=NOW - 100 * DAY, days=90)
    assert made.settings.rate_hz == pytest.approx(1000 * 4 / DAY)
    assert made.settings.span_seconds == 90 * DAY
    assert math.isinf(made.speed)


def test_days_alone_end_now() -> None:
    made = plan(days=30)
    assert made.settings.start_time == NOW - 30 * DAY
    assert made.settings.span_seconds == pytest.approx(30 * DAY)


def test_history_without_an_end_ends_now() -> None:
    assert plan(start_time=NOW - 5 * DAY).settings.span_seconds == pytest.approx(5 * DAY)


def test_two_of_rate_and_speed_fix_the_third() -> None:
    by_tps = plan(users=864, start_time=NOW - 10 * DAY, tps=80)
    assert by_tps.settings.rate_hz == pytest.approx(0.04)
    assert by_tps.speed == pytest.approx(2000)
    by_both = plan(start_time=NOW - 10 * DAY, tps=100, speed=50)
    assert by_both.settings.rate_hz == pytest.approx(2)
    assert by_both.speed == 50


def test_seconds_of_a_paced_history_are_wall_time() -> None:
    made = plan(start_time=NOW - 10 * DAY, tps=100, speed=50, seconds=60)
    assert made.settings.span_seconds == pytest.approx(3000)
    unpaced = plan(start_time=NOW - 10 * DAY, seconds=60)
    assert unpaced.wall_limit_seconds == 60


def test_no_event_is_sent_before_it_happened() -> None:
    """A clock twice as fast, a day behind, has caught up in a day, having shown two."""
    made = plan(start_time=NOW - DAY, tps=10, speed=2)
    assert made.settings.span_seconds == pytest.approx(2 * DAY)


@pytest.mark.parametrize(
    ("wishes", "hint"),
    [
        ({"speed": 5.0}, "--start"),
        ({"tps": 0.0}, "--count"),
        ({"keeps_pace": False}, "--count"),
        ({"start_time": NOW + 60}, "future"),
        ({"start_time": NOW - DAY, "days": 2.0}, "future"),
        ({"fraud_share": 1.5}, "fraud_share"),
    ],
)
def test_contradictions_are_explained(wishes: dict[str, Any], hint: str) -> None:
    with pytest.raises(PlanError, match=hint):
        plan(**wishes)
