"""Why a model found a transaction unusual: the features that pushed its score most, in words.

The sentences of all features stand here, and nowhere else. They are about the transaction as it was; what a
model fills in for a missing value is the model's business.

Never: computing contributions (see `ray_fraud.scoring.explain`), a clock, a locale.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ray_fraud.domain.features import FEATURE_NAMES
from ray_fraud.domain.split import Split

Explain = Callable[[Split, int, NDArray[np.float32]], NDArray[np.float64] | None]
"""(split, arm, features of one row (len(FEATURES),)) to the pushes of the arm's model; None: it has none.

A push is what a feature moved the model's raw sum, positive towards fraud; shape (len(FEATURES),)."""

FEWEST = 3
MOST = 5
TOLD_SHARE = 0.9
"""No more than three are told once they make up this share of all pushes, taken without their signs."""
DIGITS = 6
"""Significant digits of a contribution: more would only show how the sum was rounded."""

Values = Mapping[str, float]
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def explanation(pushes: NDArray[np.float64], features: NDArray[np.float32]) -> list[dict[str, Any]]:
    """Three to five features with the largest pushes, the largest first; fewer if no more pushed at all.

    Args:
        pushes: shape (len(FEATURES),), positive towards fraud.
        features: the same row, shape (len(FEATURES),), NaN where missing.

    Returns:
        Of each: `feature`, `value` (None if missing), `contribution` (signed) and `sentence`.
    """
    values = {name: float(str(value)) for name, value in zip(FEATURE_NAMES, features, strict=True)}
    return [
        {
            "feature": FEATURE_NAMES[index],
            "value": None if math.isnan(values[FEATURE_NAMES[index]]) else values[FEATURE_NAMES[index]],
            "contribution": float(f"{pushes[index]:.{DIGITS}g}"),
            "sentence": sentence(FEATURE_NAMES[index], values),
        }
        for index in _largest(pushes)
    ]


def _largest(pushes: NDArray[np.float64]) -> list[int]:
    """Indexes by size; equal ones in the order of the catalogue."""
    sizes = np.abs(pushes).tolist()
    order = sorted((index for index, size in enumerate(sizes) if size), key=lambda index: -sizes[index])
    enough = TOLD_SHARE * math.fsum(sizes)
    for count in range(FEWEST, MOST):
        if math.fsum(sizes[index] for index in order[:count]) >= enough:
            return order[:count]
    return order[:MOST]


def sentence(feature: str, values: Values) -> str:
    """What a feature says of a transaction whose features are `values`, by name, NaN where missing."""
    known, missing = _SENTENCES[feature]
    return missing if math.isnan(values[feature]) else known(values)


def _number(value: float) -> str:
    """Four significant digits below a thousand, whole above: 0.0123, 14, 131.5, 1,840."""
    if abs(value) >= 1_000:
        return f"{value:,.0f}"
    return f"{float(f'{value:.4g}'):.15g}"


def _counted(value: float, what: str) -> str:
    return f"{value:,.0f} {what}{'' if value == 1 else 's'}"


def _times(value: float) -> str:
    return f"{value:,.1f}×" if value >= 0.1 else f"{value:.2g}×"


def _duration(seconds: float) -> str:
    """For people: 12 s, 31 min, 5.0 h, 3.2 days."""
    if seconds < 120:
        return f"{_number(seconds)} s"
    if seconds < 7_200:
        return f"{seconds / 60:.0f} min"
    if seconds < 172_800:
        return f"{seconds / 3_600:.1f} h"
    return f"{seconds / 86_400:,.1f} days"


def _over_mean(values: Values) -> str:
    amount, ratio = values["amount"], values["amount_over_mean_30d"]
    if not (ratio > 0 and amount > 0):
        return f"amount {_number(amount)} is {_times(ratio)} this user's mean"
    return f"amount {_number(amount)} is {_times(ratio)} this user's mean of {_number(amount / ratio)}"


def _over_max(values: Values) -> str:
    amount, ratio = values["amount"], values["profile_amount_over_max"]
    if not (ratio > 0 and amount > 0):
        return f"amount {_number(amount)} is {_times(ratio)} this user's largest"
    return f"amount {_number(amount)} is {_times(ratio)} this user's largest of {_number(amount / ratio)}"


def _deviations(values: Values) -> str:
    z = values["profile_amount_z"]
    side = "above" if z >= 0 else "below"
    return f"amount {_number(values['amount'])} is {abs(z):,.1f} deviations {side} this user's mean"


def _many(feature: str, window: str) -> Callable[[Values], str]:
    return lambda values: f"{_counted(values[feature], 'transaction')} of this user in {window}"


def _spent(feature: str, window: str) -> Callable[[Values], str]:
    return lambda values: f"{_number(values[feature])} spent by this user in {window}"


def _known(feature: str, whom: str) -> Callable[[Values], str]:
    return lambda values: f"{_counted(values[feature], 'known fraud')} of {whom}"


