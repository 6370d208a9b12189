"""The whole training: nothing from the future, deterministic, better than chance on later rows."""

from collections.abc import Iterable, Sequence

import numpy as np
import pytest
from msgspec import UNSET

from batch.training.boosting import BoostingParameters
from batch.training.labelled import Fold, LabelledRows, NotEnoughHistory
from batch.training.pipeline import Facts, Trained, plan, train
from batch.training.random_forest import ForestParameters
from batch.training.search import Scores, Task, run_here, search
from batch.training.settings import Algorithm, IsolationParameters, Parameters, TrainingSettings
from ray_fraud.domain.drift import psi
from ray_fraud.domain.features import FEATURE_COUNT, FEATURE_NAMES
from ray_fraud.domain.windows import DAY_MS
from ray_fraud.scoring.model import Model

SMALL = TrainingSettings(
    holdout_days=4,
    gap_days=1,
    train_days=10,
    folds=2,
    fold_days=3,
    alerts_per_day=20,
    top_k=10,
    isolation_forest=(IsolationParameters(trees=20),),
    random_forest=(ForestParameters(trees=15, max_depth=4),),
    gradient_boosting=(
        BoostingParameters(trees=20, learning_rate=0.2, leaves=6, min_leaf=20),
        BoostingParameters(trees=2, leaves=2, min_leaf=20),
    ),
)
AMOUNT, RATIO = FEATURE_NAMES.index("amount"), FEATURE_NAMES.index("amount_over_mean_30d")


def history(days: int = 24, per_day: int = 250, seed: int = 3) -> LabelledRows:
    """Frauds are amounts far above the user's own mean; large amounts alone are none."""
    rng = np.random.default_rng(seed)
    count = days * per_day
    features = np.full((count, FEATURE_COUNT), np.nan, np.float32)
    features[:, AMOUNT] = rng.gamma(2.0, 40.0, count)
    features[:, RATIO] = rng.gamma(3.0, 0.4, count)
    fraud = rng.random(count) < 0.03
    features[fraud, RATIO] += rng.gamma(4.0, 1.5, int(fraud.sum()))
    event_ms = np.sort(rng.integers(0, days * DAY_MS, count))
    return LabelledRows(features, fraud, rng.integers(0, 200, count), event_ms)


ROWS = history()


@pytest.fixture(scope="module")
def trained() -> list[Trained]:
    return train(ROWS, SMALL, lambda _: 7, facts=Facts(lake_version=5, labels_until=9.0))


def test_each_algorithm_gives_a_model_and_the_best_comes_first(trained: list[Trained]) -> None:
    assert {each.model.manifest.algorithm for each in trained} == {each.value for each in Algorithm}
    means = [each.cross_validation for each in trained]
    assert means == sorted(means, reverse=True)
    best = trained[0]
    assert best.model.manifest.algorithm != "isolation_forest"
    assert best.evaluation.average_precision is not None
    assert best.evaluation.average_precision > 0.6
    assert best.model.manifest.version == 7


def test_the_manifest_says_what_the_model_was_made_of(trained: list[Trained]) -> None:
    made = trained[0].model.manifest.training
    periods = plan(ROWS, SMALL)
    assert (made.lake_version, made.labels_until) == (5, 9.0)
    assert made.period is not None
    assert made.period[1] * 1000 < periods.final.train.until_ms
    assert made.rows == len(ROWS.between(*periods.final.train))
    assert made.alert_share is not None


def test_scores_are_probabilities_and_alerts_keep_the_budget(trained: list[Trained]) -> None:
    for each in trained:
        assert ((each.holdout_scores >= 0) & (each.holdout_scores <= 1)).all()
        assert each.evaluation.alerts_per_day <= 1.5 * SMALL.alerts_per_day
    best = trained[0]
    assert best.holdout_scores.sum() == pytest.approx(best.evaluation.frauds, rel=0.35)


def test_hold_out_scores_are_those_of_the_registered_file(trained: list[Trained]) -> None:
    holdout = ROWS.between(*plan(ROWS, SMALL).final.test)
    for each in trained:
        model = Model(*each.model)
        assert (model.score(holdout.features) == each.holdout_scores).all()


