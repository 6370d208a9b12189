"""Contributions: Shapley values by their definition, equal to the package `shap`, always the same bits."""

import numpy as np
import pytest
from hypothesis import example, given, settings

from ray_fraud.domain.features import FEATURE_COUNT, FEATURE_NAMES
from ray_fraud.scoring.explain import Explainer
from ray_fraud.scoring.link import apply_link
from ray_fraud.scoring.model import Model
from ray_fraud.scoring.quadrature import gauss_legendre
from ray_fraud.scoring.split_scorer import SplitScorer
from tests.oracle.shapley import Leaf, Node, Split, shapley
from tests.scoring.sample_models import loaded, rows, split, trained
from tests.scoring.sample_trees import drawn_rows, forests, golden, raw_sum, table_of

ROWS = rows(300, 11)


AGAIN_ABOVE = Split(0, 2.0, Leaf(1.0, 4.0), Split(0, 1.0, Leaf(2.0, 3.0), Leaf(5.0, 2.0)))
AGAIN_BELOW = Split(0, 1.0, Split(0, 2.0, Leaf(2.0, 3.0), Leaf(5.0, 2.0)), Leaf(1.0, 4.0))
"""The second split asks less than the first one did: its far leaf is never reached, but has a cover."""


@example([AGAIN_ABOVE], [2.0, 0.0, 0.0, 0.0])
@example([AGAIN_BELOW], [2.0, 0.0, 0.0, 0.0])
@given(forests, drawn_rows)
@settings(deadline=None)
def test_contributions_are_the_shapley_values(forest: list[Node], row: list[float]) -> None:
    made = Explainer(table_of(forest)).contributions(np.array(row, np.float32))
    np.testing.assert_allclose(made, shapley(forest, row), rtol=1e-9, atol=1e-9)


@given(forests, drawn_rows)
@settings(deadline=None)
def test_they_add_up_to_the_raw_sum(forest: list[Node], row: list[float]) -> None:
    explainer = Explainer(table_of(forest))
    total = explainer.base + explainer.contributions(np.array(row, np.float32)).sum()
    assert total == pytest.approx(raw_sum(forest, row), abs=1e-6)


@given(forests, drawn_rows)
@settings(deadline=None)
def test_a_feature_that_no_tree_asks_contributes_nothing(forest: list[Node], row: list[float]) -> None:
    made = Explainer(table_of(forest, columns=6)).contributions(np.array([*row, 7.0, -7.0], np.float32))
    assert made[4:].tolist() == [0, 0]


@pytest.mark.parametrize("name", golden())
def test_they_equal_those_of_shap(name: str) -> None:
    judged = golden()[name]
    explainer = Explainer(judged.table)
    assert explainer.base == pytest.approx(judged.base, abs=1e-12)
    for row, expected in zip(judged.rows, judged.contributions, strict=True):
        np.testing.assert_allclose(explainer.contributions(row), expected, rtol=0, atol=1e-12)


def chain(features: int) -> Node:
    """Asks every feature once; every leaf lies at another depth."""
    node: Node = Leaf(20.0, 1.0)
    for feature in reversed(range(features)):
        node = Split(feature, 0.0, node, Leaf(float(feature), 2.0 + feature))
    return node


@pytest.mark.parametrize("failed", range(9))
def test_a_path_of_many_features(failed: int) -> None:
    row = [-1.0] * 9
    row[failed] = 1.0
    made = Explainer(table_of([chain(9)], columns=9)).contributions(np.array(row, np.float32))
    np.testing.assert_allclose(made, shapley([chain(9)], row), rtol=0, atol=1e-12)


def test_a_path_of_all_features_of_a_catalogue_adds_up() -> None:
    row = [-1.0] * 22 + [1.0]
    explainer = Explainer(table_of([chain(23)], columns=23))
    made = explainer.contributions(np.array(row, np.float32))
    assert explainer.base + made.sum() == pytest.approx(raw_sum([chain(23)], row), abs=1e-9)


def test_trees_of_one_leaf_contribute_nothing() -> None:
    explainer = Explainer(table_of([Leaf(2.5, 3.0), Leaf(-1.0, 1.0)]))
    assert explainer.base == 1.5
    assert explainer.contributions(np.zeros(4, np.float32)).tolist() == [0] * 4


def test_a_row_of_another_width_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        Explainer(table_of([Leaf(1.0, 1.0)])).contributions(np.zeros(3, np.float32))


def test_no_value_is_too_large_to_be_explained() -> None:
    tree = Split(0, 0.0, Leaf(1.0, 1.0), Split(0, 5.0, Leaf(2.0, 1.0), Leaf(3.0, 2.0)))
    explainer = Explainer(table_of([tree]))
    for value, leaf in ((np.inf, 3.0), (-np.inf, 1.0)):
        made = explainer.contributions(np.array([value, 0, 0, 0], np.float32))
        assert explainer.base + made.sum() == pytest.approx(leaf)


@pytest.mark.parametrize("version", [1, 2])
def test_a_models_pushes_add_up_to_its_score(version: int) -> None:
    model = loaded(version)
    for row, score in zip(ROWS, model.score(ROWS), strict=True):
        pushes = model.explain(row)
        assert pushes is not None
        assert pushes.shape == (FEATURE_COUNT,)
        raw = np.array([model.mean_raw - pushes.sum()], np.float32)
        assert apply_link(model.manifest.link, raw)[0] == pytest.approx(score, abs=1e-6)


def test_an_unusual_amount_pushes_towards_fraud() -> None:
    usual = np.nanmedian(ROWS, axis=0).astype(np.float32)
    unusual = usual.copy()
    unusual[0] = 1e6
    model = loaded()
    pushes = model.explain(unusual)
    assert pushes is not None
    assert FEATURE_NAMES[int(np.argmax(pushes))] == "amount"
    assert model.score(unusual[None])[0] > model.score(usual[None])[0]


def test_the_same_row_has_the_same_bits_in_any_order_and_any_load() -> None:
    again = Model(*trained())
    first = [loaded().explain(row) for row in ROWS[:40]]
    second = [again.explain(row) for row in ROWS[:40][::-1]][::-1]
    for one, other in zip(first, second, strict=True):
        assert one is not None
        assert other is not None
        assert one.tobytes() == other.tobytes()


def test_an_arm_explains_by_its_own_model() -> None:
    models = {trained(version).manifest.digest: loaded(version) for version in (1, 2)}
    scorer = SplitScorer(split(5_000, 5_000), models)
    for arm in (0, 1):
        made, expected = scorer.explain(arm, ROWS[0]), loaded(arm + 1).explain(ROWS[0])
        assert made is not None
        assert expected is not None
        assert made.tobytes() == expected.tobytes()


@pytest.mark.parametrize("count", range(1, 13))
def test_the_quadrature_is_exact_for_polynomials(count: int) -> None:
    points, weights = gauss_legendre(count)
    for degree in range(2 * count):
        assert (weights * points**degree).sum() == pytest.approx(1 / (degree + 1), rel=1e-14)
