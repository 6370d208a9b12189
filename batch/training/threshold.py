"""The score above which a model alerts: what the team can review, and where F1 is best.

Never: rows that the model was trained on; a threshold that no score passes.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Threshold(NamedTuple):
    """The two candidates and the choice."""

    by_budget: float
    """As near to the alerts a day that can be reviewed as ties of scores allow, and never none."""
    by_f1: float
    """Where F1 is highest on these rows."""

    @property
    def value(self) -> float:
        """F1's, unless that gives more alerts than can be reviewed."""
        return max(self.by_budget, self.by_f1)


class _Cuts(NamedTuple):
    """Where a threshold may lie: one entry per distinct score, the highest first."""

    scores: Floats
    alerts: Floats
    """Rows with this score or a higher one, weighted."""
    hits: Floats
    """Frauds among them."""

    def below(self, cut: int) -> float:
        """A threshold that scores down to this one pass and the next one does not."""
        score = float(self.scores[cut])
        if cut + 1 == len(self.scores):
            return float(np.nextafter(score, -np.inf))
        following = float(self.scores[cut + 1])
        middle = following + (score - following) / 2.0
        # The middle of two neighbouring floats is one of them.
        return middle if following <= middle < score else following


def choose_threshold(
    scores: Floats,
    fraud: NDArray[np.bool_],
    days: float,
    alerts_per_day: float,
    weights: Floats | None = None,
) -> Threshold:
    """From scores of unseen rows.

    Args:
        scores: shape (n,), n > 0.
        fraud: their labels, shape (n,).
        days: length of their period.
        alerts_per_day: the budget, above 0.
        weights: rows that each stands for, shape (n,), above 0; 1 each without it.

    Raises:
        ValueError: no rows, or a budget or period that is not positive.
    """
    if not len(scores) or days <= 0 or alerts_per_day <= 0:
        raise ValueError(
            f"{len(scores)} rows, days: {days}, alerts_per_day: {alerts_per_day}; all must be above 0"
        )
    cuts = _cuts(scores, fraud, np.ones(len(scores)) if weights is None else weights)
    return Threshold(_by_budget(cuts, days * alerts_per_day), _by_f1(cuts))


def threshold_for_share(scores: Floats, share: float) -> float:
    """Passed by a share of the scores, shape (n,), n > 0, as nearly as ties allow, and never by none."""
    cuts = _cuts(scores, np.zeros(len(scores), np.bool_), np.ones(len(scores)))
    return _by_budget(cuts, share * len(scores))


def _cuts(scores: Floats, fraud: NDArray[np.bool_], weights: Floats) -> _Cuts:
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.append(ranked[1:] != ranked[:-1], True)
    alerts, hits = np.cumsum(weights[order]), np.cumsum((weights * fraud)[order])
    return _Cuts(ranked[last], alerts[last], hits[last])


def _by_budget(cuts: _Cuts, budget: float) -> float:
    """The cut whose alerts are nearest to the budget; of two the one with fewer.

    Just above the next score, so that as few rows as possible lie on the wrong side elsewhere.
    """
    cut = int(np.argmin(np.abs(cuts.alerts - budget)))
    if cut + 1 == len(cuts.scores):
        return cuts.below(cut)
    return float(cuts.scores[cut + 1])


def _by_f1(cuts: _Cuts) -> float:
    """Between the last score that alerts at the best F1 and the next one below."""
    f1 = 2.0 * cuts.hits / (cuts.alerts + max(1.0, float(cuts.hits[-1])))
    return cuts.below(int(np.argmax(f1)))