def test_the_manifest_tells_drift_from_what_merely_is_later(trained: list[Trained]) -> None:
    holdout = ROWS.between(*plan(ROWS, SMALL).final.test)
    for each in trained:
        manifest = each.model.manifest
        assert manifest.references is not UNSET
        assert manifest.score_reference is not UNSET
        assert tuple(manifest.references) == manifest.feature_names
        for name, reference in manifest.references.items():
            assert psi(reference, holdout.features[:, FEATURE_NAMES.index(name)]) < 0.1
        assert psi(manifest.references["amount"], 2 * holdout.features[:, AMOUNT]) > 0.25
        assert psi(manifest.score_reference, each.holdout_scores) < 0.1


def test_training_again_gives_the_same_files(trained: list[Trained]) -> None:
    again = train(ROWS, SMALL, lambda _: 7, facts=Facts(lake_version=5, labels_until=9.0))
    assert [each.model.manifest.digest for each in again] == [each.model.manifest.digest for each in trained]


def test_labels_of_the_hold_out_change_nothing_but_its_measures(trained: list[Trained]) -> None:
    final = plan(ROWS, SMALL).final
    later = ROWS.event_ms >= final.test.from_ms
    fraud = np.where(later, ~ROWS.fraud, ROWS.fraud)
    other = train(
        LabelledRows(ROWS.features, fraud, ROWS.user_ids, ROWS.event_ms),
        SMALL,
        lambda _: 7,
        facts=Facts(lake_version=5, labels_until=9.0),
    )
    assert {each.model.manifest.digest for each in other} == {each.model.manifest.digest for each in trained}
    assert other[0].evaluation.average_precision != trained[0].evaluation.average_precision


def test_what_lies_in_the_gap_is_never_learnt(trained: list[Trained]) -> None:
    final = plan(ROWS, SMALL).final
    gap = (ROWS.event_ms >= final.train.until_ms) & (ROWS.event_ms < final.test.from_ms)
    folds_need = np.zeros(len(ROWS), np.bool_)
    for fold in plan(ROWS, SMALL).folds:
        folds_need |= (ROWS.event_ms >= fold.test.from_ms) & (ROWS.event_ms < fold.test.until_ms)
    assert gap.any()
    assert not (gap & folds_need).any(), "nor chosen on: its labels are not known when the hold-out begins"


def test_the_hold_out_ends_where_labels_are_mature_not_with_the_last_row() -> None:
    until_ms = int(ROWS.event_ms[-1]) + 1 + DAY_MS // 2
    assert plan(ROWS, SMALL, until_ms).final.test.until_ms == until_ms


def test_results_may_come_in_any_order() -> None:
    folds = plan(ROWS, SMALL).folds

    def backwards(
        rows: LabelledRows, tasks: Sequence[tuple[Task, Parameters, Fold]], seed: int
    ) -> Iterable[tuple[Task, Scores]]:
        return reversed(list(run_here(rows, tasks, seed)))

    told: list[tuple[int, int]] = []
    forwards = search(ROWS, folds, SMALL, run_here, lambda done, all_: told.append((done, all_)))
    found = search(ROWS, folds, SMALL, backwards)
    assert [(each.algorithm, each.parameters) for each in found] == [
        (each.algorithm, each.parameters) for each in forwards
    ]
    assert told == [(done, 8) for done in range(9)]
    assert found[0].tried == len(SMALL.candidates(found[0].algorithm))


def test_without_frauds_in_training_only_the_unsupervised_model_is_made() -> None:
    periods = plan(ROWS, SMALL)
    early = ROWS.event_ms < periods.folds[0].test.from_ms
    rows = LabelledRows(ROWS.features, ROWS.fraud & ~early, ROWS.user_ids, ROWS.event_ms)
    assert [each.model.manifest.algorithm for each in train(rows, SMALL, lambda _: 1)] == ["isolation_forest"]


def test_too_little_is_said_so() -> None:
    with pytest.raises(NotEnoughHistory, match="no labelled rows"):
        train(ROWS.take(np.zeros(len(ROWS), np.bool_)), SMALL, lambda _: 1)
    nothing = np.zeros(len(ROWS), np.bool_)
    with pytest.raises(NotEnoughHistory, match="0 frauds among"):
        train(LabelledRows(ROWS.features, nothing, ROWS.user_ids, ROWS.event_ms), SMALL, lambda _: 1)


def test_a_task_is_named_by_what_it_does() -> None:
    assert Task(Algorithm.RANDOM_FOREST, 0, 1) != Task(Algorithm.RANDOM_FOREST, 1, 0)
