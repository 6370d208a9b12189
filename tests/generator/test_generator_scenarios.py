"""Each fraud has its defining property, whatever the seed, the moment and the limit of its length."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_fraud.generator.population import Population
from ray_fraud.generator.scenarios import PLANS
from ray_fraud.generator.scene import Scene
from ray_fraud.generator.transaction import GeneratedTransaction, Scenario
from tests.generator.geo_check import kilometres, place

START = 1_767_225_600.0
POPULATION = Population(11, 5000)
MOMENTS = st.floats(0, 30 * 86_400).map(lambda after: START + after)
SEEDS = st.integers(0, 10_000)
LIMITS = st.none() | st.floats(10, 3600)


def play(scenario: Scenario, seed: int, moment: float, limit: float | None) -> list[GeneratedTransaction]:
    scene = Scene(np.random.default_rng(seed), POPULATION, moment, limit)
    made = PLANS[scenario].stage(scene)
    span = PLANS[scenario].span_seconds if limit is None else min(limit, PLANS[scenario].span_seconds)
    times = [each.event_time for each in made]
    assert times == sorted(times)
    assert times[-1] - times[0] <= span + 0.002
    assert {each.scenario for each in made} <= {scenario, None}
    return made


def frauds(made: list[GeneratedTransaction]) -> list[GeneratedTransaction]:
    return [each for each in made if each.scenario is not None]


def users_of(made: list[GeneratedTransaction]) -> set[int]:
    return {each.transaction.user_id for each in made}


@given(SEEDS, MOMENTS, LIMITS)
@settings(max_examples=25, deadline=None)
def test_stolen_card_is_a_spree_of_high_amounts_where_the_victim_is(
    seed: int, moment: float, limit: float | None
) -> None:
    made = play(Scenario.STOLEN_CARD, seed, moment, limit)
    assert len(users_of(made)) == 1
    assert len(made) >= 5
    assert min(each.transaction.amount for each in made) > 2000
    where = POPULATION.whereabouts(np.array(list(users_of(made))), np.array([moment]))
    for each in made:
        assert abs(place(each).lat - where.lat[0]) < 0.1


@given(SEEDS, MOMENTS, LIMITS)
@settings(max_examples=25, deadline=None)
def test_impossible_travel_is_too_fast_for_any_aircraft(
    seed: int, moment: float, limit: float | None
) -> None:
    owner, *copies = play(Scenario.IMPOSSIBLE_TRAVEL, seed, moment, limit)
    assert owner.scenario is None
    assert all(each.scenario is Scenario.IMPOSSIBLE_TRAVEL for each in copies)
    assert len(users_of([owner, *copies])) == 1
    for each in copies:
        hours = max(each.event_time - owner.event_time, 1.0) / 3600
        assert kilometres(place(owner), place(each)) / hours > 2000


@given(SEEDS, MOMENTS, LIMITS)
@settings(max_examples=25, deadline=None)
def test_card_testing_is_many_small_amounts_in_a_short_time(
    seed: int, moment: float, limit: float | None
) -> None:
    made = play(Scenario.CARD_TESTING, seed, moment, limit)
    assert len(users_of(made)) == 1
    assert len(made) >= 15
    assert max(each.transaction.amount for each in made) < 10
    assert made[-1].event_time - made[0].event_time <= 300.002
    assert len({place(each) for each in made}) == 1


@given(SEEDS, MOMENTS, LIMITS)
@settings(max_examples=25, deadline=None)
def test_account_takeover_is_at_night_far_away_on_a_new_device(
    seed: int, moment: float, limit: float | None
) -> None:
    made = play(Scenario.ACCOUNT_TAKEOVER, seed, moment, limit)
    (user,) = users_of(made)
    ids = np.array([user])
    assert POPULATION.local_hour(ids, np.array([moment]))[0] in (1, 2, 3, 4)
    own_devices = {POPULATION.device_ids(ids, np.array([second]))[0] for second in (False, True)}
    assert len({each.transaction.device_id for each in made}) == 1
    assert made[0].transaction.device_id not in own_devices
    where = POPULATION.whereabouts(ids, np.array([moment]))
    here = type(place(made[0]))(float(where.lat[0]), float(where.lon[0]))
    assert all(kilometres(here, place(each)) > 1450 for each in made)


@given(SEEDS, MOMENTS, LIMITS)
@settings(max_examples=25, deadline=None)
def test_a_coordinated_ring_is_many_users_at_one_merchant_with_like_amounts(
    seed: int, moment: float, limit: float | None
) -> None:
    made = play(Scenario.COORDINATED_RING, seed, moment, limit)
    assert len(users_of(made)) == len(made) >= 12
    assert len({(each.transaction.merchant_id, place(each)) for each in made}) == 1
    amounts = [each.transaction.amount for each in made]
    assert max(amounts) / min(amounts) < 1.11
    assert made[-1].event_time - made[0].event_time <= 1200.002


@given(SEEDS, MOMENTS)
@settings(max_examples=25, deadline=None)
def test_terminal_compromise_is_one_merchant_over_days(seed: int, moment: float) -> None:
    made = play(Scenario.TERMINAL_COMPROMISE, seed, moment, None)
    assert len(users_of(made)) == len(made) >= 20
    assert len({(each.transaction.merchant_id, place(each)) for each in made}) == 1
    assert made[-1].event_time - made[0].event_time > 86_400


@pytest.mark.parametrize("scenario", Scenario)
def test_the_declared_mean_is_the_mean(scenario: Scenario) -> None:
    """The share of frauds in a stream depends on it."""
    sizes = [len(frauds(play(scenario, seed, START + 1000.0 * seed, None))) for seed in range(150)]
    assert np.mean(sizes) == pytest.approx(PLANS[scenario].mean_frauds, rel=0.1)
