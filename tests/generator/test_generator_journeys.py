"""People travel, and never faster than people can: what geography flags is fraud."""

import numpy as np
import pytest

from ray_fraud.generator.chance import Floats
from ray_fraud.generator.geography import distance_km
from ray_fraud.generator.population import Population
from ray_fraud.generator.stream import StreamSettings, transactions
from tests.generator.geo_check import impossible_pairs

START = 1_767_225_600.0
DAY = 86_400.0


@pytest.mark.parametrize(
    ("users", "rate_hz"),
    [(100, 75.0), (500, 500 * 4 / DAY), (300, 0.5)],
    ids=["a busy hour", "a year of history", "days"],
)
def test_legitimate_traffic_never_looks_like_impossible_travel(users: int, rate_hz: float) -> None:
    wanted = StreamSettings(START, users=users, rate_hz=rate_hz, count=70_000, fraud_share=0.0)
    stream = list(transactions(wanted))
    assert list(impossible_pairs(stream)) == []
    high = sum(made.transaction.amount > 2000 for made in stream) / len(stream)
    assert 0.0005 < high < 0.01
    places = {(m.transaction.user_id, m.transaction.location.city) for m in stream if m.transaction.location}
    assert len(places) >= users
    if stream[-1].event_time > START + DAY:
        assert len(places) > 1.05 * users, "somebody travelled"


def test_with_frauds_every_impossible_journey_touches_a_fraud() -> None:
    pairs = list(impossible_pairs(transactions(StreamSettings(START, users=200, count=30_000))))
    assert pairs
    assert all(pair.before.scenario or pair.after.scenario for pair in pairs)


def test_a_place_depends_on_user_and_time_only() -> None:
    population = Population(3, 1000)
    ids, times = np.arange(1, 1001), np.asarray(START + 3600.0 * np.arange(1000.0))
    together = population.whereabouts(ids, times)
    alone = [population.whereabouts(ids[i : i + 1], times[i : i + 1]) for i in range(0, 1000, 97)]
    assert [float(one.lat[0]) for one in alone] == together.lat[::97].tolist()
    assert [float(one.lon[0]) for one in alone] == together.lon[::97].tolist()


def test_everybody_moves_continuously_through_a_whole_month() -> None:
    """At every ten minutes, whoever it is: no jump beyond the travelling speed and two addresses."""
    population = Population(5, 40, trip_share=1.0)
    times: Floats = np.arange(START, START + 30 * DAY, 600.0)
    moved = 0.0
    for user in range(1, 41):
        where = population.whereabouts(np.full(len(times), user), times)
        steps: Floats = distance_km(where.lat[:-1], where.lon[:-1], where.lat[1:], where.lon[1:])
        assert steps.max() <= 450.0 / 6.0 + 16.1
        moved = max(moved, float(steps.max()))
    assert moved > 50.0


def test_without_trips_everybody_stays_near_home() -> None:
    population = Population(5, 500, trip_share=0.0)
    ids = np.arange(1, 501)
    home = population.home_city(ids)
    for day in range(0, 60, 7):
        where = population.whereabouts(ids, np.full(500, START + day * DAY))
        assert (where.city == home).all()


def test_people_are_active_by_day_at_home() -> None:
    population = Population(1, 5000)
    rng = np.random.default_rng(1)
    times = START + 86_400.0 * rng.random(20_000)
    hours = population.local_hour(population.draw_active(rng, times), times)
    night = np.isin(hours, [1, 2, 3, 4]).mean()
    assert night < 0.05
    assert np.isin(hours, [11, 12, 13, 17, 18, 19, 20]).mean() > 0.4
