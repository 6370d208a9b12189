"""The hot rules: what one transaction can break, and the sentence that says so with its numbers.

Never: thresholds in code; they come with the settings and the split that hold at the record's offset.
"""

import msgspec

from ray_fraud.domain.alert import RuleName, Severity
from ray_fraud.domain.settings import (
    DetectionSettings,
    GeoVelocitySettings,
    HighAmountSettings,
    MlAnomalySettings,
)
from ray_fraud.domain.split import Arm


class Neighbour(msgspec.Struct, frozen=True, gc=False):
    """The user's other transaction that a geo-velocity rule compares with."""

    position: str
    """`previous` or `next`, in event time."""
    event_ms: int
    amount: float
    lat: float
    lon: float
    km: float
    seconds: float
    """Time between the two, never negative; `kmh` counts it as at least one second."""
    kmh: float


class RuleHit(msgspec.Struct, frozen=True, gc=False):
    """One rule that one transaction broke."""

    rule: RuleName
    severity: Severity
    reason: str
    neighbour: Neighbour | None = None


def hits_without_model(
    amount: float, previous: Neighbour | None, following: Neighbour | None, settings: DetectionSettings
) -> tuple[RuleHit, ...]:
    """The broken rules that need no score, in the order of `RuleName`."""
    hits: tuple[RuleHit, ...] = ()
    if amount > settings.high_amount.limit:
        hits = (high_amount(amount, settings.high_amount),)
    limit_kmh = settings.geo_velocity.limit_kmh
    # Nearly no journey is too fast: look closer only if one is.
    if (previous is not None and previous.kmh > limit_kmh) or (
        following is not None and following.kmh > limit_kmh
    ):
        hit = geo_velocity(previous, following, settings.geo_velocity)
        if hit is not None:
            hits = (*hits, hit)
    return hits


def high_amount(amount: float, settings: HighAmountSettings) -> RuleHit:
    """The hit of an amount above the limit."""
    limit = settings.limit
    reason = f"amount {_above(amount, limit, decimals=2)} is above the limit of {limit:,.15g}"
    return RuleHit(RuleName.HIGH_AMOUNT, settings.severity, reason)


def geo_velocity(
    previous: Neighbour | None, following: Neighbour | None, settings: GeoVelocitySettings
) -> RuleHit | None:
    """A hit if the faster of the two journeys is above the limit; on a tie the previous one is compared.

    Journeys shorter than `min_distance_km` do not count.
    """
    fastest: Neighbour | None = None
    for neighbour in (previous, following):
        if neighbour is None or neighbour.km < settings.min_distance_km:
            continue
        if fastest is None or neighbour.kmh > fastest.kmh:
            fastest = neighbour
    if fastest is None or fastest.kmh <= settings.limit_kmh:
        return None
    kmh = _above(fastest.kmh, settings.limit_kmh, decimals=0)
    reason = (
        f"{fastest.km:,.0f} km in {_duration(fastest.seconds)} = {kmh} km/h, limit {settings.limit_kmh:,.15g}"
    )
    return RuleHit(RuleName.GEO_VELOCITY, settings.severity, reason, fastest)


def ml_anomaly(score: float, arm: Arm, settings: MlAnomalySettings) -> RuleHit:
    """The hit of a score above its arm's threshold."""
    shown = _above(score, arm.threshold, decimals=4)
    reason = f"score {shown} of {arm.label} is above its threshold {arm.threshold:.15g}"
    return RuleHit(RuleName.ML_ANOMALY, settings.severity, reason)


def _above(value: float, limit: float, *, decimals: int) -> str:
    """A rounded number that still reads as above the limit, with all its digits where rounding hides that."""
    if round(value, decimals) > limit:
        return f"{value:,.{decimals}f}"
    return f"{value:,}"


def _duration(seconds: float) -> str:
    """For people: 31 min, 2 h 05 min, 12 s, 0.4 s."""
    if seconds < 10:
        return f"{seconds:.3g} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02} min"
