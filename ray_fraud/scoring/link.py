"""From the trees' raw sum to the score.

Every step is one IEEE-754 basic operation per element (multiply, add, round, scale by a power of
two), each correctly rounded. The score of a row therefore cannot depend on its place in a batch, the
batch's size or the processor, which library transcendental functions do not promise.

Never: `np.exp2`, `np.power` or any other function that may round differently per SIMD lane.
"""

import math

import numpy as np
from numpy.typing import NDArray

from ray_fraud.domain.model import IdentityLink, IsolationLink, Link, LogisticLink

_LOG2_E = 1.0 / math.log(2.0)
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
        case LogisticLink():
            return 1.0 / (1.0 + exp2((raw.astype(np.float64) + link.base) * -_LOG2_E))


def calibrated(points: tuple[tuple[float, float], ...], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the table says for each score, on the straight line between two points; shape (n,).

    It keeps the order of scores; outside of the table the first and the last line go on, within 0 and 1.
    """
    if not points:
        return scores
    x, y = np.array(points).T
    slopes = np.diff(y) / np.diff(x)
    line = np.clip(np.searchsorted(x, scores, side="right") - 1, 0, len(slopes) - 1)
    values: NDArray[np.float64] = np.clip(y[line] + slopes[line] * (scores - x[line]), 0.0, 1.0)
    return values


def fraud_direction(link: Link) -> float:
    """1 if a higher raw sum is a higher score, -1 if a lower one is."""
    match link:
        case IsolationLink():
            return -1.0
        case IdentityLink() | LogisticLink():
            return 1.0


def exp2(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """2**x per element, relative error below 1e-13, the same bits wherever an element stands.

    2**x = 2**n · 2**f with n = round(x), |f| <= 1/2, and 2**f = Σ (f·ln 2)^k / k! by Horner's rule.
    """
    # Beyond it the result is 0 or larger than any that matters, and 2**n must stay finite.
    x = np.clip(x, -1_000.0, 1_000.0)
    n = np.rint(x)
    f = x - n
    power = np.full_like(f, _COEFFICIENTS[-1])
    for coefficient in _COEFFICIENTS[-2::-1]:
        power *= f
        power += coefficient
    return np.ldexp(power, n.astype(np.int32))
