"""Promotion and rollback: every condition is needed, and every decision says its numbers."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ray_fraud.domain.promotion import (
    Contender,
    HoldOut,
    Outcome,
    PromotionRules,
    Verdicts,
    decide_promotion,
    decide_rollback,
)

BEGINS, ENDS = 1_000.0, 9_000.0
RULES = PromotionRules(k=10, resamples=200)
CANDIDATE = Contender(0.5, 900.0, Verdicts(28, 4))
PRODUCTION = Contender(0.5, 100.0, Verdicts(50, 30))
_RANDOM = np.random.default_rng(5)
CARDS = _RANDOM.integers(0, 400, 3_000)
DAYS = _RANDOM.integers(0, 4, 3_000)
LABELS = (CARDS % 10 == 0) & (_RANDOM.random(3_000) < 0.3)


def scores(quality: float, seed: int = 1) -> NDArray[np.float64]:
    """Frauds score up to `quality` above the rest, which lies in [0, 0.505)."""
    noise = np.random.default_rng(seed).random(len(LABELS)) * 0.505
    made: NDArray[np.float64] = np.clip(noise + LABELS * quality, 0.0, 1.0)
    return made


GOOD, MIDDLING, BAD = scores(0.45), scores(0.1, 2), scores(0.0, 3)


def hold_out(candidate: NDArray[np.float64] = GOOD, production: NDArray[np.float64] = MIDDLING) -> HoldOut:
    return HoldOut(LABELS, CARDS, DAYS, candidate, production, BEGINS, ENDS)


def test_what_passes_everything_is_promoted_with_its_numbers() -> None:
    decision = decide_promotion(hold_out(), CANDIDATE, PRODUCTION, RULES)
    assert decision.outcome is Outcome.PROMOTE, decision
    assert len(decision.reasons) == 4
    evidence = decision.evidence
    assert evidence["f1"] > 0.7
    assert evidence["differences"]["average_precision"]["low"] > 0
    assert (evidence["candidate_verdicts"], evidence["frauds"]) == ([28, 4], int(LABELS.sum()))
    msgspec.json.encode(decision)


@pytest.mark.parametrize(
    ("held", "candidate", "rules", "outcome", "reason"),
    [
        (hold_out(), CANDIDATE._replace(verdicts=Verdicts(9, 20)), RULES, "keep", "29 verdicts"),
        (hold_out(), CANDIDATE._replace(verdicts=Verdicts(0, 0)), RULES, "keep", "0 verdicts"),
        (
            hold_out(),
            CANDIDATE._replace(trained_until=None),
            RULES,
            "keep",
            "candidate's training is not known",
        ),
        (hold_out(), CANDIDATE._replace(trained_until=BEGINS), RULES, "keep", "must be later"),
        (hold_out(), CANDIDATE._replace(threshold=1.0), RULES, "refuse", "F1 0.0"),
        (hold_out(BAD, GOOD), CANDIDATE, RULES, "refuse", "average precision -"),
        (hold_out(GOOD, GOOD), CANDIDATE, RULES, "keep", "average precision +0.0000"),
        (hold_out(), CANDIDATE, msgspec.structs.replace(RULES, min_frauds=5_000), "keep", "needs 5000"),
    ],
)
def test_one_condition_that_fails_is_enough(
    held: HoldOut, candidate: Contender, rules: PromotionRules, outcome: str, reason: str
) -> None:
    decision = decide_promotion(held, candidate, PRODUCTION, rules)
    assert decision.outcome == outcome, decision
    assert reason in " ".join(decision.reasons)


def test_production_must_not_have_seen_the_hold_out_either() -> None:
    decision = decide_promotion(hold_out(), CANDIDATE, PRODUCTION._replace(trained_until=5_000.0), RULES)
    assert decision.outcome is Outcome.KEEP
    assert "production's training ended at 5000" in decision.reasons[0]


def test_generated_rows_are_never_later_than_a_hold_out() -> None:
    """First models are trained on a generated January of 2026; what is replayed is older."""
    first = PRODUCTION._replace(trained_until=None, generated=True)
    decision = decide_promotion(hold_out(), CANDIDATE, first, RULES)
    assert decision.outcome is Outcome.PROMOTE
    assert decision.evidence["production_generated"]


def test_where_all_cards_are_looked_at_average_precision_decides() -> None:
    few = msgspec.structs.replace(RULES, k=3_000)
    decision = decide_promotion(hold_out(), CANDIDATE, PRODUCTION, few)
    assert decision.evidence["differences"]["card_precision"]["value"] == 0.0
    assert decision.outcome is Outcome.PROMOTE
    assert decide_promotion(hold_out(BAD), CANDIDATE, PRODUCTION, few).outcome is not Outcome.PROMOTE


def test_a_difference_that_may_be_worse_is_no_reason() -> None:
    """Both are a little better here, by luck."""
    held = hold_out(scores(0.45, 23), scores(0.42, 223))
    decision = decide_promotion(held, CANDIDATE, PRODUCTION, msgspec.structs.replace(RULES, k=5))
    found = decision.evidence["differences"]["average_precision"]
    assert decision.evidence["differences"]["card_precision"]["value"] > 0
    assert found["low"] < 0 < found["value"]
    assert (decision.outcome, len(decision.reasons)) == (Outcome.KEEP, 1)


def test_the_same_figures_decide_the_same() -> None:
    one, other = (decide_promotion(hold_out(), CANDIDATE, PRODUCTION, RULES) for _ in range(2))
    assert one == other


@settings(deadline=None, max_examples=30)
@given(
    st.sampled_from([GOOD, MIDDLING, BAD]),
    st.sampled_from([GOOD, MIDDLING, BAD]),
    st.floats(0, 1),
    st.integers(0, 60),
)
def test_nothing_is_promoted_against_the_rules(
    candidate: NDArray[np.float64], production: NDArray[np.float64], threshold: float, frauds: int
) -> None:
    contender = CANDIDATE._replace(threshold=threshold, verdicts=Verdicts(frauds, 0))
    decision = decide_promotion(hold_out(candidate, production), contender, PRODUCTION, RULES)
    if decision.outcome is Outcome.PROMOTE:
        assert decision.evidence["f1"] > 0.7
        assert frauds >= 30
        for found in ("average_precision", "card_precision"):
            assert decision.evidence["differences"][found]["value"] > 0
            assert decision.evidence["differences"][found]["low"] >= 0


def test_a_hold_out_must_fit_together() -> None:
    with pytest.raises(ValueError, match="cards, days"):
        replace(hold_out(), cards=CARDS[:5])
    with pytest.raises(ValueError, match=r"begins, ends: 9000\.0 is after 1000\.0"):
        replace(hold_out(), begins=ENDS, ends=BEGINS)


PROMISE = 0.8


@pytest.mark.parametrize(
    ("verdicts", "roll_back", "reason"),
    [
        # The bound is 0.56; Wilson's upper bound of 20, 21, 22 in 50 is 0.538, 0.558, 0.577.
        (
            Verdicts(20, 30),
            True,
            "live precision 0.400 (at most 0.538) of 50 alerts with 50 verdicts, bound 0.560",
        ),
        (Verdicts(21, 29), True, "at most 0.558"),
        (Verdicts(22, 28), False, "at most 0.577"),
        (Verdicts(0, 49), False, "49 verdicts since it went live, needs 50"),
        (Verdicts(0, 0), False, "0 verdicts"),
        (Verdicts(90, 10), False, "live precision 0.900"),
        # Whom analysts look at first is chosen: what waits may be anything, what is mature is no fraud.
        (Verdicts(20, 30, waiting=50), False, "live precision 0.700"),
        (Verdicts(0, 200, waiting=20), True, "live precision 0.091"),
        (Verdicts(45, 5, unjudged=50), True, "live precision 0.450"),
        (Verdicts(45, 5, unjudged=51), False, "50 of 101 alerts are judged, needs 0.5"),
    ],
)
def test_production_gives_way_when_its_precision_is_below_the_bound_for_sure(
    verdicts: Verdicts, roll_back: bool, reason: str
) -> None:
    decision = decide_rollback(verdicts, PROMISE)
    assert (decision.roll_back, reason in decision.reason) == (roll_back, True), decision
    assert decision.evidence["promised"] == 0.8


def test_without_a_promise_nothing_falls_below_it() -> None:
    decision = decide_rollback(Verdicts(0, 1_000), None)
    assert not decision.roll_back
    assert "no precision on a hold-out" in decision.reason