def _highs(values: Values) -> str:
    decayed = values["user_high_decayed"]
    if not decayed:
        return "this user never paid far above the mean before"
    return f"this user paid far above the mean {_number(decayed)} times before, halved every 10 days"


def _since_high(values: Values) -> str:
    days = values["user_days_since_high"]
    side = "since" if days >= 0 else "before"  # a record may come late
    return f"{_duration(86_400 * abs(days))} {side} this user last paid far above the mean"


_NO_MERCHANT = "transaction without a merchant"
_NO_PLACE = "transaction without a place"
_NO_PROFILE = "no profile of this user yet"
_NOT_TOLD = "not known"

_SENTENCES: Mapping[str, tuple[Callable[[Values], str], str]] = {
    "amount": (lambda v: f"amount {_number(v['amount'])}", _NOT_TOLD),
    "lat": (lambda v: f"latitude {v['lat']:.2f}°", _NO_PLACE),
    "lon": (lambda v: f"longitude {v['lon']:.2f}°", _NO_PLACE),
    "hour_of_day": (
        lambda v: f"between {v['hour_of_day']:02.0f}:00 and {v['hour_of_day']:02.0f}:59 UTC",
        _NOT_TOLD,
    ),
    "day_of_week": (lambda v: f"on a {_DAYS[int(v['day_of_week']) % 7]} (UTC)", _NOT_TOLD),
    "user_tx_count_1h": (_many("user_tx_count_1h", "the last hour"), _NOT_TOLD),
    "user_amount_sum_1h": (_spent("user_amount_sum_1h", "the last hour"), _NOT_TOLD),
    "user_tx_count_24h": (_many("user_tx_count_24h", "24 hours"), _NOT_TOLD),
    "user_amount_sum_24h": (_spent("user_amount_sum_24h", "24 hours"), _NOT_TOLD),
    "user_tx_count_7d": (_many("user_tx_count_7d", "7 days"), _NOT_TOLD),
    "user_amount_sum_7d": (_spent("user_amount_sum_7d", "7 days"), _NOT_TOLD),
    "user_tx_count_30d": (_many("user_tx_count_30d", "30 days"), _NOT_TOLD),
    "user_amount_sum_30d": (_spent("user_amount_sum_30d", "30 days"), _NOT_TOLD),
    "amount_over_mean_30d": (_over_mean, "no other transaction of this user in 30 days"),
    "seconds_since_previous": (
        lambda v: f"{_duration(v['seconds_since_previous'])} after this user's previous transaction",
        "no previous transaction",
    ),
    "km_from_previous": (
        lambda v: f"{_number(v['km_from_previous'])} km from the previous place",
        "no previous place",
    ),
    "kmh_from_previous": (
        lambda v: f"{_number(v['kmh_from_previous'])} km/h from the previous place",
        "no previous place",
    ),
    "user_high_decayed": (_highs, _NOT_TOLD),
    "user_days_since_high": (_since_high, "this user never paid far above the mean before"),
    "merchant_transactions_30d": (
        lambda v: f"{_counted(v['merchant_transactions_30d'], 'transaction')} of this merchant in a month",
        _NO_MERCHANT,
    ),
    "merchant_frauds_7d": (_known("merchant_frauds_7d", "this merchant in a week"), _NO_MERCHANT),
    "merchant_frauds_30d": (_known("merchant_frauds_30d", "this merchant in a month"), _NO_MERCHANT),
    "merchant_risk": (
        lambda v: f"{_number(100 * v['merchant_risk'])} % of this merchant's transactions were fraud",
        "no known fraud at this merchant",
    ),
    "merchant_fraud_run": (
        lambda v: f"the last {_counted(v['merchant_fraud_run'], 'judged transaction')} here were fraud",
        _NO_MERCHANT,
    ),
    "merchant_run_days": (
        lambda v: f"this merchant's frauds began {_number(v['merchant_run_days'])} days before",
        "this merchant's last judged transaction was no fraud",
    ),
    "merchant_days_since_fraud": (
        lambda v: f"{_number(v['merchant_days_since_fraud'])} days since the last known fraud here",
        "no known fraud at this merchant",
    ),
    "user_frauds_30d": (_known("user_frauds_30d", "this user in a month"), _NOT_TOLD),
    "user_days_since_fraud": (
        lambda v: f"{_number(v['user_days_since_fraud'])} days since this user's last known fraud",
        "no known fraud of this user",
    ),
    "profile_hour_share": (
        lambda v: f"{_number(100 * v['profile_hour_share'])} % of this user's transactions at such an hour",
        _NO_PROFILE,
    ),
    "profile_amount_z": (_deviations, _NO_PROFILE),
    "profile_amount_over_max": (_over_max, _NO_PROFILE),
    "profile_km_from_home": (
        lambda v: f"{_number(v['profile_km_from_home'])} km from where this user usually is",
        "no place, or no usual place of this user",
    ),
}
"""By feature of the catalogue: the sentence with its numbers, and the one for a missing value."""
