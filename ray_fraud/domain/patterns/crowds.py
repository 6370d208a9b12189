"""Windows in which a group has more rows than fit its own rate.

What is usual is the group's own rate outside of the window in question, but at least the mean rate of all
groups: a window does not vouch for its own normality, and a short period says little about one group.

Never: a loop over rows.
"""

from typing import NamedTuple

import numpy as np

from ray_fraud.domain.patterns.counting import counted_by, numbered, sizes
from ray_fraud.domain.patterns.finding import Bools, Floats, Ints
from ray_fraud.domain.patterns.poisson import surprising
from ray_fraud.domain.patterns.runs import run_numbers, run_starts
from ray_fraud.domain.patterns.totals import Crowd

STEPS = (8, 4, 2, 1)
"""Slots of a window: with more of them the bound is closer and its table larger."""
TABLE = 4
"""Entries of the table for each row, at most: bounds its memory, and the time of a look at all of it."""


class Usual(NamedTuple):
    """What a window is compared with."""

    window_ms: int
    span_ms: int
    """Length of the period looked at."""
    everybody: Crowd
    """The rows of all groups, also of those that are not looked at."""

    def mean(self, sizes: Ints, within: Ints) -> Floats:
        """How many rows are usual in a window that has `within` of a group's `sizes` rows, shape (n,)."""
        window_ms, span_ms = self.window_ms, self.span_ms
        own = (sizes - within) * (window_ms / max(span_ms - window_ms, window_ms))
        least = self.everybody.rows / self.everybody.groups * (window_ms / max(span_ms, window_ms))
        mean: Floats = np.maximum(own, least)
        return mean


class Crowds(NamedTuple):
    """Rows of groups that are too crowded within one window."""

    covered: Bools
    """Shape (n,)."""
    mean: Floats
    """How many rows are usual in a window that ends with this row, shape (n,)."""


def crowds(group: Ints, at_ms: Ints, count: int, surprise: float, usual: Usual) -> Crowds:
    """Rows among at least `count` of their group within a window, where so many are improbable.

    Args:
        group: sorted, shape (n,); of each group all rows.
        at_ms: ascending within a group, shape (n,).
        count: rows, at least.
        surprise: Poisson probability of that many or more, at most.
        usual: the window, and what is usual in it.
    """
    size = len(at_ms)
    if not size:
        return Crowds(np.zeros(0, np.bool_), np.zeros(0))
    starts = run_starts(group)
    number = run_numbers(starts, size)
    first = np.maximum(starts[number], _first_since(number, at_ms, at_ms - usual.window_ms))
    within = np.arange(size) - first + 1
    mean = usual.mean(np.diff(starts, append=size)[number], within)
    ends = np.flatnonzero(within >= count)
    ends = ends[surprising(within[ends], mean[ends], surprise)]
    marks = np.zeros(size + 1, np.int64)
    np.add.at(marks, first[ends], 1)
    np.add.at(marks, ends + 1, -1)
    return Crowds(np.cumsum(marks[:-1]) > 0, mean)


def may_be_crowded(group: Ints, at_ms: Ints, count: int, surprise: float, usual: Usual) -> Bools:
    """Rows of the groups among which `crowds` may find some, shape (n,); the others need not be sorted.

    Rows are counted in slots that are a part of a window. If those of all slots that a window may touch would
    be no surprise together, none of what they hold is: the more rows a window has, the fewer there are
    outside to compare them with.

    Args:
        group: in any order, shape (n,).
        at_ms: in any order, shape (n,).
        count, surprise, usual: as of `crowds`.
    """
    found = np.zeros(len(group), np.bool_)
    # Most groups are too small, and without them the table is, too.
    many = np.flatnonzero(sizes(group) >= count)
    if not len(many):
        return found
    number, many_ms = numbered(group[many]), at_ms[many]
    steps = _steps(number, many_ms, usual.window_ms)
    if not steps:
        found[many] = True
        return found
    table = counted_by(number, _slots(many_ms, usual.window_ms, steps))
    whole = table.sum(axis=1)
    until = np.cumsum(table, axis=1)
    # A window lies within `steps + 1` slots, wherever it begins.
    until[:, steps + 1 :] -= until[:, : -steps - 1].copy()
    groups, last = np.nonzero(until >= count)
    crowd = until[groups, last]
    far = surprising(crowd, usual.mean(whole[groups], crowd), surprise)
    some = np.zeros(len(whole), np.bool_)
    some[groups[far]] = True
    found[many] = some[number]
    return found


def _steps(number: Ints, at_ms: Ints, window_ms: int) -> int:
    """Into how many slots a window can be divided; 0 if even whole windows would be too many."""
    most = TABLE * len(number) // (int(number.max()) + 1)
    span_ms = int(at_ms.max() - at_ms.min())
    return next((steps for steps in STEPS if span_ms * steps // window_ms + 2 <= most), 0)


def _slots(at_ms: Ints, window_ms: int, steps: int) -> Ints:
    """The number of the slot of each row, from 0; so many slots are as long as a window, or longer."""
    slot_ms = -(-window_ms // steps)
    return at_ms // slot_ms - int(at_ms.min()) // slot_ms


def _first_since(number: Ints, at_ms: Ints, since_ms: Ints) -> Ints:
    """The first row of the same group (numbered from 0, sorted) at or after `since_ms`, shape (n,)."""
    base = int(since_ms.min())
    width = int(at_ms.max()) - base + 1
    first: Ints = np.searchsorted(number * width + (at_ms - base), number * width + (since_ms - base), "left")
    return first
