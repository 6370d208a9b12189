"""Each row is scored by the model of its user's arm, whatever else is in the batch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_fraud.domain.model import ModelRefused
from ray_fraud.domain.split import RULES_ONLY
from ray_fraud.scoring.split_scorer import SplitScorer
from tests.scoring.sample_models import loaded, rows, split, trained

ROWS = rows(400, 3)
MODELS = {trained(version).manifest.digest: loaded(version) for version in (1, 2)}


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**63 - 1), max_size=200), st.integers(0, 10_000))
def test_each_row_has_the_score_of_its_arm(ids: list[int], share_bp: int) -> None:
    user_ids, features = np.array(ids, np.int64), ROWS[: len(ids)]
    both = split(10_000 - share_bp, share_bp)
    scores = SplitScorer(both, MODELS).score(user_ids, features)
    assert scores.arms.tolist() == both.arm_of(user_ids).tolist()
    for arm in (0, 1):
        mine = scores.arms == arm
        assert scores.values[mine].tobytes() == loaded(arm + 1).score(features)[mine].tobytes()


def test_the_time_of_each_arm_is_told_and_changes_no_score() -> None:
    class Clock:
        now = 0.0

        def __call__(self) -> float:
            self.now += 1.5
            return self.now

    user_ids = np.arange(400)
    for under, arms in ((split(10_000), (1.5,)), (split(6_000, 4_000), (1.5, 1.5)), (RULES_ONLY, ())):
        scorer = SplitScorer(under, MODELS)
        scores, seconds = scorer.score_timed(user_ids, ROWS, Clock())
        assert scores.values.tobytes() == scorer.score(user_ids, ROWS).values.tobytes()
        assert seconds == arms
    shadowed = SplitScorer(split(10_000, 0), MODELS).score_timed(user_ids, ROWS, Clock())
    assert shadowed.arm_seconds == (1.5, 0.0)


def test_a_shadow_is_loaded_and_scores_nobody() -> None:
    user_ids = np.arange(400)
    scores = SplitScorer(split(10_000, 0), MODELS).score(user_ids, ROWS)
    assert scores.values.tobytes() == loaded().score(ROWS).tobytes()
    assert not scores.arms.any()


def test_one_arm_scores_every_row() -> None:
    scores = SplitScorer(split(10_000), MODELS).score(np.arange(400), ROWS)
    assert scores.values.tobytes() == loaded().score(ROWS).tobytes()
    assert not scores.arms.any()


def test_a_split_without_arms_scores_nothing() -> None:
    scores = SplitScorer(RULES_ONLY, {}).score(np.arange(3), ROWS[:3])
    assert np.isnan(scores.values).all()
    assert scores.arms.shape == (3,)


def test_a_missing_model_is_refused_when_built() -> None:
    with pytest.raises(ModelRefused, match="isolation_forest:2 refused"):
        SplitScorer(split(9_000, 1_000), {trained(1).manifest.digest: loaded(1)})


def test_unequal_lengths_are_an_error() -> None:
    with pytest.raises(ValueError, match="2 user ids for 3 rows"):
        SplitScorer(split(10_000), MODELS).score(np.arange(2), ROWS[:3])
