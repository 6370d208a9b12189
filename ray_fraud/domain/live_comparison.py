"""How the versions of a scoring slot do at the moment, side by side.

What each one alerted and what analysts said of it comes from the alerts; how it scores comes from the
batches, which score every transaction by every version, shadows included: figures of the same rows.

Never: a comparison of precision without its interval; a query.
"""

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec

from ray_fraud.domain.intervals import Interval, wilson_interval

BINS = 20
"""Of a score histogram over [0, 1]."""
_LEAST_SHARE = 1e-4
"""What an empty bin counts as in the distance: a logarithm needs something."""


class Role(StrEnum):
    """What a live version does."""

    PRODUCTION = "production"
    TESTING = "testing"


class MatureAlerts(msgspec.Struct, frozen=True):
    """Those of a version's alerts whose transactions are older than the maturity.

    Younger ones say nothing: who is judged first is chosen. Of these each one has a label: fraud if somebody
    said so, else not.
    """

    alerts: int
    frauds: int
    false_alerts: int
    """That somebody called so."""

    @property
    def unjudged(self) -> int:
        """Without a verdict."""
        return self.alerts - self.frauds - self.false_alerts


class ModelAlerts(msgspec.Struct, frozen=True):
    """The alerts of one version and the verdicts that count."""

    model: str
    """`name:version`."""
    alerts: int
    frauds: int
    false_alerts: int
    mature: MatureAlerts = MatureAlerts(0, 0, 0)


class ModelScores(msgspec.Struct, frozen=True):
    """The scores of one version, of whatever rows a batch has scored by it."""

    model: str
    rows: int
    live_rows: int
    """Of them it decided in the hot path."""
    anomalies: int
    mean: float
    quantiles: dict[str, float]
    histogram: tuple[int, ...]
    """Rows by score, `BINS` equal bins over [0, 1]; what lies outside is in the first or last."""


class LiveVersion(msgspec.Struct, frozen=True):
    """A version to be compared."""

    model: str
    role: Role
    share_bp: int


class LiveFigures(msgspec.Struct, frozen=True):
    """One version's figures."""

    model: str
    role: Role
    share_bp: int
    alerts: int
    frauds: int
    false_alerts: int
    precision: Interval
    """Frauds among the mature alerts, with Wilson's 95 % interval; (0, 0, 1) before the first of them."""
    scores: ModelScores | None
    """None: no batch has scored by it yet."""
    distance: float | None
    """How far its scores are distributed from production's; None if one of them has none."""
    mature: MatureAlerts = MatureAlerts(0, 0, 0)
    """What the precision is of."""


def live_comparison(
    versions: Sequence[LiveVersion], alerts: Mapping[str, ModelAlerts], scores: Mapping[str, ModelScores]
) -> list[LiveFigures]:
    """The versions in the given order; alerts and scores by `name:version`."""
    production = next((each.model for each in versions if each.role is Role.PRODUCTION), "")
    reference = scores.get(production)
    figures = []
    for each in versions:
        made = alerts.get(each.model, ModelAlerts(each.model, 0, 0, 0))
        scored = scores.get(each.model)
        figures.append(
            LiveFigures(
                model=each.model,
                role=each.role,
                share_bp=each.share_bp,
                alerts=made.alerts,
                frauds=made.frauds,
                false_alerts=made.false_alerts,
                precision=wilson_interval(made.mature.frauds, made.mature.alerts),
                scores=scored,
                distance=_distance(scored, reference),
                mature=made.mature,
            )
        )
    return figures


def _distance(one: ModelScores | None, other: ModelScores | None) -> float | None:
    if one is None or other is None or not one.rows or not other.rows:
        return None
    return stability_index(one.histogram, other.histogram)


def stability_index(one: Sequence[int], other: Sequence[int]) -> float:
    """The population stability index of two histograms: Σ (p − q) · ln(p / q) over the bins.

    0 for equal distributions, symmetric; by custom above 0.25 is another distribution (Siddiqi 2006). Empty
    bins count as 1 in 10,000.

    Raises:
        ValueError: histograms of different length, or one without rows.
    """
    if len(one) != len(other):
        raise ValueError(f"histograms: {len(one)} and {len(other)} bins, must be as many")
    totals = sum(one), sum(other)
    if not all(totals):
        raise ValueError(f"histograms: {totals[0]} and {totals[1]} rows, must be at least 1 each")
    shares = (
        (max(mine / totals[0], _LEAST_SHARE), max(theirs / totals[1], _LEAST_SHARE))
        for mine, theirs in zip(one, other, strict=True)
    )
    return sum((p - q) * math.log(p / q) for p, q in shares)
