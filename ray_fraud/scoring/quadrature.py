"""Gauss-Legendre quadrature on [0, 1], with the same floats on every machine.

Never: a library's eigenvalues, whose last bits depend on how it was built.
"""

import math
from decimal import Decimal, localcontext
from functools import cache

import numpy as np
from numpy.typing import NDArray

DIGITS = 40
"""Far more than a float has, so that rounding to one is the only error."""
NEWTON_STEPS = 8
"""Each doubles the digits; the first guess has at least two."""


@cache
def gauss_legendre(count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points and weights, shape (count,) each: exact for polynomials up to degree 2·count - 1.

    The points are the roots of the Legendre polynomial P of that degree, the weights
    2 / ((1 - x²) P'(x)²) (Abramowitz & Stegun 25.4.29), both moved from [-1, 1] to [0, 1].
    """
    points, weights = [], []
    with localcontext() as context:
        context.prec = DIGITS
        for index in range(count, 0, -1):
            x = Decimal(math.cos(math.pi * (index - 0.25) / (count + 0.5)))
            for _ in range(NEWTON_STEPS):
                value, slope = _legendre(count, x)
                x -= value / slope
            _, slope = _legendre(count, x)
            points.append(float((1 + x) / 2))
            weights.append(float(1 / ((1 - x * x) * slope * slope)))
    return np.array(points), np.array(weights)


def _legendre(degree: int, x: Decimal) -> tuple[Decimal, Decimal]:
    """P(x) and P'(x), by the three-term recurrence."""
    before, value = Decimal(1), x
    for n in range(1, degree):
        before, value = value, ((2 * n + 1) * x * value - n * before) / (n + 1)
    return value, degree * (x * value - before) / (x * x - 1)
