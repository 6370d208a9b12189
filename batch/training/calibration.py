"""From scores to probabilities: a short ascending table.

Isotonic regression (Zadrozny & Elkan 2002) gives steps; straight lines through the middles of its steps, with
a slight slope everywhere, keep the order of scores and their differences, so calibration changes no ranking
and makes no tie.

Never: rows that the model was trained on.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from ray_fraud.scoring.link import calibrated

MAX_POINTS = 32
SLOPES = (1e-4, 1e-3, 1e-2, 1e-1)
"""How much of a probability is the score itself, tried in this order. Scores come from float32, so the first
one keeps them apart in float64 unless they crowd together far below the others."""
GREATEST = 1.001
"""Link scores end at 1, which a sum of float32 may pass by some millionths: only here a probability is 1."""

Floats = NDArray[np.float64]
Points = tuple[tuple[float, float], ...]


def calibration_points(scores: Floats, fraud: NDArray[np.bool_], weights: Floats | None = None) -> Points:
    """The table for a manifest: no two of these scores become one by it.

    Empty, so that scores stay as they are, if the rows cannot tell (one class only, or one score only) or no
    table keeps all of their scores apart.

    Args:
        scores: of rows that the model has not seen, shape (n,).
        fraud: their labels, shape (n,).
        weights: rows that each stands for, shape (n,); 1 each without it.
    """
    if not len(scores) or fraud.all() or not fraud.any():
        return ()
    counts = np.ones(len(scores)) if weights is None else weights
    x, shares = _middles(scores, fraud, counts)
    if len(x) < 2:
        return ()
    different = np.unique(scores)
    for slope in SLOPES:
        points = _ascending(x, (1.0 - slope) * shares + slope * x / GREATEST)
        if len(points) > 1 and (np.diff(calibrated(points, different)) > 0).all():
            return points
    return ()


def _middles(scores: Floats, fraud: NDArray[np.bool_], weights: Floats) -> tuple[Floats, Floats]:
    """Middles of the regression's steps and their shares of fraud, and the ends that scores can have."""
    regression = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
    steps = regression.fit(scores, fraud, sample_weight=weights).predict(scores)
    levels, level_of = np.unique(steps, return_inverse=True)
    middles = np.bincount(level_of, weights=weights * scores) / np.bincount(level_of, weights=weights)
    if len(levels) < 2:
        return np.empty(0), np.empty(0)
    chosen = _spread(levels)
    # Behind the last middle the share stays that of its step: a line that goes on reaches 1, and ties there.
    x = np.concatenate(([min(0.0, scores.min())], middles[chosen], [max(GREATEST, scores.max())]))
    shares = np.concatenate(([levels[0] / 2.0], levels[chosen], [levels[-1]]))
    return x, shares


def _spread(levels: Floats) -> NDArray[np.int64]:
    """At most `MAX_POINTS` positions, the first and the last among them."""
    count = min(len(levels), MAX_POINTS)
    return np.unique(np.linspace(0, len(levels) - 1, count).round().astype(np.int64))


def _ascending(x: Floats, y: Floats) -> Points:
    points: list[tuple[float, float]] = []
    for score, probability in zip(x.tolist(), y.tolist(), strict=True):
        if not points or (score > points[-1][0] and probability > points[-1][1]):
            points.append((score, probability))
    return tuple(points)
