"""Counting rows by a whole number: by a table of the range where that is small, else by sorting.

The table takes a twentieth of the time (of two million rows); ranges are small where codes count from 0.

Never: a table that is much larger than what is counted.
"""

import numpy as np

from ray_fraud.domain.patterns.finding import Ints

WIDEST = 16
"""Entries of a table for each row, at most."""


def distinct(values: Ints) -> int:
    """How many different values there are; `values` has shape (n,), in any order."""
    if not _narrow(values):
        return len(np.unique(values))
    low = values.min()
    there = np.zeros(int(values.max() - low) + 1, np.bool_)
    there[values - low] = True
    return int(np.count_nonzero(there))


def sizes(values: Ints) -> Ints:
    """How many rows have the value of each row, shape (n,)."""
    if not len(values):
        return np.empty(0, np.int64)
    numbers = values - values.min() if _narrow(values) else np.unique(values, return_inverse=True)[1]
    counts: Ints = np.bincount(numbers)[numbers]
    return counts


def _narrow(values: Ints) -> bool:
    return len(values) > 0 and int(values.max()) - int(values.min()) < WIDEST * len(values)
