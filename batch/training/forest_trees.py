"""The trees of scikit-learn's ensembles, with leaf values whose sum is the model's raw output.

The boosted trees lie in attributes that scikit-learn does not promise (`_predictors`); what comes of them is
proved against the model's own probabilities before it is used.

Never: training.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest, RandomForestClassifier

from batch.training.onnx_trees import Tree


def mean_path_length(samples: NDArray[np.int64]) -> NDArray[np.float64]:
    """c(n): mean path length of an unsuccessful search in a binary search tree of n nodes, per element.

    Liu, Ting & Zhou, "Isolation Forest" (2008), equation 1, with the harmonic number written as
    ln(n − 1) + γ as scikit-learn does; c(2) = 1, c(1) = c(0) = 0.
    """
    n = np.maximum(samples, 3).astype(np.float64)
    long = 2.0 * (np.log(n - 1.0) + np.euler_gamma) - 2.0 * (n - 1.0) / n
    return np.where(samples > 2, long, np.where(samples == 2, 1.0, 0.0))


def isolation_trees(forest: IsolationForest) -> list[Tree]:
    """Leaf value: (depth + c(samples in the leaf)) ÷ number of trees, so that the sum is E."""
    trees = [estimator.tree_ for estimator in forest.estimators_]
    return [
        _tree(tree, (_depths(tree) + mean_path_length(tree.n_node_samples)) / len(trees)) for tree in trees
    ]


def probability_trees(forest: RandomForestClassifier, fraud_class: int = 1) -> list[Tree]:
    """Leaf value: share of the class in the leaf ÷ number of trees, so that the sum is its probability."""
    index = forest.classes_.tolist().index(fraud_class)
    trees = [estimator.tree_ for estimator in forest.estimators_]
    return [_tree(tree, _shares(tree)[:, index] / len(trees)) for tree in trees]


def boosted_trees(model: HistGradientBoostingClassifier) -> tuple[list[Tree], float]:
    """The trees, and the log-odds before the first: a tree's smallest leaf is moved there, so that none is
    negative."""
    trees, base = [], float(model._baseline_prediction[0, 0])
    for (predictor,) in model._predictors:
        nodes = predictor.nodes
        leaf = nodes["is_leaf"].astype(np.bool_)
        lowest = float(nodes["value"][leaf].min())
        base += lowest
        left = np.where(leaf, -1, nodes["left"].astype(np.int64))
        right = np.where(leaf, -1, nodes["right"].astype(np.int64))
        values, covers = nodes["value"] - lowest, nodes["count"].astype(np.float64)
        trees.append(Tree(left, right, nodes["feature_idx"], nodes["num_threshold"], values, covers))
    return trees, base


def _shares(tree: Any) -> NDArray[np.float64]:
    """Class shares per node, shape (nodes, classes)."""
    values: NDArray[np.float64] = tree.value[:, 0, :]
    shares: NDArray[np.float64] = values / values.sum(axis=1, keepdims=True)
    return shares


def _depths(tree: Any) -> NDArray[np.int64]:
    """Number of edges from the root to each node; children come after their parents."""
    depths = np.zeros(tree.node_count, np.int64)
    for node in np.flatnonzero(tree.children_left >= 0):
        depths[[tree.children_left[node], tree.children_right[node]]] = depths[node] + 1
    return depths


def _tree(tree: Any, value: NDArray[np.float64]) -> Tree:
    return Tree(
        tree.children_left,
        tree.children_right,
        tree.feature,
        tree.threshold,
        value,
        tree.weighted_n_node_samples,
    )
