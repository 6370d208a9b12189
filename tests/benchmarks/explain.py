"""Milliseconds per explained alert by kind and size of model: `python -m tests.benchmarks.explain`.

Each figure is the fastest and the median of many rows, one at a time, in processor time of one thread, so
that a busy machine disturbs it little. The forests are trained on drawn rows of the whole catalogue, which
gives long paths of many different features.

Never: a check of anything; the tests do that.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from statistics import median

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import GradientBoostingClassifier, IsolationForest, RandomForestClassifier

from batch.training.explain_file import export_covers
from batch.training.forest_trees import isolation_trees, probability_trees
from batch.training.onnx_trees import Tree
from ray_fraud.domain.explanation import explanation
from ray_fraud.domain.features import FEATURE_COUNT
from ray_fraud.scoring.explain import Explainer
from ray_fraud.scoring.tree_table import decode_trees

HISTORY = 20_000
SEED = 1
BUDGET_MS = 2.0


def history() -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Rows of the catalogue and verdicts that depend on several columns."""
    random = np.random.default_rng(SEED)
    rows = random.lognormal(3, 1.2, size=(HISTORY, FEATURE_COUNT)).astype(np.float32)
    fraud = (rows[:, 0] * random.random(HISTORY) > 30) & (rows[:, 1] > 10) | (rows[:, 13] > 400)
    return rows, fraud ^ (random.random(HISTORY) < 0.05)


def isolation(rows: NDArray[np.float32], columns: int, samples: int) -> list[Tree]:
    forest = IsolationForest(n_estimators=100, max_samples=samples, random_state=SEED)
    return isolation_trees(forest.fit(rows[:, :columns]))


def random_forest(rows: NDArray[np.float32], fraud: NDArray[np.bool_], trees: int, depth: int) -> list[Tree]:
    forest = RandomForestClassifier(
        n_estimators=trees, max_depth=depth, class_weight="balanced", random_state=SEED
    )
    return probability_trees(forest.fit(rows, fraud))


def boosting(rows: NDArray[np.float32], fraud: NDArray[np.bool_]) -> list[Tree]:
    """300 trees of at most 31 leaves and depth 8; the leaves moved up, as the export wants them."""
    model = GradientBoostingClassifier(
        n_estimators=300,
        max_leaf_nodes=31,
        max_depth=8,
        min_samples_leaf=20,
        subsample=0.2,
        max_features=6,
        random_state=SEED,
    )
    made = []
    for (estimator,) in model.fit(rows, fraud).estimators_:
        tree = estimator.tree_
        value = tree.value[:, 0, 0] - tree.value[:, 0, 0].min()
        nodes = tree.children_left, tree.children_right, tree.feature, tree.threshold
        made.append(Tree(*nodes, value, tree.weighted_n_node_samples))
    return made


def measure(name: str, trees: list[Tree], rows: NDArray[np.float32]) -> str:
    """One line of the table."""
    columns = rows.shape[1]
    content = export_covers(trees, columns)
    began = time.thread_time()
    explainer = Explainer(decode_trees(content, model=name))
    load_ms = 1000 * (time.thread_time() - began)
    took = []
    for row in rows:
        padded = np.zeros(FEATURE_COUNT, np.float32)
        padded[:columns] = row
        began = time.thread_time()
        pushes = np.zeros(FEATURE_COUNT)
        pushes[:columns] = explainer.contributions(row)
        explanation(pushes, padded)
        took.append(1000 * (time.thread_time() - began))
    leaves = sum(int((tree.left < 0).sum()) for tree in trees)
    within = "yes" if median(took) <= BUDGET_MS else "no"
    return (
        f"{name:<44}{leaves:>8,}{min(took):>9.2f}{median(took):>9.2f}{within:>8}"
        f"{load_ms:>9.0f}{len(content) / 1024:>9,.0f}{explainer.nbytes / 2**20:>9.1f}"
    )


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200, help="rows explained per model")
    count = parser.parse_args(arguments).rows
    rows, fraud = history()
    titles = "leaves", "fastest", "median", "<= 2 ms", "load ms", "file KiB", "MiB"
    sys.stdout.write(f"{'model':<44}{titles[0]:>8}" + "".join(f"{title:>9}" for title in titles[1:]) + "\n")
    for columns, samples in ((3, 256), (6, 512), (FEATURE_COUNT, 256), (FEATURE_COUNT, 512)):
        name = f"isolation forest, 100 x {samples}, {columns} features"
        made = isolation(rows, columns, samples)
        sys.stdout.write(measure(name, made, rows[:count, :columns]) + "\n")
    sys.stdout.write(measure("gradient boosting, 300 x 31", boosting(rows, fraud), rows[:count]) + "\n")
    for trees, depth in ((50, 8), (100, 8), (100, 10), (100, 12)):
        name = f"random forest, {trees} trees of depth {depth}"
        sys.stdout.write(measure(name, random_forest(rows, fraud, trees, depth), rows[:count]) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
