"""Promotions and precisions against a known truth, fifty seeds each: what is judged early never decides."""

from collections import Counter
from functools import cache

import msgspec
import numpy as np
import pytest

from batch.training.job import hold_out
from batch.training.lake_rows import labelled_rows
from ray_fraud.domain.evaluation import Evaluation
from ray_fraud.domain.features import FEATURE_NAMES
from ray_fraud.domain.known_labels import known_labels
from ray_fraud.domain.measures import average_precision
from ray_fraud.domain.promotion import (
    Contender,
    Decision,
    Outcome,
    PromotionRules,
    Verdicts,
    decide_promotion,
    decide_rollback,
)
from tests.batch.judged_world import (
    BETTER,
    CANDIDATE,
    CUT,
    HOLDOUT_DAYS,
    HOLDOUT_MS,
    MATURITY_MS,
    NEARLY,
    NEWEST_MS,
    PRESENT,
    PRODUCTION,
    WORSE,
    JudgedWorld,
    Scorer,
    judged_world,
)

SEEDS = range(50)
RULES = PromotionRules(k=10, resamples=100)
CONTENDER = Contender(CUT, -1.0, Verdicts(40, 10))
JUDGED_MS = 1_000 * MATURITY_MS
"""Of verdicts that come when the history is long over."""
TIMES = {"newest_ms": NEWEST_MS, "maturity_ms": MATURITY_MS, "holdout_ms": HOLDOUT_MS}


class Seen(msgspec.Struct, frozen=True):
    """What a training found in one world."""

    decision: Decision
    evaluation: Evaluation
    """The candidate's, on the hold-out."""


def seen(world: JudgedWorld) -> Seen:
    """The way of a training from rows and verdicts to a decision, with scores instead of fits."""
    labels = known_labels(world.verdicts, now_ms=NEWEST_MS, **TIMES)
    rows = labelled_rows([world.table], labels, 10**9).between(labels.begin_ms, labels.end_ms)
    theirs, ours = (
        rows.features[:, FEATURE_NAMES.index(name)].astype(np.float64) for name in (CANDIDATE, PRODUCTION)
    )
    decision = decide_promotion(hold_out(rows, theirs, ours), CONTENDER, CONTENDER, RULES)
    return Seen(
        decision,
        rows.evaluate(theirs, CUT, period_days=HOLDOUT_DAYS, k=RULES.k, late_share=labels.late_share),
    )


@cache
def all_seeds(candidate: Scorer) -> list[Seen]:
    return [seen(judged_world(candidate, seed)) for seed in SEEDS]


@cache
def true_precision(scorer: Scorer) -> float:
    """Of all that happens in many worlds, whatever anybody finds out."""
    worlds = [judged_world(scorer, seed) for seed in SEEDS]
    fraud, scores = (np.concatenate([getattr(each, name) for each in worlds]) for name in ("fraud", "scores"))
    return float(fraud[scores > CUT].mean())


def outcomes(candidate: Scorer) -> Counter[Outcome]:
    return Counter(each.decision.outcome for each in all_seeds(candidate))


@pytest.mark.parametrize("worse", [WORSE, NEARLY], ids=["much", "a little"])
def test_a_worse_candidate_is_promoted_in_a_fortieth_at_most(worse: Scorer) -> None:
    assert outcomes(worse)[Outcome.PROMOTE] <= 0.025 * len(SEEDS)


def test_a_clearly_better_candidate_is_promoted_in_nine_of_ten() -> None:
    assert outcomes(BETTER)[Outcome.PROMOTE] >= 0.9 * len(SEEDS)


@pytest.mark.parametrize("scorer", [WORSE, NEARLY, BETTER], ids=["worse", "nearly", "better"])
def test_the_interval_of_the_precision_covers_the_true_one(scorer: Scorer) -> None:
    truth = true_precision(scorer)
    intervals = [each.evaluation.precision_interval for each in all_seeds(scorer)]
    covered = [each is not None and each.low <= truth <= each.high for each in intervals]
    assert np.mean(covered) >= 0.9, truth


def test_what_is_judged_early_would_promote_the_worse_one() -> None:
    """Else this world would show nothing."""
    world = judged_world(WORSE, 1)
    judged = {verdict.key for verdict in world.verdicts}
    keys = zip(world.table["transaction_id"].to_pylist(), world.table["user_id"].to_pylist(), strict=True)
    young = np.array([key in judged for key in keys]) & (event_ms_of(world) > NEWEST_MS - MATURITY_MS)
    theirs, ours = (world.table[name].to_numpy().astype(np.float64) for name in (CANDIDATE, PRODUCTION))
    fraud = world.fraud
    assert average_precision(fraud[young], theirs[young]) > average_precision(fraud[young], ours[young])
    assert average_precision(fraud, theirs) < average_precision(fraud, ours) - 0.1
    assert fraud[young & (theirs > CUT)].mean() > 2 * fraud[theirs > CUT].mean()


@pytest.mark.parametrize(
    ("scorer", "least", "most"), [(PRESENT, 0.0, 0.0), (WORSE, 0.9, 1.0)], ids=["as promised", "worse"]
)
def test_production_gives_way_only_if_it_is_worse_than_promised(
    scorer: Scorer, least: float, most: float
) -> None:
    """Every alert of its days, with what is known of it by now, as the keeper counts it."""
    promised = true_precision(PRESENT)
    gave_way = [
        decide_rollback(live(judged_world(scorer, seed, production=scorer)), promised, RULES).roll_back
        for seed in SEEDS
    ]
    assert least <= np.mean(gave_way) <= most


def event_ms_of(world: JudgedWorld) -> np.typing.NDArray[np.int64]:
    made: np.typing.NDArray[np.int64] = world.table["event_time"].cast("int64").to_numpy() // 1_000
    return made


def live(world: JudgedWorld) -> Verdicts:
    said = {verdict.key: verdict.fraud for verdict in world.verdicts}
    young = event_ms_of(world) > NEWEST_MS - MATURITY_MS
    ids, users = world.table["transaction_id"].to_pylist(), world.table["user_id"].to_pylist()
    counts: Counter[str] = Counter()
    for row in np.flatnonzero(world.table[PRODUCTION].to_numpy() > CUT).tolist():
        fraud = said.get((ids[row], users[row]))
        name = ("waiting" if young[row] else "unjudged") if fraud is None else str(fraud)
        counts[name] += 1
    return Verdicts(counts["True"], counts["False"], counts["unjudged"], counts["waiting"])


def test_a_replay_that_is_judged_years_later_is_labelled_like_the_truth() -> None:
    world = judged_world(BETTER, 3)
    later = [msgspec.structs.replace(verdict, known_ms=JUDGED_MS) for verdict in world.verdicts]
    labels = known_labels(later, now_ms=JUDGED_MS, **TIMES)
    learnt = labelled_rows([world.table], labels, 10**9).between(0, labels.begin_ms)
    assert learnt.event_ms[-1] <= labels.begin_ms - MATURITY_MS
    assert 0.9 < learnt.fraud.sum() / world.fraud[: len(learnt)].sum() <= 1.0
