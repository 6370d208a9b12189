"""Makes `shap_golden.json`: small forests, rows, and what the package `shap` says of them.

    python -m venv /tmp/shap && /tmp/shap/bin/pip install shap==0.51.0 scikit-learn==1.9.1
    /tmp/shap/bin/python tests/scoring/make_shap_golden.py > tests/scoring/shap_golden.json

`shap` brings a compiler along and is needed for nothing else, so it is no dependency of the tests: they
compare with the file.

Never: an import of the product, whose explanations these values judge.
"""

import json
import sys
from importlib.metadata import version
from typing import Any

import numpy as np
import shap  # type: ignore[import-not-found]  # not installed where the tests run
from numpy.typing import NDArray
from sklearn.ensemble import GradientBoostingClassifier, IsolationForest, RandomForestClassifier

SEED = 5
ROWS = 300
SHOWN = 8
TREES = 5


def floor_float32(values: NDArray[np.float64]) -> NDArray[np.float64]:
    nearest = values.astype(np.float32)
    below = np.nextafter(nearest, np.float32(-np.inf))
    return np.where(nearest > values, below, nearest).astype(np.float64)


def plain(tree: Any, value: NDArray[np.float64]) -> dict[str, list[Any]]:
    leaf = tree.children_left < 0
    return {
        "left": tree.children_left.tolist(),
        "right": tree.children_right.tolist(),
        "feature": np.where(leaf, 0, tree.feature).tolist(),
        "threshold": np.where(leaf, 0, floor_float32(tree.threshold)).tolist(),
        "value": np.where(leaf, value, 0).astype(np.float32).astype(np.float64).tolist(),
        "cover": tree.weighted_n_node_samples.tolist(),
    }


def forests(x: NDArray[np.float32], y: NDArray[np.bool_]) -> dict[str, list[dict[str, list[Any]]]]:
    isolation = IsolationForest(n_estimators=TREES, max_samples=24, random_state=SEED).fit(x)
    random = RandomForestClassifier(
        n_estimators=TREES, max_depth=5, class_weight="balanced", random_state=SEED
    ).fit(x, y)
    boosting = GradientBoostingClassifier(n_estimators=TREES, max_depth=4, random_state=SEED).fit(x, y)
    found: dict[str, list[dict[str, list[Any]]]] = {"isolation": [], "random": [], "boosting": []}
    for each in isolation.estimators_:
        tree = each.tree_
        depth = np.zeros(tree.node_count)
        for node in np.flatnonzero(tree.children_left >= 0):
            depth[[tree.children_left[node], tree.children_right[node]]] = depth[node] + 1
        found["isolation"].append(plain(tree, depth / TREES))
    for each in random.estimators_:
        shares = each.tree_.value[:, 0, :]
        found["random"].append(plain(each.tree_, shares[:, 1] / shares.sum(axis=1) / TREES))
    for each in boosting.estimators_[:, 0]:
        found["boosting"].append(plain(each.tree_, each.tree_.value[:, 0, 0] * 0.1))
    return found


def explained(trees: list[dict[str, list[Any]]], rows: NDArray[np.float64]) -> dict[str, Any]:
    model = {
        "trees": [
            {
                "children_left": np.array(tree["left"]),
                "children_right": np.array(tree["right"]),
                "children_default": np.array(tree["right"]),
                "features": np.array(tree["feature"]),
                "thresholds": np.array(tree["threshold"]),
                "values": np.array(tree["value"])[:, None],
                "node_sample_weight": np.array(tree["cover"]),
            }
            for tree in trees
        ]
    }
    explainer = shap.TreeExplainer(model, feature_perturbation="tree_path_dependent")
    contributions = np.asarray(explainer.shap_values(rows)).reshape(len(rows), -1)
    base = float(np.ravel(explainer.expected_value)[0])
    return {"trees": trees, "base": base, "contributions": contributions.tolist()}


def main() -> None:
    random = np.random.default_rng(SEED)
    x = random.lognormal(1, 1, size=(ROWS, 4)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] > 12) | (random.random(ROWS) < 0.05)
    rows = x[:SHOWN].astype(np.float64)
    document = {
        "versions": {name: version(name) for name in ("shap", "scikit-learn", "numpy")},
        "rows": rows.tolist(),
        "forests": {name: explained(trees, rows) for name, trees in forests(x, y).items()},
    }
    sys.stdout.write(json.dumps(document) + "\n")


if __name__ == "__main__":
    main()
