"""Shapley values of a tree by their definition: every subset of features, no formula for trees.

Slow (2^features walks), and written without a look at the product's way.

Never: an import of the product.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import factorial


@dataclass(frozen=True)
class Leaf:
    value: float
    cover: float


@dataclass(frozen=True)
class Split:
    feature: int
    threshold: float
    low: "Node"
    """Where `feature <= threshold` leads."""
    high: "Node"

    @property
    def cover(self) -> float:
        return self.low.cover + self.high.cover


Node = Leaf | Split


def known_value(node: Node, row: Sequence[float], known: frozenset[int]) -> float:
    """The tree's mean if only these features of the row are known: others go both ways, by cover."""
    if isinstance(node, Leaf):
        return node.value
    if node.feature in known:
        return known_value(node.low if row[node.feature] <= node.threshold else node.high, row, known)
    low, high = (known_value(child, row, known) * child.cover for child in (node.low, node.high))
    return (low + high) / node.cover


def shapley(trees: Sequence[Node], row: Sequence[float]) -> list[float]:
    """Of each feature: its mean marginal value over all orders in which features may become known."""
    columns = range(len(row))
    worth = {
        frozenset(known): sum(known_value(tree, row, frozenset(known)) for tree in trees)
        for size in range(len(row) + 1)
        for known in combinations(columns, size)
    }
    values = []
    for feature in columns:
        total = 0.0
        for known in worth:
            if feature not in known:
                orders = factorial(len(known)) * factorial(len(row) - len(known) - 1)
                total += orders * (worth[known | {feature}] - worth[known])
        values.append(total / factorial(len(row)))
    return values
