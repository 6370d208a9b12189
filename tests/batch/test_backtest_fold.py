"""A backtest gives what the hot path would have given, and no verdict is used before its time."""

import numpy as np
import pytest

from batch.backtest.fold_part import FoldSettings, Outcome, part_of
from batch.backtest.history import History, labelled_past
from batch.backtest.parts import in_processes, run_here
from batch.training.bootstrap import bootstrap_models
from ray_fraud.domain.alert import RuleName, alert_uid
from ray_fraud.domain.features import FEATURE_NAMES, LOOKED_UP
from ray_fraud.domain.settings import DetectionSettings, HighAmountSettings
from ray_fraud.domain.split import Arm, Split
from ray_fraud.domain.windows import DAY_MS, HOUR_MS
from ray_fraud.scoring.model import Model
from ray_fraud.scoring.split_scorer import SplitScorer
from tests.batch.labelled_world import Labelled, Platform, history_from, labelled_records, run_platform

DELAY_MS = DAY_MS + HOUR_MS
REFRESH_MS = 4 * HOUR_MS
SETTINGS = DetectionSettings(high_amount=HighAmountSettings(limit=400.0))
FOLD = FoldSettings(detection=SETTINGS, delay_ms=DELAY_MS, refresh_ms=REFRESH_MS, profile_days=90)
LABELLED = labelled_records(1_500, days=12)


def untold(done: int, in_all: int) -> None:
    """Nobody wants to know."""


def folded(history: History, settings: FoldSettings = FOLD) -> Outcome:
    return run_here(history, labelled_past(history), settings, untold)


@pytest.fixture(scope="module")
def history() -> History:
    return history_from(LABELLED)


@pytest.fixture(scope="module")
def outcome(history: History) -> Outcome:
    return folded(history)


@pytest.fixture(scope="module")
def model(outcome: Outcome) -> Model:
    made = bootstrap_models(outcome.features)[1]
    return Model(*made)


@pytest.fixture(scope="module")
def streamed(model: Model) -> Platform:
    arm = Arm("isolation_forest", 2, "digest", model.manifest.threshold, 10_000)
    split = Split((arm,), salt="")
    scorer = SplitScorer(split, {"digest": model})
    return run_platform(LABELLED, split, scorer, delay_ms=DELAY_MS, refresh_ms=REFRESH_MS, settings=SETTINGS)


def test_features_are_those_of_the_hot_path_to_the_last_bit(outcome: Outcome, streamed: Platform) -> None:
    assert streamed.refreshes > 20
    offsets = sorted(streamed.features)
    assert np.flatnonzero(outcome.processed).tolist() == offsets
    expected = np.array([streamed.features[offset] for offset in offsets])
    for column, name in enumerate(FEATURE_NAMES):
        assert outcome.features[offsets, column].tobytes() == expected[:, column].tobytes(), name
    values = outcome.features[offsets]
    for feature in LOOKED_UP:
        given = values[:, FEATURE_NAMES.index(feature.name)]
        assert len(np.unique(given[~np.isnan(given)])) > 1, f"{feature.name} says nothing here"


def test_alerts_and_scores_are_those_of_the_hot_path(
    history: History, outcome: Outcome, streamed: Platform, model: Model
) -> None:
    rows = np.flatnonzero(outcome.processed)
    scores = model.score(outcome.features)
    assert [streamed.scores[row] for row in rows.tolist()] == scores[rows].tolist()
    hits = {
        RuleName.HIGH_AMOUNT: outcome.broke(RuleName.HIGH_AMOUNT),
        RuleName.GEO_VELOCITY: outcome.broke(RuleName.GEO_VELOCITY),
        RuleName.ML_ANOMALY: outcome.processed & (scores > model.manifest.threshold),
    }
    found = set()
    for rule, hit in hits.items():
        assert hit.any(), rule
        for row in history.rows.filter(hit).to_pylist():
            uid = alert_uid(row["transaction_id"], row["user_id"], rule, row["payload_digest"])
            found.add(uid)
    assert found == {alert.alert_uid for alert in streamed.alerts}


def test_processes_give_what_one_gives(history: History, outcome: Outcome) -> None:
    told: list[int] = []
    shared = in_processes(2)(history, labelled_past(history), FOLD, lambda done, _: told.append(done))
    assert shared.features.tobytes() == outcome.features.tobytes()
    assert shared.marks.tobytes() == outcome.marks.tobytes()
    assert told[-1] == len(history)
    assert set(part_of(history.user_ids, 2).tolist()) == {0, 1}


def test_a_verdict_changes_nothing_before_its_delay(outcome: Outcome) -> None:
    frauds = [row for row, each in enumerate(LABELLED) if each.fraud]
    changed = frauds[len(frauds) // 2]
    other = [Labelled(each.record, each.fraud and row != changed) for row, each in enumerate(LABELLED)]
    without = folded(history_from(other))
    known_ms = LABELLED[changed].record.timestamp_ms + DELAY_MS
    before = np.array([each.record.timestamp_ms < known_ms for each in LABELLED])
    assert without.features[before].tobytes() == outcome.features[before].tobytes()
    assert without.features[~before].tobytes() != outcome.features[~before].tobytes()


def test_what_comes_later_changes_nothing_before(history: History, outcome: Outcome) -> None:
    half = len(LABELLED) // 2
    first = folded(history_from(LABELLED[:half]))
    assert first.features.tobytes() == outcome.features[:half].tobytes()
    assert first.marks.tobytes() == outcome.marks[:half].tobytes()


def test_rows_are_put_in_order_of_time_and_equal_ones_stay(history: History) -> None:
    assert history.event_ms.tolist() == sorted(history.event_ms.tolist())
    shuffled = np.random.default_rng(1).permutation(len(LABELLED)).tolist()
    again = history_from([LABELLED[row] for row in shuffled])
    assert again.rows["transaction_id"].to_pylist() == history.rows["transaction_id"].to_pylist()
    assert again.rows["offset"].to_pylist() == list(range(len(LABELLED)))


def test_a_record_that_comes_twice_is_processed_once() -> None:
    twice = [*LABELLED[:6], LABELLED[5], *LABELLED[6:20]]
    outcome = folded(history_from(twice))
    assert outcome.processed.tolist() == [True] * 6 + [False] + [True] * 14
