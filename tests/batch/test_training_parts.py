"""Calibration, thresholds and folds: what stands between scores and a model that alerts."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batch.training.calibration import MAX_POINTS, calibration_points
from batch.training.drawn import drawn
from batch.training.labelled import LabelledRows, NotEnoughHistory, time_folds
from batch.training.threshold import choose_threshold, threshold_for_share
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
@example([(0.2, False), (0.9, True), (0.95, True), (0.99, True)])
@example([(0.1, False), (0.5, False), (0.5, True), (0.75, True), (0.875, True)])
def test_no_two_scores_become_one_by_calibration(rows: list[tuple[float, bool]]) -> None:
    scores = np.array([score for score, _ in rows])
    fraud = np.array([label for _, label in rows])
    table = calibration_points(scores, fraud)
    assert len(table) <= MAX_POINTS + 2
    x, y = np.array(table).reshape(-1, 2).T
    assert (np.diff(x) > 0).all()
    assert (np.diff(y) > 0).all()
    assert (np.diff(calibrated(table, np.unique(scores))) > 0).all()


@given(st.integers(0, 1_000))
def test_scores_that_a_calibration_has_not_seen_stay_apart(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = 1.0 / (1.0 + np.exp(-rng.normal(-3, 2, 3_000).astype(np.float32).astype(np.float64)))
    table = calibration_points(scores[:300], rng.random(300) < scores[:300])
    values = calibrated(table, np.append(np.unique(scores), 1.000001))
    assert (np.diff(values) > 0).all()
    assert values[0] >= 0
    assert values[-1] < 1


def test_a_calibration_of_weighted_rows_is_that_of_the_rows_they_stand_for() -> None:
    rng = np.random.default_rng(3)
    scores = rng.random(2_000)
    fraud = rng.random(2_000) < scores**2
    times = rng.integers(1, 5, 2_000)
    table = calibration_points(np.repeat(scores, times), np.repeat(fraud, times))
    weighted = calibration_points(scores, fraud, times.astype(np.float64))
    assert np.array(weighted) == pytest.approx(np.array(table))


def test_calibrated_scores_are_shares_of_fraud() -> None:
    rng = np.random.default_rng(1)
    scores = rng.random(40_000)
    fraud = rng.random(40_000) < scores**3 / 2
    values = calibrated(calibration_points(scores, fraud), scores)
    for low in (0.0, 0.1, 0.2, 0.3):
        among = (values >= low) & (values < low + 0.1)
        assert values[among].mean() == pytest.approx(fraud[among].mean(), abs=0.02)


@given(scored, st.floats(0.5, 10), st.floats(0.01, 20))
@example([(0.5, True), (0.5, False), (0.25, False)], 1.0, 1.0)
@example([(0.5, True), (0.25, False)], 1.0, 0.1)
def test_a_budget_is_kept_as_nearly_as_ties_allow_and_never_with_no_alert(
    rows: list[tuple[float, bool]], days: float, budget: float
) -> None:
    scores = np.array([score for score, _ in rows])
    chosen = choose_threshold(scores, np.array([label for _, label in rows]), days, budget)
    possible = np.array([(scores >= score).sum() for score in np.unique(scores)])
    alerts = (scores > chosen.by_budget).sum()
    assert abs(alerts - days * budget) == np.abs(possible - days * budget).min()
    assert alerts > 0
    assert (scores > chosen.value).any()
    assert chosen.value >= chosen.by_f1


@given(st.integers(1, 40), st.integers(0, 1_000))
def test_a_budget_of_n_gives_n_alerts_after_calibration(alerts: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.permutation(3_000) / 3_000.0
    fraud = scores > 0.98  # the highest scores are all fraud: the regression's last step is 1
    values = calibrated(calibration_points(scores, fraud), scores)
    assert (values > choose_threshold(values, fraud, 1.0, float(alerts)).by_budget).sum() == alerts


@given(scored, st.integers(0, 99))
def test_a_threshold_of_weighted_rows_is_that_of_the_rows_they_stand_for(
    rows: list[tuple[float, bool]], seed: int
) -> None:
    scores = np.array([score for score, _ in rows])
    fraud = np.array([label for _, label in rows])
    times = np.random.default_rng(seed).integers(1, 4, len(rows))
    whole = choose_threshold(np.repeat(scores, times), np.repeat(fraud, times), 1.0, 5.0)
    assert choose_threshold(scores, fraud, 1.0, 5.0, times.astype(np.float64)) == whole


@given(st.lists(st.sampled_from([0.1, 0.5, 0.7, 1.0]), min_size=1, max_size=50), st.floats(0.001, 0.9))
def test_a_share_of_alerts_is_never_none(values: list[float], share: float) -> None:
    scores = np.array(values)
    possible = np.array([(scores >= score).sum() for score in np.unique(scores)])
    alerts = (scores > threshold_for_share(scores, share)).sum()
    assert abs(alerts - share * len(scores)) == np.abs(possible - share * len(scores)).min()


def test_neighbouring_floats_have_a_threshold_between_them() -> None:
    low = 0.5
    high = float(np.nextafter(low, 1.0))
    chosen = choose_threshold(np.array([low, high, low]), np.array([False, True, False]), 1.0, 100.0)
    assert low <= chosen.by_f1 < high


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
