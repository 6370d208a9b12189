"""From scores to probabilities: a short ascending table.

Isotonic regression (Zadrozny & Elkan 2002) gives steps; straight lines through the middles of its steps keep
the order of scores, so calibration changes no ranking.

Never: rows that the model was trained on.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

MAX_POINTS = 32
SMALLEST_STEP = 1e-9
"""Between two probabilities, so that no two scores become one."""

Points = tuple[tuple[float, float], ...]


def calibration_points(scores: NDArray[np.float64], fraud: NDArray[np.bool_]) -> Points:
    """The table for a manifest; empty if the rows cannot tell (one class only, or one score only).

    Args:
        scores: of rows that the model has not seen, shape (n,).
        fraud: their labels, shape (n,).
    """
    if not len(scores) or fraud.all() or not fraud.any():
        return ()
    regression = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(scores, fraud)
    steps = regression.predict(scores)
    levels, level_of = np.unique(steps, return_inverse=True)
    middles = np.bincount(level_of, weights=scores) / np.bincount(level_of)
    if len(levels) < 2:
        return ()
    chosen = _spread(levels)
    x = np.concatenate(([min(scores.min(), middles[0] - SMALLEST_STEP)], middles[chosen]))
    y = np.concatenate(([levels[0] / 2.0], levels[chosen]))
    return _ascending(x, y)


def _spread(levels: NDArray[np.float64]) -> NDArray[np.int64]:
    """At most `MAX_POINTS` positions, the first and the last among them."""
    count = min(len(levels), MAX_POINTS)
    return np.unique(np.linspace(0, len(levels) - 1, count).round().astype(np.int64))


def _ascending(x: NDArray[np.float64], y: NDArray[np.float64]) -> Points:
    points: list[tuple[float, float]] = []
    for score, probability in zip(x.tolist(), y.tolist(), strict=True):
        if points:
            probability = max(probability, points[-1][1] + SMALLEST_STEP)
            if score <= points[-1][0]:
                continue
        points.append((score, probability))
    return tuple(points) if len(points) > 1 else ()
