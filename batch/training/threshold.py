"""The score above which a model alerts: what the team can review, and where F1 is best.

Never: rows that the model was trained on.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Threshold(NamedTuple):
    """The two candidates and the choice."""

    by_budget: float
    """At most so many alerts a day as can be reviewed."""
    by_f1: float
    """Where F1 is highest on these rows."""

    @property
    def value(self) -> float:
        """F1's, unless that gives more alerts than can be reviewed."""
        return max(self.by_budget, self.by_f1)


def choose_threshold(
    scores: NDArray[np.float64], fraud: NDArray[np.bool_], days: float, alerts_per_day: float
) -> Threshold:
    """From scores of unseen rows.

    Args:
        scores: shape (n,), n > 0.
        fraud: their labels, shape (n,).
        days: length of their period.
        alerts_per_day: the budget, above 0.

    Raises:
        ValueError: no rows, or a budget or period that is not positive.
    """
    if not len(scores) or days <= 0 or alerts_per_day <= 0:
        raise ValueError(
            f"{len(scores)} rows, days: {days}, alerts_per_day: {alerts_per_day}; all must be above 0"
        )
    return Threshold(_by_budget(scores, round(days * alerts_per_day)), _by_f1(scores, fraud))


def _by_budget(scores: NDArray[np.float64], alerts: int) -> float:
    """The lowest threshold with at most so many scores above it."""
    if alerts >= len(scores):
        return float(np.nextafter(scores.min(), -np.inf))
    # The score behind the last alert that the budget allows: with ties there are fewer alerts, not more.
    return float(np.partition(scores, len(scores) - 1 - alerts)[len(scores) - 1 - alerts])


def _by_f1(scores: NDArray[np.float64], fraud: NDArray[np.bool_]) -> float:
    """Between the last score that alerts at the best F1 and the next one below."""
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(fraud[order])
    alerts = np.arange(1, len(scores) + 1)
    f1 = 2.0 * hits / (alerts + max(1, int(fraud.sum())))
    last_of_score = np.append(ranked[1:] != ranked[:-1], True)
    best = int(np.argmax(np.where(last_of_score, f1, -1.0)))
    if best + 1 == len(ranked):
        return float(np.nextafter(ranked[best], -np.inf))
    return float((ranked[best] + ranked[best + 1]) / 2.0)
