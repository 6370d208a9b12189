"""Trees for tests of explanations: drawn ones, and those that the package `shap` has explained."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from ray_fraud.scoring.tree_table import TreeTable
from tests.oracle.shapley import Leaf, Node, Split

COLUMNS = 4
GOLDEN = Path(__file__).with_name("shap_golden.json")

_values = st.floats(-1e3, 1e3, width=32)
_thresholds = st.integers(-3, 3).map(float)
"""Few, so that paths ask a feature again and rows stand on thresholds."""

leaves = st.builds(Leaf, _values, st.integers(1, 50).map(float))
_columns = st.integers(0, 2)
trees: st.SearchStrategy[Node] = st.recursive(
    leaves, lambda nodes: st.builds(Split, _columns, _thresholds, nodes, nodes), max_leaves=12
)
forests = st.lists(trees, min_size=1, max_size=4)
drawn_rows = st.lists(st.integers(-4, 4).map(float), min_size=COLUMNS, max_size=COLUMNS)


def table_of(forest: list[Node], columns: int = COLUMNS) -> TreeTable:
    """The product's form of a forest."""
    rows: list[list[float]] = []

    def add(node: Node) -> int:
        at = len(rows)
        rows.append([-1, -1, 0, 0.0, 0.0, node.cover])
        if isinstance(node, Leaf):
            rows[at][4] = node.value
        else:
            rows[at][2:4] = node.feature, node.threshold
            rows[at][0], rows[at][1] = add(node.low), add(node.high)
        return at

    for node in forest:
        add(node)
    return _table(columns, [list(column) for column in zip(*rows, strict=True)])


def raw_sum(forest: list[Node], row: list[float]) -> float:
    """What the trees add up to."""
    total = 0.0
    for tree in forest:
        node = tree
        while isinstance(node, Split):
            node = node.low if row[node.feature] <= node.threshold else node.high
        total += node.value
    return total


class Golden(NamedTuple):
    """A forest and what `shap` says of some rows."""

    table: TreeTable
    rows: NDArray[np.float32]
    base: float
    contributions: NDArray[np.float64]


def golden() -> dict[str, Golden]:
    """By kind of forest; see `tests/scoring/make_shap_golden.py`."""
    document: dict[str, Any] = json.loads(GOLDEN.read_text())
    rows = np.array(document["rows"], np.float32)
    found = {}
    for name, forest in document["forests"].items():
        columns: list[list[float]] = [[] for _ in range(6)]
        for tree in forest["trees"]:
            start = len(columns[0])
            for child, key in enumerate(("left", "right")):
                columns[child] += [node + start if node >= 0 else -1 for node in tree[key]]
            for place, key in enumerate(("feature", "threshold", "value", "cover"), start=2):
                columns[place] += tree[key]
        table = _table(rows.shape[1], columns)
        found[name] = Golden(table, rows, forest["base"], np.array(forest["contributions"]))
    return found


def _table(columns: int, values: list[list[float]]) -> TreeTable:
    left, right, feature, threshold, value, cover = values
    return TreeTable(
        columns,
        np.array(left, np.int32),
        np.array(right, np.int32),
        np.array(feature, np.int32),
        np.array(threshold, np.float32),
        np.array(value, np.float32),
        np.array(cover, np.float64),
    )
