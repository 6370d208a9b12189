"""Runs in sorted arrays: the few vectorised steps that all rules are made of.

Never: a loop over rows.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import ndtri, pdtrc

from ray_fraud.domain.patterns.finding import Bools, Floats, Ints
from ray_fraud.domain.patterns.totals import Crowd

SLACK = 0.99
"""Of a bound, for what rounding may do to it."""


def run_starts(*sorted_columns: Ints) -> Ints:
    """Where a new combination of values begins, shape (runs,); the columns are sorted together."""
    count = len(sorted_columns[0])
    if not count:
        return np.empty(0, np.int64)
    changes = np.zeros(count, np.bool_)
    changes[0] = True
    for column in sorted_columns:
        changes[1:] |= column[1:] != column[:-1]
    return np.flatnonzero(changes)


def run_numbers(starts: Ints, count: int) -> Ints:
    """The number of its run for each of `count` rows, shape (count,)."""
    marks = np.zeros(count, np.int64)
    marks[starts] = 1
    return np.cumsum(marks) - 1


def dense(group: Ints, at_ms: Ints, count: int, window_ms: int) -> Bools:
    """Rows that lie among at least `count` rows of their group within `window_ms`, shape (n,).

    `group` is sorted, `at_ms` ascending within a group.
    """
    size = len(at_ms)
    first = np.arange(size) - count + 1
    ends = first >= 0
    ends[ends] = (group[first[ends]] == group[ends]) & (at_ms[ends] - at_ms[first[ends]] <= window_ms)
    marks = np.zeros(size + 1, np.int64)
    np.add.at(marks, first[ends], 1)
    np.add.at(marks, np.flatnonzero(ends) + 1, -1)
    covered: Bools = np.cumsum(marks[:-1]) > 0
    return covered


class Crowds(NamedTuple):
    """Rows of groups that are too crowded within one window."""

    covered: Bools
    """Shape (n,)."""
    mean: Floats
    """How many rows are usual in a window that ends with this row, shape (n,)."""


def crowds(
    group: Ints, at_ms: Ints, window_ms: int, count: int, surprise: float, span_ms: int, everybody: Crowd
) -> Crowds:
    """Rows among at least `count` of their group within `window_ms`, where so many are improbable.

    What is usual is the group's own rate outside of the window in question, but at least the mean rate of all
    groups: a window does not vouch for its own normality, and a short period says little about one group.

    Args:
        group: sorted, shape (n,).
        at_ms: ascending within a group, shape (n,).
        count: rows, at least.
        surprise: Poisson probability of that many or more, at most.
        span_ms: length of the period looked at.
        everybody: the rows of all groups, also of those that are not among `group`.
    """
    size = len(at_ms)
    if not size:
        return Crowds(np.zeros(0, np.bool_), np.zeros(0))
    starts = run_starts(group)
    number = run_numbers(starts, size)
    first = np.maximum(starts[number], _first_since(number, at_ms, at_ms - window_ms))
    within = np.arange(size) - first + 1
    sizes = np.diff(starts, append=size)
    own = (sizes[number] - within) * (window_ms / max(span_ms - window_ms, window_ms))
    least = everybody.rows / everybody.groups * (window_ms / max(span_ms, window_ms))
    mean: Floats = np.maximum(own, least)
    ends = np.flatnonzero(within >= count)
    ends = ends[surprising(within[ends], mean[ends], surprise)]
    marks = np.zeros(size + 1, np.int64)
    np.add.at(marks, first[ends], 1)
    np.add.at(marks, ends + 1, -1)
    return Crowds(np.cumsum(marks[:-1]) > 0, mean)


def _first_since(number: Ints, at_ms: Ints, since_ms: Ints) -> Ints:
    """The first row of the same group (numbered from 0, sorted) at or after `since_ms`, shape (n,)."""
    base = int(since_ms.min())
    width = int(at_ms.max()) - base + 1
    first: Ints = np.searchsorted(number * width + (at_ms - base), number * width + (since_ms - base), "left")
    return first


def episodes(covered: Bools, group: Ints, at_ms: Ints, gap_ms: int) -> list[Ints]:
    """The covered rows in pieces: of one group, and no further than `gap_ms` from one to the next."""
    rows = np.flatnonzero(covered)
    if not len(rows):
        return []
    breaks = (group[rows[1:]] != group[rows[:-1]]) | (at_ms[rows[1:]] - at_ms[rows[:-1]] > gap_ms)
    return np.split(rows, np.flatnonzero(breaks) + 1)


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
