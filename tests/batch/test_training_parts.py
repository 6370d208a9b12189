"""Calibration, thresholds and folds: what stands between scores and a model that alerts."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.training.calibration import MAX_POINTS, calibration_points
from batch.training.drawn import drawn
from batch.training.labelled import LabelledRows, NotEnoughHistory, time_folds
from batch.training.threshold import choose_threshold
from ray_fraud.domain.features import FEATURE_COUNT
from ray_fraud.domain.windows import DAY_MS
from ray_fraud.scoring.link import calibrated


def _labelled(fraud: list[bool]) -> LabelledRows:
    features = np.zeros((len(fraud), FEATURE_COUNT), np.float32)
    features[:, 0] = range(len(fraud))
    return LabelledRows(features, np.array(fraud, np.bool_), np.arange(len(fraud)), np.arange(len(fraud)))


@given(st.lists(st.booleans(), max_size=80), st.integers(1, 5), st.integers(0, 3))
def test_every_fraud_is_learnt_and_legitimate_rows_up_to_a_bound(
    fraud: list[bool], per_fraud: int, seed: int
) -> None:
    rows = _labelled(fraud)
    found = drawn(rows, per_fraud, seed)
    frauds, legitimate = sum(fraud), len(fraud) - sum(fraud)
    assert int(found.fraud.sum()) == frauds
    assert len(found) - frauds == (min(legitimate, per_fraud * frauds) if frauds else legitimate)
    assert (np.diff(found.event_ms) > 0).all()
    assert found.fraud.tolist() == rows.fraud[found.event_ms].tolist()
    assert drawn(rows, per_fraud, seed).event_ms.tolist() == found.event_ms.tolist()


def test_another_seed_draws_other_rows() -> None:
    rows = _labelled([True] + 500 * [False])
    assert drawn(rows, 50, 1).event_ms.tolist() != drawn(rows, 50, 2).event_ms.tolist()


scored = st.lists(st.tuples(st.floats(0, 1, width=32), st.booleans()), min_size=1, max_size=60)


@given(scored)
def test_a_calibration_table_ascends_and_keeps_the_order(rows: list[tuple[float, bool]]) -> None:
    scores = np.array([score for score, _ in rows])
    fraud = np.array([label for _, label in rows])
    table = calibration_points(scores, fraud)
    assert len(table) <= MAX_POINTS + 1
    x, y = np.array(table).reshape(-1, 2).T
    assert (np.diff(x) > 0).all()
    assert (np.diff(y) > 0).all()
    values = calibrated(table, np.sort(scores))
    assert (np.diff(values) >= 0).all()


def test_calibrated_scores_are_shares_of_fraud() -> None:
    rng = np.random.default_rng(1)
    scores = rng.random(40_000)
    fraud = rng.random(40_000) < scores**3 / 2
    values = calibrated(calibration_points(scores, fraud), scores)
    for low in (0.0, 0.1, 0.2, 0.3):
        among = (values >= low) & (values < low + 0.1)
        assert values[among].mean() == pytest.approx(fraud[among].mean(), abs=0.02)


@given(scored, st.floats(0.5, 10), st.floats(0.1, 20))
def test_a_threshold_keeps_the_budget(rows: list[tuple[float, bool]], days: float, budget: float) -> None:
    scores = np.array([score for score, _ in rows])
    chosen = choose_threshold(scores, np.array([label for _, label in rows]), days, budget)
    assert (scores > chosen.value).sum() <= max(0, round(days * budget))
    assert chosen.value >= chosen.by_f1


@given(scored)
def test_no_threshold_has_a_better_f1(rows: list[tuple[float, bool]]) -> None:
    scores = np.array([score for score, _ in rows])
    fraud = np.array([label for _, label in rows])

    def f1(threshold: float) -> float:
        alerts = scores > threshold
        return 2.0 * int((alerts & fraud).sum()) / max(1, int(alerts.sum() + fraud.sum()))

    best = f1(choose_threshold(scores, fraud, 1.0, 1e9).by_f1)
    assert all(f1(cut) <= best + 1e-12 for cut in (*scores.tolist(), -1.0))


def test_a_threshold_needs_rows_and_a_budget() -> None:
    with pytest.raises(ValueError, match="alerts_per_day: 0"):
        choose_threshold(np.ones(1), np.ones(1, np.bool_), 1.0, 0.0)


@given(st.integers(1, 5), st.floats(0.5, 9), st.floats(0, 9), st.floats(1, 40))
def test_folds_never_learn_from_what_they_cannot_know(
    count: int, test_days: float, gap_days: float, train_days: float
) -> None:
    until = 400 * DAY_MS
    folds = time_folds(0, until, count=count, test_days=test_days, gap_days=gap_days, train_days=train_days)
    assert folds[-1].test.until_ms == until
    for fold in folds:
        assert fold.train.until_ms + round(gap_days * DAY_MS) == fold.test.from_ms
        assert fold.train.days == pytest.approx(train_days, abs=1e-6)
    for earlier, later in pairwise(folds):
        assert earlier.test.until_ms == later.test.from_ms


def test_too_short_a_history_says_so() -> None:
    with pytest.raises(NotEnoughHistory, match="10 days of labelled history"):
        time_folds(0, 24 * DAY_MS, count=1, test_days=7, gap_days=7, train_days=28)


def test_labelled_rows_are_in_order_of_time() -> None:
    features = np.zeros((2, FEATURE_COUNT), np.float32)
    with pytest.raises(ValueError, match="go back"):
        LabelledRows(features, np.zeros(2, np.bool_), np.zeros(2, np.int64), np.array([2, 1]))
    rows = LabelledRows(features, np.array([True, False]), np.zeros(2, np.int64), np.array([1, DAY_MS]))
    assert rows.days.tolist() == [0, 1]
    assert len(rows.between(1, DAY_MS)) == 1
    assert rows.take(rows.fraud).event_ms.tolist() == [1]
