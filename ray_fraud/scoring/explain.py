"""Exact path-dependent TreeSHAP: how much each feature moved the trees' raw sum of one row.

The contributions are the Shapley values of the game whose value for a set S of known features is the tree's
mean over the training rows that it sends on by cover where a split asks an unknown feature (Lundberg et al.
2020, "From local explanations to global understanding with explainable AI for trees", algorithm 2). A leaf
of value v whose path asks d different features, with z the cover ratio of a feature's splits together and
o = 1 if the row passes them all, else 0, gives feature j

    v (o_j - z_j) · ∫₀¹ Π_{k != j} (o_k t + z_k (1 - t)) dt,

because the Shapley weight |S|! (d - |S| - 1)! / d! is ∫ t^|S| (1 - t)^(d - |S| - 1) dt. The integrand is a
polynomial of degree d - 1, so Gauss-Legendre quadrature with ceil(d / 2) points is exact. As in "Linear
TreeShap" (Yu et al. 2022) the products are kept per edge and the sums per subtree: going down, each edge
replaces the factor of its feature's previous edge; going up, leaves are added. Every factor is above 0.

All that does not depend on the row is computed when the model is loaded. A row is then the same few IEEE
operations per element, in one order, whatever other rows there are.

Never: permutations, sampling, a background data set; two rows in one array operation.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ray_fraud.scoring.quadrature import gauss_legendre
from ray_fraud.scoring.tree_table import TreeTable, is_leaf

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FAILED_BEFORE, FAILS_HERE, PASSES = range(3)
"""States of an edge: the row failed an earlier split of its feature, fails here first, passes so far."""


class _Level(NamedTuple):
    """Edges of one depth of all trees, two siblings side by side."""

    start: int
    end: int
    parents: Ints
    """Of each pair: the place of the edge to its parent within the level above; at the top, the tree's."""


class _Edges(NamedTuple):
    """The edge to every node that is not a root, level by level; arrays of shape (edges,)."""

    node: Ints
    feature: Ints
    low: NDArray[np.float32]
    """The row passes this feature's splits down to here if not x <= low and x <= high; NaN: no such split."""
    high: NDArray[np.float32]
    ratio: Floats
    """z: product of the cover ratios of those splits."""
    previous: Ints
    """The last edge above with the same feature, or -1."""
    distinct: Ints
    """Number of different features down to here."""
    reach: Floats
    """Share of the tree's cover that comes to the node."""


