"""A figure with the bounds that it lies within.

Never: an array: this is also read by commands that must not wait for NumPy.
"""

import math

import msgspec

Z_95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""


class Interval(msgspec.Struct, frozen=True):
    """A figure and the bounds it lies within, at the confidence that its maker names."""

    value: float
    low: float
    high: float


def wilson_interval(hits: int, trials: int, z: float = Z_95) -> Interval:
    """The share hits / trials with Wilson's score interval (1927), 95 % unless `z` says otherwise.

    No trial at all is the whole range from 0 to 1, with the value 0.

    Raises:
        ValueError: not 0 <= hits <= trials.
    """
    if not 0 <= hits <= trials:
        raise ValueError(f"hits: {hits} of {trials} trials, must be between 0 and the trials")
    return wilson(hits / trials, trials, z) if trials else Interval(0.0, 0.0, 1.0)


def wilson(share: float, trials: float, z: float) -> Interval:
    """Wilson's score interval of a share among `trials`, which need not be whole; at least one."""
    spread = z * z / trials
    middle = (share + spread / 2.0) / (1.0 + spread)
    half = z * math.sqrt(share * (1.0 - share) / trials + spread / (4.0 * trials)) / (1.0 + spread)
    # The formula gives exactly these bounds at the ends; rounding must not cut the value off.
    low = 0.0 if share == 0.0 else max(0.0, middle - half)
    high = 1.0 if share == 1.0 else min(1.0, middle + half)
    return Interval(share, low, high)
