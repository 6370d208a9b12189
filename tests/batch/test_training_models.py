"""Training: equal to scikit-learn within 1e-5, deterministic, with thresholds from the alert budget."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import IsolationForest, RandomForestClassifier

from batch.training.boosting import BoostingParameters, train_boosting
from batch.training.bootstrap import FIRST_FEATURES, SECOND_FEATURES, bootstrap_models
from batch.training.forest_trees import isolation_trees, mean_path_length, probability_trees
from batch.training.isolation_forest import train_isolation_forest
from batch.training.missing import filled_columns, training_columns
from batch.training.onnx_trees import export_trees
from batch.training.random_forest import ForestParameters, train_random_forest
from batch.training.trained_model import Candidate, ExportMismatch, compare, finish
from ray_fraud.domain.features import FEATURE_NAMES
from ray_fraud.domain.model import IdentityLink, IsolationLink, LogisticLink, Training, decode_manifest
from ray_fraud.scoring.model import Model
from tests.scoring.sample_models import rows, trained

HISTORY = rows(6_000, 5)
UNSEEN = rows(3_000, 6)


@pytest.mark.parametrize(("trees", "max_samples"), [(100, 256), (100, 2), (37, 3), (300, 1_000)])
def test_isolation_scores_equal_scikit_learn(trees: int, max_samples: int) -> None:
    model = Model(
        *train_isolation_forest(
            HISTORY, SECOND_FEATURES, version=1, seed=3, trees=trees, max_samples=max_samples
        )
    )
    columns, fills = training_columns(HISTORY, SECOND_FEATURES)
    forest = IsolationForest(
        n_estimators=trees, max_samples=max_samples, contamination=0.1, random_state=3
    ).fit(columns)
    unseen = UNSEEN[:, [FEATURE_NAMES.index(name) for name in SECOND_FEATURES]]
    unseen = np.where(np.isnan(unseen), np.array([each.fill for each in fills], np.float32), unseen)
    assert np.abs(model.score(UNSEEN) + forest.score_samples(unseen)).max() <= 1e-5


def test_rows_on_the_thresholds_themselves_take_scikit_learns_branch() -> None:
    columns, _ = training_columns(HISTORY, FIRST_FEATURES)
    forest = IsolationForest(random_state=1).fit(columns)
    cuts = [forest.estimators_[tree].tree_.threshold[0] for tree in range(50)]
    near = np.array([[np.float32(cut)] * 3 for cut in cuts], np.float32)
    edges = np.concatenate(
        [near, np.nextafter(near, np.float32(np.inf)), np.nextafter(near, np.float32(-np.inf))]
    )
    candidate = Candidate(
        "edges",
        1,
        "isolation_forest",
        training_columns(HISTORY, FIRST_FEATURES)[1],
        IsolationLink(float(mean_path_length(np.array([256]))[0])),
        export_trees(isolation_trees(forest), 3),
        Training(6_000, 100, 1),
    )
    whole = np.full((len(edges), len(FEATURE_NAMES)), np.nan, np.float32)
    whole[:, :3] = edges
    finish(candidate, whole, -forest.score_samples(edges), alert_share=0.01)


@pytest.mark.parametrize("balanced", [False, True])
def test_random_forest_probabilities_equal_scikit_learn(balanced: bool) -> None:
    fraud = (HISTORY[:, 0] > 60) & (HISTORY[:, 5] > 10)
    names = ("amount", "user_tx_count_1h", "lat")
    candidate, expected = train_random_forest(
        HISTORY, fraud, names, version=1, seed=3, parameters=ForestParameters(balanced=balanced)
    )
    model = candidate.model()
    columns, _ = filled_columns(HISTORY, names)
    forest = RandomForestClassifier(
        n_estimators=80,
        max_depth=20,
        max_leaf_nodes=64,
        min_samples_leaf=5,
        class_weight="balanced" if balanced else None,
        random_state=3,
    ).fit(columns, fraud)
    assert np.abs(model.score(HISTORY) - forest.predict_proba(columns)[:, 1]).max() <= 1e-5
    assert np.abs(model.score(HISTORY)[: len(expected)] - expected).max() <= 1e-5
    assert isinstance(model.manifest.link, IdentityLink)
    assert len(probability_trees(forest, fraud_class=True)) == 80


@given(st.integers(3, 10_000))
def test_mean_path_length_is_that_of_unsuccessful_searches(samples: int) -> None:
    harmonic = sum(1 / k for k in range(1, samples))
    exact = 2 * harmonic - 2 * (samples - 1) / samples
    # ln(n − 1) + γ stands for the harmonic number H(n − 1); it is 1 / (2(n − 1)) too small
    assert mean_path_length(np.array([samples]))[0] == pytest.approx(exact, abs=1.1 / (samples - 1))


def test_mean_path_length_of_few_samples() -> None:
    assert mean_path_length(np.array([0, 1, 2])).tolist() == [0, 0, 1]


def test_about_the_budgeted_share_of_the_training_rows_alerts() -> None:
    made = train_isolation_forest(HISTORY, FIRST_FEATURES, version=1, seed=1, alert_share=0.01)
    manifest = made.manifest
    share = float((Model(*made).score(HISTORY) > manifest.threshold).mean())
    assert 0.005 <= share <= 0.01
    assert manifest.training.alert_share == 0.01


def test_bootstrap_makes_two_different_models_deterministically() -> None:
    first, second = bootstrap_models(HISTORY)
    for each in (first, second):
        training = each.manifest.training
        assert (training.period, training.generated, training.saw_transactions) == (None, True, False)
    assert first.manifest.feature_names == FIRST_FEATURES == ("amount", "lat", "lon")
    assert (first.manifest.version, second.manifest.version) == (1, 2)
    assert (first.manifest.training.trees, first.manifest.training.contamination) == (100, 0.1)
    assert second.manifest.feature_names == SECOND_FEATURES
    assert np.abs(Model(*first).score(UNSEEN) - Model(*second).score(UNSEEN)).max() > 0.01
    assert [each.manifest.digest for each in bootstrap_models(HISTORY)] == [
        first.manifest.digest,
        second.manifest.digest,
    ]


def test_boosted_probabilities_equal_scikit_learn() -> None:
    fraud = (HISTORY[:, 0] > 60) & (HISTORY[:, 5] > 10) | np.isnan(HISTORY[:, 1])
    names = ("amount", "user_tx_count_1h", "lat")
    chosen = BoostingParameters(trees=80, learning_rate=0.2, leaves=8, min_leaf=20, fraud_weight=3.0)
    candidate, expected = train_boosting(HISTORY, fraud, names, version=2, seed=5, parameters=chosen)
    model = candidate.model()
    scores = model.score(HISTORY)
    compare(model, HISTORY, scores[: len(expected)], expected)
    assert isinstance(model.manifest.link, LogisticLink)
    assert scores[fraud].min() > scores[~fraud].max()
    assert model.manifest.training.parameters["fraud_weight"] == 3.0
    again, _ = train_boosting(HISTORY, fraud, names, version=2, seed=5, parameters=chosen)
    assert again.onnx == candidate.onnx


def test_missing_values_can_be_told_apart() -> None:
    features = np.full((4, len(FEATURE_NAMES)), np.nan, np.float32)
    features[:, 0] = (5, 2, np.inf, np.nan)
    features[:, 1] = (-5_000, 1, 1, np.nan)
    columns, inputs = filled_columns(features, ("amount", "lat", "lon"))
    assert [each.fill for each in inputs] == [1.0, -5005.0, -1.0]
    assert columns[:, 0].tolist() == [5, 2, float(np.finfo(np.float32).max), 1]


def test_never_lies_beyond_every_time_since() -> None:
    features = np.full((4, len(FEATURE_NAMES)), np.nan, np.float32)
    features[:3, FEATURE_NAMES.index("merchant_run_days")] = (0.5, 12, 27)
    columns, inputs = filled_columns(features, ("merchant_run_days", "user_days_since_high"))
    assert [each.fill for each in inputs] == [54.0, 1.0]
    assert columns[:, 0].tolist() == [0.5, 12, 27, 54]


def test_never_of_the_largest_value_is_finite() -> None:
    features = np.full((2, len(FEATURE_NAMES)), np.nan, np.float32)
    features[0, FEATURE_NAMES.index("seconds_since_previous")] = np.inf
    columns, _ = filled_columns(features, ("seconds_since_previous",))
    assert np.isfinite(columns).all()


def test_an_unusual_amount_scores_higher() -> None:
    model = Model(*bootstrap_models(HISTORY)[0])
    usual = np.nanmedian(HISTORY, axis=0)[None].astype(np.float32)
    unusual = usual.copy()
    unusual[0, 0] = 1e6
    assert model.score(unusual)[0] > model.score(usual)[0] + 0.1


def test_missing_values_are_filled_with_the_median() -> None:
    features = np.full((3, len(FEATURE_NAMES)), np.nan, np.float32)
    features[:, 0] = (1, 2, 9)
    columns, inputs = training_columns(features, ("amount", "lat"))
    assert [(each.name, each.fill) for each in inputs] == [("amount", 2.0), ("lat", 0.0)]
    assert columns[:, 1].tolist() == [0, 0, 0]
    assert np.isnan(features[:, 1]).all()


def test_an_export_that_differs_is_an_error() -> None:
    manifest, onnx, _ = trained()
    candidate = Candidate(
        "x", 1, "isolation_forest", manifest.features, IsolationLink(9.0), onnx, manifest.training
    )
    with pytest.raises(ExportMismatch, match="differ by"):
        finish(candidate, UNSEEN, trained_scores(), alert_share=0.01)


def test_explanations_that_do_not_add_up_to_the_scores_are_an_error() -> None:
    one, other = (
        train_isolation_forest(HISTORY[:500], FIRST_FEATURES, version=1, seed=seed, trees=5)
        for seed in (1, 2)
    )
    manifest = one.manifest
    candidate = Candidate(
        "x",
        1,
        manifest.algorithm,
        manifest.features,
        manifest.link,
        one.onnx,
        manifest.training,
        other.explain,
    )
    with pytest.raises(ExportMismatch, match="add up to"):
        finish(candidate, UNSEEN, Model(*one).score(UNSEEN), alert_share=0.01)


@pytest.mark.parametrize("kind", ["isolation", "random", "boosting"])
def test_trained_models_can_explain_themselves(kind: str) -> None:
    fraud = HISTORY[:, 0] > 60
    if kind == "isolation":
        model = Model(*train_isolation_forest(HISTORY, SECOND_FEATURES, version=1, seed=1))
    elif kind == "random":
        model = train_random_forest(HISTORY, fraud, SECOND_FEATURES, version=1, seed=1)[0].model()
    else:
        model = train_boosting(HISTORY, fraud, SECOND_FEATURES, version=1, seed=1)[0].model()
    unusual = np.nanmedian(HISTORY, axis=0).astype(np.float32)
    unusual[0] = 1e6
    pushes = model.explain(unusual)
    assert pushes is not None
    assert FEATURE_NAMES[int(np.argmax(pushes))] == "amount"


@pytest.mark.parametrize("kind", ["random", "boosting"])
def test_the_manifest_can_be_read_again(kind: str) -> None:
    fraud = HISTORY[:, 0] > 60
    train = train_random_forest if kind == "random" else train_boosting
    manifest = train(HISTORY, fraud, SECOND_FEATURES, version=1, seed=1)[0].draft()
    assert decode_manifest(manifest.canonical(), digest=manifest.digest) == manifest


def trained_scores() -> "np.typing.NDArray[np.float64]":
    return Model(*trained()).score(UNSEEN)


def test_inputs_that_cannot_be_trained_on_are_named() -> None:
    with pytest.raises(ValueError, match="shoe_size"):
        train_isolation_forest(HISTORY, ("shoe_size",), version=1, seed=1)
    with pytest.raises(ValueError, match="at least 2"):
        train_isolation_forest(HISTORY[:1], ("amount",), version=1, seed=1)
    with pytest.raises(ValueError, match=r"shape \(10, 3\)"):
        train_isolation_forest(HISTORY[:10, :3], ("amount",), version=1, seed=1)
    with pytest.raises(ValueError, match="alert_share: 0 must"):
        train_isolation_forest(HISTORY[:10], ("amount",), version=1, seed=1, alert_share=0)
    with pytest.raises(ValueError, match="both classes"):
        train_random_forest(HISTORY, np.zeros(len(HISTORY), np.bool_), ("amount",), version=1, seed=1)


def test_the_manifest_tells_how_the_model_was_made() -> None:
    manifest = train_isolation_forest(
        HISTORY, FIRST_FEATURES, version=4, seed=9, period=(1.0, 2.0), trees=10
    ).manifest
    made = manifest.training
    assert (made.rows, made.trees, made.seed, made.max_samples, made.period) == (
        6_000,
        10,
        9,
        256,
        (1.0, 2.0),
    )
    assert set(made.libraries) >= {"scikit-learn", "onnx"}
    assert [share for share, _ in manifest.score_quantiles] == sorted(
        share for share, _ in manifest.score_quantiles
    )
    assert msgspec.json.decode(manifest.canonical())["link"]["kind"] == "isolation"
