"""The parameters of the pattern rules, with units.

They belong to the cold path: changing one changes what the next batch finds, and nothing that was decided.

Never: a parameter without a unit; a meaning that only the code knows.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from ray_fraud.domain.alert import Severity

Positive = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=2)]
Probability = Annotated[float, Meta(gt=0, lt=1)]


class FrequencySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Too many transactions of a user in a window, against the user's own rate."""

    window_minutes: Positive = 10.0
    count: Count = 20
    """Transactions in the window, at least."""
    small_window_minutes: Positive = 5.0
    small_amount: Positive = 10.0
    """Base currency: an amount up to this is small."""
    small_count: Count = 10
    surprise: Probability = 1e-6
    """So improbable, at least, must the number be at the user's own rate outside of the window (Poisson)."""
    severity: Severity = Severity.MEDIUM
    small_severity: Severity = Severity.HIGH
    """Small amounts in a row are how stolen card numbers are tried out."""


class GeographicSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Unusually many different users in one place and window, against the place's own baseline."""

    window_minutes: Positive = 15.0
    users: Count = 10
    windows: Count = 4
    """Length of the period, at least: less says nothing about what is usual in a place."""
    surprise: Probability = 1e-6
    """At the place's own mean of users per window over the period (Poisson)."""
    severity: Severity = Severity.MEDIUM


class TemporalSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A user at hours that are improbable under the own history, and intervals that no person keeps."""

    history: Count = 30
    """Transactions of the user before, at least: less says nothing about habits."""
    history_days: Positive = 7.0
    """Without a profile of completed days: so far have a user's rows to reach back in the table."""
    hour_share: Probability = 0.02
    """An hour of the week part is unusual below this share of the user's own transactions."""
    unusual_count: Count = 3
    """Transactions at unusual hours within `unusual_hours`, at least."""
    unusual_hours: Positive = 2.0
    burst_seconds: Positive = 60.0
    burst_count: Count = 6
    burst_surprise: Probability = 1e-9
    """At the user's own rate outside of the window (Poisson)."""
    robot_count: Count = 10
    """Equal intervals in a row, at least."""
    robot_spread: Probability = 0.02
    """Largest minus smallest interval, as a share of their mean."""
    robot_seconds: Positive = 2.0
    """Shorter mean intervals are one checkout sent in pieces."""
    severity: Severity = Severity.LOW


class CoordinatedSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Different users joined by merchant, place or device, by similar amounts and by time."""

    window_minutes: Positive = 20.0
    users: Count = 8
    amount_spread: Probability = 0.1
    """Similar amounts differ by at most this share of the larger one."""
    surprise: Probability = 1e-9
    """At the rate of such amounts at the same merchant (cell, device) outside of the window (Poisson)."""
    earlier_days: Count = 35
    """Of the merchant (device) that are compared with: a month, and what calendars shift it by."""
    earlier_slack_minutes: Positive = 60.0
    """How much earlier or later in the day a crowd may come again."""
    growth: Annotated[float, Meta(ge=1)] = 2.0
    """A group of up to so many times the busiest of these days is no finding."""
    severity: Severity = Severity.CRITICAL


class PatternSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    frequency: FrequencySettings = FrequencySettings()
    geographic: GeographicSettings = GeographicSettings()
    temporal: TemporalSettings = TemporalSettings()
    coordinated: CoordinatedSettings = CoordinatedSettings()
