"""The trees of a model with their covers, in the numbers of its ONNX file: what it explains its alerts from.

Never: other thresholds or leaf values than the ONNX file has.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from batch.training.onnx_trees import Tree, floor_float32, leaf_quantum, rounded_leaves
from ray_fraud.scoring.tree_table import TreeTable, encode_trees


def export_covers(trees: Sequence[Tree], columns: int) -> bytes:
    """The content of `explain.bin` for the sum over `trees`, see `ray_fraud.scoring.tree_table`."""
    quantum = leaf_quantum(trees)
    starts = np.cumsum([0, *(len(tree.left) for tree in trees)])
    parts = [_rows(tree, int(start), quantum) for tree, start in zip(trees, starts, strict=False)]
    left, right, feature, threshold, value, cover = map(np.concatenate, zip(*parts, strict=True))
    return encode_trees(TreeTable(columns, left, right, feature, threshold, value, cover))


def _rows(tree: Tree, start: int, quantum: float) -> tuple[NDArray[np.generic], ...]:
    """The columns of one tree whose root is row `start`; what a node does not have is 0, a child -1."""
    leaf = tree.left < 0
    return (
        np.where(leaf, -1, tree.left + start).astype(np.int32),
        np.where(leaf, -1, tree.right + start).astype(np.int32),
        np.where(leaf, 0, tree.feature).astype(np.int32),
        np.where(leaf, np.float32(0), floor_float32(tree.threshold)),
        np.where(leaf, rounded_leaves(tree.value, quantum), np.float32(0)),
        tree.cover.astype(np.float64),
    )
