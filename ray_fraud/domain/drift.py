"""Drift: how far the values of today are distributed from those that a model was trained on.

The measure is the population stability index over bins of the training's own quantiles and a bin of
missing values. By custom below 0.1 nothing has changed, above 0.25 it is another population (Siddiqi 2006,
Credit Risk Scorecards). Without any change it is, for n rows and b bins, about (b - 1) / n (Yurdakul 2018): a
thousand rows give 0.01, a hundred 0.1, so that few rows prove nothing.

Never: a choice of the alarm's bound, reading rows.
"""

import math
from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

BINS = 10
"""At most, besides the one for missing values."""
LEAST_SHARE = 1e-4
"""What a bin with fewer counts as: a logarithm needs something. An empty bin that had a tenth adds 0.69."""
CALENDAR = frozenset({"day_of_week"})
"""Features of which a single day shows one or two values however little has changed: not compared."""

Values = NDArray[np.float32] | NDArray[np.float64]
Counts = NDArray[np.int64]


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The distribution of one feature, or of the score, in a model's training."""

    edges: tuple[float, ...]
    """Ascending. The bins are up to and with the first edge, from there up to and with the second, …, above
    the last one: one bin more than edges."""
    shares: tuple[float, ...]
    """Rows of each bin among all rows, missing ones included."""
    missing: float
    """Rows without a value among all rows."""

    def __post_init__(self) -> None:
        if len(self.shares) != len(self.edges) + 1:
            raise ValueError(f"shares: {len(self.shares)} of {len(self.edges)} edges, must be one more")
        if not all(math.isfinite(edge) for edge in self.edges):
            raise ValueError("edges: one is not finite")
        if not all(low < high for low, high in pairwise(self.edges)):
            raise ValueError(f"edges: {self.edges} do not ascend")
        everything = (*self.shares, self.missing)
        if not all(0 <= share <= 1 for share in everything) or abs(sum(everything) - 1) > 1e-6:
            raise ValueError(f"shares: with missing they add up to {sum(everything)}, must be 1")

    def counts(self, values: Values) -> Counts:
        """Rows per bin and, last, without a value (NaN), shape (n,) to (len(shares) + 1,).

        Counts of parts add up, so that no more than a part need be in memory.
        """
        absent = np.isnan(values)
        bins = np.searchsorted(np.array(self.edges), values[~absent].astype(np.float64), side="left")
        return np.append(np.bincount(bins, minlength=len(self.shares)), absent.sum()).astype(np.int64)


def reference_of(values: Values) -> Reference:
    """The reference of training values, shape (n,), NaN where missing.

    Edges are nine quantiles. Where several are one value, as in discrete features, that value is a bin of its
    own, so that a constant is told from anything below and above it.

    Raises:
        ValueError: there are no rows.
    """
    if not len(values):
        raise ValueError("values: no rows, a reference needs at least 1")
    present = values[~np.isnan(values)].astype(np.float64)
    edges = tuple(_edges(present)) if len(present) else ()
    draft = Reference(edges, (1.0, *([0.0] * len(edges))), 0.0)
    shares = (draft.counts(values) / len(values)).tolist()
    return Reference(edges, tuple(shares[:-1]), shares[-1])


def psi(reference: Reference, values: Values) -> float:
    """The population stability index of values, shape (n,), NaN where missing; see `psi_of_counts`."""
    return psi_of_counts(reference, reference.counts(values))


def psi_of_counts(reference: Reference, counts: Counts) -> float:
    """Σ (a - e) · ln(a / e) over the bins; a, e: the shares now and in training, at least `LEAST_SHARE`.

    Args:
        reference: of the training.
        counts: as `Reference.counts`, of any number of parts together.

    Returns:
        0 for equal shares, never negative.

    Raises:
        ValueError: there are no rows, or as many counts as the reference does not have.
    """
    expected = np.array([*reference.shares, reference.missing])
    if counts.shape != expected.shape:
        raise ValueError(f"counts: {len(counts)}, the reference has {len(expected)}")
    total = int(counts.sum())
    if not total:
        raise ValueError("counts: no rows, drift needs at least 1")
    now = np.maximum(counts / total, LEAST_SHARE)
    then = np.maximum(expected, LEAST_SHARE)
    return float(((now - then) * np.log(now / then)).sum())


def _edges(present: NDArray[np.float64]) -> list[float]:
    """Ascending and finite; of a value that is several quantiles the edge below it, too."""
    quantiles = np.quantile(present, np.arange(1, BINS) / BINS, method="inverted_cdf")
    values, times = np.unique(quantiles, return_counts=True)
    edges = {*values.tolist(), *np.nextafter(values[times > 1], -np.inf).tolist()}
    return sorted(edge for edge in edges if math.isfinite(edge))
