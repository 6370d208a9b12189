"""From the trees' raw sum to the score.

Every step is one IEEE-754 basic operation per element (multiply, add, round, scale by a power of
two), each correctly rounded. The score of a row therefore cannot depend on its place in a batch, the
batch's size or the processor, which library transcendental functions do not promise.

Never: `np.exp2`, `np.power` or any other function that may round differently per SIMD lane.
"""

import math

import numpy as np
from numpy.typing import NDArray

from ray_fraud.domain.model import IdentityLink, IsolationLink, Link

TERMS = 12
"""Terms of the Taylor series; on |f| <= 1/2 the first one left out is below 7e-15."""

_COEFFICIENTS = tuple(math.log(2.0) ** k / math.factorial(k) for k in range(TERMS))


def apply_link(link: Link, raw: NDArray[np.float32]) -> NDArray[np.float64]:
    """Scores of the trees' raw sums, shape (n,) to shape (n,); higher is more anomalous."""
    match link:
        case IsolationLink():
            return exp2(raw.astype(np.float64) * (-1.0 / link.mean_path_length))
        case IdentityLink():
            return raw.astype(np.float64)


def fraud_direction(link: Link) -> float:
    """1 if a higher raw sum is a higher score, -1 if a lower one is."""
    match link:
        case IsolationLink():
            return -1.0
        case IdentityLink():
            return 1.0


def exp2(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """2**x per element, relative error below 1e-13, the same bits wherever an element stands.

    2**x = 2**n · 2**f with n = round(x), |f| <= 1/2, and 2**f = Σ (f·ln 2)^k / k! by Horner's rule.
    """
    n = np.rint(x)
    f = x - n
    power = np.full_like(f, _COEFFICIENTS[-1])
    for coefficient in _COEFFICIENTS[-2::-1]:
        power *= f
        power += coefficient
    return np.ldexp(power, n.astype(np.int32))
