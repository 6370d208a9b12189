"""Decision trees to ONNX: one `ai.onnx.ml` TreeEnsemble node that sums one leaf value per tree.

Two roundings make the ensemble's result exact and independent of batch, order and threads:
- thresholds are rounded *down* to float32, so `x_f32 <= threshold` branches as it does in float64;
- leaf values are rounded to multiples of one power of two so large that every partial sum fits in
  float32's 24 bits, so float32 addition never rounds.

Never: which model the trees belong to, the link from the sum to a score (the manifest has it).
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from ray_fraud.scoring.tree_graph import INPUT, OUTPUT

FLOAT32_BITS = 24
ML_OPSET = 5
"""The first one with TreeEnsemble: as fast as TreeEnsembleRegressor here, smaller, loaded faster."""
SUM = 1
BRANCH_LEQ = 0


class Tree(NamedTuple):
    """A binary tree as parallel arrays over its nodes; node 0 is the root."""

    left: NDArray[np.int64]
    """Child taken when `feature <= threshold`; -1 in a leaf."""
    right: NDArray[np.int64]
    feature: NDArray[np.int64]
    """Column, in inner nodes."""
    threshold: NDArray[np.float64]
    value: NDArray[np.float64]
    """What the tree adds to the sum, in leaves; not negative."""
    cover: NDArray[np.float64]
    """Training weight (or number of rows) that came through each node; explanations need it."""


def export_trees(trees: Sequence[Tree], columns: int) -> bytes:
    """ONNX bytes of the sum over `trees`; input float32 (n, columns), output float32 (n, 1)."""
    quantum = leaf_quantum(trees)
    tables = _concatenate([_flatten(tree, quantum) for tree in trees])
    node = onnx.helper.make_node(
        "TreeEnsemble", [INPUT], [OUTPUT], domain="ai.onnx.ml", n_targets=1, aggregate_function=SUM, **tables
    )
    graph = onnx.helper.make_graph(
        [node],
        "trees",
        [onnx.helper.make_tensor_value_info(INPUT, onnx.TensorProto.FLOAT, [None, columns])],
        [onnx.helper.make_tensor_value_info(OUTPUT, onnx.TensorProto.FLOAT, [None, 1])],
    )
    opsets = [onnx.helper.make_opsetid("", 21), onnx.helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10, producer_name="ray-fraud")
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


SMALLEST_EXPONENT = -149
"""Of float32's smallest positive number: no multiple of anything smaller can be held."""


def summable_quantum(largest: Sequence[float]) -> float:
    """A power of two q such that any sum of one multiple of q per tree is exact in float32.

    Args:
        largest: the largest leaf value of each tree, not negative.
    """
    if min(largest) < 0:
        raise ValueError(f"leaf values must not be negative, the smallest is {min(largest)}")
    bound = math.fsum(largest) * (1 + 2.0**-10)
    return math.ldexp(1.0, max(math.frexp(bound)[1] - FLOAT32_BITS, SMALLEST_EXPONENT))


def leaf_quantum(trees: Sequence[Tree]) -> float:
    """The `summable_quantum` of these trees' leaves."""
    return summable_quantum([float(tree.value[tree.left < 0].max()) for tree in trees])


def rounded_leaves(values: NDArray[np.float64], quantum: float) -> NDArray[np.float32]:
    """The multiple of `quantum` next to each value."""
    return (np.rint(values / quantum) * quantum).astype(np.float32)


def floor_float32(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """The largest float32 not above each value: `x <= value` and `x <= floor` agree for float32 x."""
    nearest = values.astype(np.float32)
    return np.where(nearest > values, np.nextafter(nearest, np.float32(-np.inf)), nearest).astype(np.float32)


class _Flat(NamedTuple):
    """A tree's inner nodes and leaves, numbered separately from 0."""

    feature: NDArray[np.int64]
    split: NDArray[np.float32]
    true_id: NDArray[np.int64]
    true_leaf: NDArray[np.bool_]
    false_id: NDArray[np.int64]
    false_leaf: NDArray[np.bool_]
    leaves: NDArray[np.float32]


def _flatten(tree: Tree, quantum: float) -> _Flat:
    leaf = tree.left < 0
    inner = np.flatnonzero(~leaf)
    leaves = rounded_leaves(tree.value[leaf], quantum)
    if not len(inner):  # the node type has no tree without a branch: both ways lead to the one leaf
        zero, both = np.zeros(1, np.int64), np.ones(1, np.bool_)
        return _Flat(zero, np.zeros(1, np.float32), zero, both, zero, both, leaves)
    place = np.where(leaf, np.cumsum(leaf), np.cumsum(~leaf)) - 1
    left, right = tree.left[inner], tree.right[inner]
    splits = floor_float32(tree.threshold[inner])
    return _Flat(tree.feature[inner], splits, place[left], leaf[left], place[right], leaf[right], leaves)


def _concatenate(flats: Sequence[_Flat]) -> dict[str, Any]:
    """The node's attributes; ids of nodes and leaves are positions in the whole tables."""
    nodes = np.cumsum([0, *(len(flat.feature) for flat in flats)])
    leaves = np.cumsum([0, *(len(flat.leaves) for flat in flats)])

    def shifted(ids: NDArray[np.int64], to_leaf: NDArray[np.bool_], tree: int) -> NDArray[np.int64]:
        base: NDArray[np.int64] = np.where(to_leaf, leaves[tree], nodes[tree])
        return ids + base

    true_ids = [shifted(flat.true_id, flat.true_leaf, tree) for tree, flat in enumerate(flats)]
    false_ids = [shifted(flat.false_id, flat.false_leaf, tree) for tree, flat in enumerate(flats)]
    weights = np.concatenate([flat.leaves for flat in flats])
    return {
        "tree_roots": nodes[:-1].tolist(),
        "nodes_featureids": np.concatenate([flat.feature for flat in flats]).tolist(),
        "nodes_splits": onnx.numpy_helper.from_array(np.concatenate([flat.split for flat in flats])),
        "nodes_modes": onnx.numpy_helper.from_array(np.full(nodes[-1], BRANCH_LEQ, np.uint8)),
        "nodes_truenodeids": np.concatenate(true_ids).tolist(),
        "nodes_trueleafs": np.concatenate([flat.true_leaf for flat in flats]).astype(int).tolist(),
        "nodes_falsenodeids": np.concatenate(false_ids).tolist(),
        "nodes_falseleafs": np.concatenate([flat.false_leaf for flat in flats]).astype(int).tolist(),
        "leaf_targetids": [0] * len(weights),
        "leaf_weights": onnx.numpy_helper.from_array(weights),
    }
