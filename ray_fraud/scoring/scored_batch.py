"""The answer to one micro-batch, whoever scored it.

Never: a different meaning of the scores when degraded: they are equal.
"""

from dataclasses import dataclass

from ray_fraud.domain.scores import Scores


@dataclass(frozen=True, slots=True)
class ScoredBatch:
    """Scores and how they came about."""

    scores: Scores
    degraded: bool
    """Scored locally because the scorer did not answer in time; the scores are the same."""
    seconds: float
    """Time that the caller waited."""
    arm_seconds: tuple[float, ...] = ()
    """Of these, time that each arm's model took for its rows, wherever it ran; empty: not known."""
