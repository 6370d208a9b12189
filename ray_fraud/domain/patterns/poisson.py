"""How improbable a number of rows is where so many are usual: Poisson's distribution.

Never: an approximation where a judgement depends on it.
"""

import numpy as np
from scipy.special import ndtri, pdtrc

from ray_fraud.domain.patterns.finding import Bools, Floats, Ints

SLACK = 0.99
"""Of a bound, for what rounding may do to it."""


def poisson_tail(at_least: Ints | Floats, mean: Floats) -> Floats:
    """P(X >= at_least) of a Poisson variable, elementwise; 1 for at_least = 0."""
    counts = np.asarray(at_least, np.float64)
    tail: Floats = np.where(counts <= 0, 1.0, pdtrc(np.maximum(counts - 1.0, 0.0), mean))
    return tail


def surprising(at_least: Ints, mean: Floats, surprise: float) -> Bools:
    """Where P(X >= at_least) < surprise, elementwise, X a Poisson variable with that mean.

    Most rows are not asked for their probability, which is slow: it is above a half below the mean, and from
    there on at least that of a normal variable of the same mean and variance (H. Bohman, Two inequalities for
    Poisson distributions, Scandinavian Actuarial Journal 1963).
    """
    far = np.ones(len(mean), np.bool_)
    if surprise < 0.5:
        far = at_least >= mean - SLACK * float(ndtri(surprise)) * np.sqrt(mean)
    rows = np.flatnonzero(far)
    far[rows] = poisson_tail(at_least[rows], mean[rows]) < surprise
    return far


def surprising_count(mean: Floats, surprise: float, at_least: int, at_most: int = 100_000) -> Ints:
    """The smallest number, from `at_least` on, that is reached with a probability below `surprise`.

    Found by bisection, elementwise; `at_most` where none below it is.
    """
    low = np.full(len(mean), at_least, np.int64)
    high = np.full(len(mean), at_most, np.int64)
    while (low < high).any():
        middle = (low + high) // 2
        enough = poisson_tail(middle, mean) < surprise
        high = np.where(enough, middle, high)
        low = np.where(enough, low, np.minimum(middle + 1, high))
    return low
