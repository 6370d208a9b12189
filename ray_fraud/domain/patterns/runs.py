"""Runs in sorted arrays: the few vectorised steps that all rules are made of.

Never: a loop over rows.
"""

import numpy as np

from ray_fraud.domain.patterns.finding import Bools, Ints


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


def episodes(covered: Bools, group: Ints, at_ms: Ints, gap_ms: int) -> list[Ints]:
    """The covered rows in pieces: of one group, and no further than `gap_ms` from one to the next."""
    rows = np.flatnonzero(covered)
    if not len(rows):
        return []
    breaks = (group[rows[1:]] != group[rows[:-1]]) | (at_ms[rows[1:]] - at_ms[rows[:-1]] > gap_ms)
    return np.split(rows, np.flatnonzero(breaks) + 1)
