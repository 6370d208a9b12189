"""The frauds, each one a pure function from a scene to transactions with their scenario.

Every amount stays within the range of ordinary ones; what gives a fraud away is its defining property,
named in each docstring, which its test checks.

Never: knowledge of the rules' limits beyond what a fraudster would guess.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ray_fraud.generator.scene import Scene
from ray_fraud.generator.transaction import GeneratedTransaction, Scenario

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0


def stolen_card(scene: Scene) -> list[GeneratedTransaction]:
    """A spree of high amounts (2,050–4,950) at shops of the town the victim is in, within half an hour."""
    victim = scene.any_user()
    count = scene.between(5, 12)
    here = scene.place_of(victim)
    amounts = 2050.0 + 2900.0 * scene.rng.random(count) ** 1.5
    return [
        scene.transaction(victim, time, amount, here.around(scene.rng), "electronics", Scenario.STOLEN_CARD)
        for time, amount in zip(scene.times(count, 30 * MINUTE), amounts.tolist(), strict=True)
    ]


def impossible_travel(scene: Scene) -> list[GeneratedTransaction]:
    """The owner pays (no fraud), and within an hour a copy of the card pays at least 2,500 km away."""
    victim = scene.any_user()
    here = scene.place_of(victim)
    far = scene.city_away_from(here, at_least_km=2500.0)
    count = scene.between(2, 4)
    times = scene.times(count + 1, HOUR)
    amounts = scene.usual_amounts(victim, count + 1)
    return [
        scene.transaction(victim, times[0], amounts[0], here, "grocery", None),
        *(
            scene.transaction(
                victim, time, amount, far.around(scene.rng), "clothing", Scenario.IMPOSSIBLE_TRAVEL
            )
            for time, amount in zip(times[1:], amounts[1:], strict=True)
        ),
    ]


def card_testing(scene: Scene) -> list[GeneratedTransaction]:
    """Many small amounts (5–9) online within five minutes: does the number still work?"""
    victim = scene.any_user()
    count = scene.between(15, 40)
    here = scene.place_of(victim)
    device = scene.new_device()
    return [
        scene.transaction(
            victim, time, amount, here, "digital", Scenario.CARD_TESTING, device_id=device, online=True
        )
        for time, amount in zip(
            scene.times(count, 5 * MINUTE), (5.0 + 4.0 * scene.rng.random(count)).tolist(), strict=True
        )
    ]


def account_takeover(scene: Scene) -> list[GeneratedTransaction]:
    """Between one and five at night at home, from a device never seen and a place over 1,500 km away."""
    victim = scene.sleeping_user()
    count = scene.between(3, 8)
    far = scene.city_away_from(scene.place_of(victim), at_least_km=1500.0)
    device = scene.new_device()
    amounts = 4.0 * np.array(scene.usual_amounts(victim, count))
    return [
        scene.transaction(
            victim, time, amount, far, "marketplace", Scenario.ACCOUNT_TAKEOVER, device_id=device, online=True
        )
        for time, amount in zip(scene.times(count, HOUR), amounts.tolist(), strict=True)
    ]


def coordinated_ring(scene: Scene) -> list[GeneratedTransaction]:
    """Many users, one merchant, amounts within ±5 % of each other, all within twenty minutes."""
    merchant = scene.any_merchant()
    members = scene.users_near(merchant, scene.between(12, 30))
    amount = 150.0 + 650.0 * scene.rng.random()
    amounts = amount * (0.95 + 0.1 * scene.rng.random(len(members)))
    return [
        scene.at_merchant(user, time, value, merchant, Scenario.COORDINATED_RING)
        for user, time, value in zip(
            members, scene.times(len(members), 20 * MINUTE), amounts.tolist(), strict=True
        )
    ]


def terminal_compromise(scene: Scene) -> list[GeneratedTransaction]:
    """One merchant's terminal copies cards: for three days its customers pay two to four times the usual."""
    merchant = scene.any_merchant()
    members = scene.users_near(merchant, scene.between(20, 40))
    factors = 2.0 + 2.0 * scene.rng.random(len(members))
    amounts = factors * scene.population.typical_amount(np.array(members))
    return [
        scene.at_merchant(user, time, value, merchant, Scenario.TERMINAL_COMPROMISE)
        for user, time, value in zip(
            members, scene.times(len(members), 3 * DAY), amounts.tolist(), strict=True
        )
    ]


@dataclass(frozen=True)
class Plan:
    """How to stage a fraud, and how many frauds one staging makes on average."""

    stage: Callable[[Scene], list[GeneratedTransaction]]
    mean_frauds: float
    span_seconds: float
    """The longest it lasts unless the scene says shorter."""


PLANS: dict[Scenario, Plan] = {
    Scenario.STOLEN_CARD: Plan(stolen_card, 8.5, 30 * MINUTE),
    Scenario.IMPOSSIBLE_TRAVEL: Plan(impossible_travel, 3.0, HOUR),
    Scenario.CARD_TESTING: Plan(card_testing, 27.5, 5 * MINUTE),
    Scenario.ACCOUNT_TAKEOVER: Plan(account_takeover, 5.5, HOUR),
    Scenario.COORDINATED_RING: Plan(coordinated_ring, 21.0, 20 * MINUTE),
    Scenario.TERMINAL_COMPROMISE: Plan(terminal_compromise, 30.0, 3 * DAY),
}