class Explainer:
    """One forest, ready to explain rows; safe from several threads."""

    def __init__(self, table: TreeTable) -> None:
        self.columns = table.columns
        edges, self._levels = _edges(table)
        self._feature, self._low, self._high = edges.feature, edges.low, edges.high
        self._previous = edges.previous
        self._place = np.arange(len(edges.node))
        points, weights = gauss_legendre((int(edges.distinct.max(initial=1)) + 1) // 2)
        self._points = len(points)
        self._down, self._up = _factors(edges, points, weights)
        leaf = is_leaf(table)
        value = np.where(leaf, table.value, np.float32(0)).astype(np.float64)
        self._value = value[edges.node][:, None]
        stumps = value[_roots(table)].sum()
        self.base = float(stumps + (value[edges.node] * edges.reach).sum())

    @property
    def nbytes(self) -> int:
        """Bytes that the precomputed factors take."""
        return self._down.nbytes + self._up.nbytes

    def contributions(self, row: NDArray[np.float32]) -> Floats:
        """What each input moved the raw sum away from `base`, shape (columns,) to shape (columns,).

        `base` + their sum = the raw sum of the row, within rounding. The row has no NaN.
        """
        if row.shape != (self.columns,):
            raise ValueError(f"row: shape {row.shape}, must be ({self.columns},)")
        if not len(self._feature):
            return np.zeros(self.columns)
        x = row.take(self._feature)
        passes = ~(x <= self._low) & (x <= self._high)
        passed_before = np.append(passes, True).take(self._previous)  # -1: no split of the feature before
        state = passed_before.astype(np.int64) + passes
        state *= len(passes)
        state += self._place
        sums = self._subtree_sums(self._down.take(state, axis=0))
        alive = np.flatnonzero(passed_before)  # the others contribute 0
        moved = self._up.take(state.take(alive), axis=0)
        moved *= sums.take(alive, axis=0)
        pushes = moved[:, 0].copy()
        for point in range(1, self._points):  # one after the other: the same order on every machine
            pushes += moved[:, point]
        total = np.zeros(self.columns)
        total += np.bincount(self._feature.take(alive), weights=pushes, minlength=self.columns)
        return total

    def _subtree_sums(self, products: Floats) -> Floats:
        """Σ v Π f over the leaves below each edge, shape (edges, points), in place of the edges' factors."""
        above: Floats | None = None
        for level in self._levels:
            pairs = products[level.start : level.end].reshape(-1, 2, self._points)
            if above is not None:
                pairs *= above.take(level.parents, axis=0)[:, None, :]
            above = pairs.reshape(-1, self._points)
        products *= self._value
        for level, upper in zip(self._levels[:0:-1], self._levels[-2::-1], strict=True):
            pairs = products[level.start : level.end].reshape(-1, 2, self._points)
            above = products[upper.start : upper.end]
            above[level.parents] = pairs[:, 0] + pairs[:, 1]
        return products


def _roots(table: TreeTable) -> NDArray[np.bool_]:
    root = np.ones(len(table.left), np.bool_)
    inner = ~is_leaf(table)
    root[table.left[inner]] = False
    root[table.right[inner]] = False
    return root


def _edges(table: TreeTable) -> tuple[_Edges, list[_Level]]:
    """All edges with what the edges above say about their feature, and where each level lies."""
    inner = ~is_leaf(table)
    nodes = np.flatnonzero(_roots(table))
    count = len(table.left) - len(nodes)
    edges = _Edges(
        node=np.zeros(count, np.int64),
        feature=np.zeros(count, np.int64),
        low=np.zeros(count, np.float32),
        high=np.zeros(count, np.float32),
        ratio=np.zeros(count),
        previous=np.zeros(count, np.int64),
        distinct=np.zeros(count, np.int64),
        reach=np.zeros(count),
    )
    levels: list[_Level] = []
    # last[i, f]: the last edge with feature f on the way to node i of the level, or -1.
    last = np.full((len(nodes), table.columns), -1, np.int64)
    reach, distinct, start = np.ones(len(nodes)), np.zeros(len(nodes), np.int64), 0
    while len(parents := np.flatnonzero(inner[nodes])):
        twice = np.repeat(parents, 2)
        here = slice(start, start + len(twice))
        _fill(edges, here, table, nodes[parents], last[parents])
        edges.reach[here] = reach[twice] * _cover_ratio(table, nodes[parents])
        edges.distinct[here] = distinct[twice] + (edges.previous[here] < 0)
        levels.append(_Level(start, here.stop, parents))
        last = last[twice]
        last[np.arange(len(twice)), edges.feature[here]] = np.arange(start, here.stop)
        nodes, reach, distinct, start = edges.node[here], edges.reach[here], edges.distinct[here], here.stop
    return edges, levels


def _fill(edges: _Edges, here: slice, table: TreeTable, parents: Ints, last: Ints) -> None:
    """The two edges of each parent; `last` is of the parents."""
    feature = table.feature[parents].astype(np.int64)
    previous = np.repeat(last[np.arange(len(parents)), feature], 2)
    is_left = np.tile([True, False], len(parents))
    known = previous >= 0
    threshold = np.repeat(table.threshold[parents], 2)
    low = np.where(known, edges.low[previous], np.float32(np.nan))
    high = np.where(known, edges.high[previous], np.float32(np.inf))
    edges.node[here] = np.column_stack([table.left[parents], table.right[parents]]).reshape(-1)
    edges.feature[here] = np.repeat(feature, 2)
    edges.previous[here] = previous
    edges.low[here] = np.where(is_left, low, np.fmax(low, threshold))
    edges.high[here] = np.where(is_left, np.minimum(high, threshold), high)
    edges.ratio[here] = np.where(known, edges.ratio[previous], 1.0) * _cover_ratio(table, parents)


def _cover_ratio(table: TreeTable, parents: Ints) -> Floats:
    """Share of each parent's cover that goes left, then right; shape (2 · parents,)."""
    children = np.column_stack([table.cover[table.left[parents]], table.cover[table.right[parents]]])
    ratio: Floats = (children / table.cover[parents][:, None]).reshape(-1)
    return ratio


def _factors(edges: _Edges, points: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """By state and edge, at each point; shape (3 · edges, points) each.

    Down: f / f' of the edge and the previous one of its feature, f = o t + z (1 - t). Up: the weighted
    (o - z) / f - (o' - z') / f'. Without a previous edge z' = o' = 1, which makes f' = 1 and its term 0.
    """
    count, shape = len(edges.node), (3, len(edges.node), len(points))
    t, z = points[None, :], edges.ratio[:, None]
    earlier = np.append(edges.ratio, 1.0)[edges.previous][:, None] if count else z
    passes, passed = t + z * (1 - t), t + earlier * (1 - t)
    before = (1 - earlier) / passed
    down, up = np.empty(shape), np.zeros(shape)
    down[FAILED_BEFORE] = z / earlier
    down[FAILS_HERE] = z * (1 - t) / passed
    down[PASSES] = passes / passed
    up[FAILS_HERE] = weights * (-1 / (1 - t) - before)
    up[PASSES] = weights * ((1 - z) / passes - before)
    return down.reshape(-1, len(points)), up.reshape(-1, len(points))
