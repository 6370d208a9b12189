"""The catalogue of features: the only definition of what a model sees.

The hot path computes them in this order for every scored row; `docs/semantics.md` says how. The first ones
come from the fold of the user's own transactions, the others are looked up in tables that batches refresh.

Never: reordering or changing a feature without a new fold version: models refer to them by name and
replays must give the same numbers.
"""

import math

import msgspec

MISSING = math.nan
"""A feature without a value; a model's manifest says what it fills in."""


class Feature(msgspec.Struct, frozen=True):
    name: str
    unit: str
    meaning: str
    never: bool = False
    """A time since something; missing says that it never was, so it stands above all values, not below."""


FOLDED: tuple[Feature, ...] = (
    Feature("amount", "base currency", "amount of the transaction"),
    Feature("lat", "degree", "latitude as decoded; missing without a place"),
    Feature("lon", "degree", "longitude as decoded; missing without a place"),
    Feature("hour_of_day", "hour", "UTC hour of the event time, 0–23"),
    Feature("day_of_week", "day", "UTC day of the event time, Monday 0 … Sunday 6"),
    Feature("user_tx_count_1h", "transactions", "transactions of the last hour, this one included"),
    Feature("user_amount_sum_1h", "base currency", "sum of their amounts"),
    Feature("user_tx_count_24h", "transactions", "transactions of the last 24 hours, likewise"),
    Feature("user_amount_sum_24h", "base currency", "sum of their amounts"),
    Feature("user_tx_count_7d", "transactions", "transactions of the last 7 UTC days, today included"),
    Feature("user_amount_sum_7d", "base currency", "sum of their amounts"),
    Feature("user_tx_count_30d", "transactions", "transactions of the last 30 UTC days, today included"),
    Feature("user_amount_sum_30d", "base currency", "sum of their amounts"),
    Feature("amount_over_mean_30d", "ratio", "amount over the mean of the other transactions of 30 days"),
    Feature("seconds_since_previous", "s", "time since the user's previous transaction", never=True),
    Feature("km_from_previous", "km", "distance from the nearest earlier transaction with a place"),
    Feature("kmh_from_previous", "km/h", "speed needed to come from there"),
    Feature("user_high_decayed", "transactions", "earlier ones far above the user's mean, halved by 10 days"),
    Feature("user_days_since_high", "day", "since the newest of them; missing without one", never=True),
)
"""Of the transaction and the state of its user."""

LOOKED_UP: tuple[Feature, ...] = (
    Feature("merchant_transactions_30d", "transactions", "of the merchant, of 30 days with mature labels"),
    Feature("merchant_frauds_7d", "transactions", "known as fraud, since 7 days before labels are mature"),
    Feature("merchant_frauds_30d", "transactions", "known as fraud, since 30 days before that"),
    Feature("merchant_risk", "share", "of frauds among the merchant's 30 days, smoothed"),
    Feature("merchant_fraud_run", "transactions", "the merchant's newest labelled ones that are all fraud"),
    Feature("merchant_run_days", "day", "since the first of that run; missing without one", never=True),
    Feature(
        "merchant_days_since_fraud",
        "day",
        "since the merchant's last known fraud; missing without",
        never=True,
    ),
    Feature("user_frauds_30d", "transactions", "of the user known as fraud, windows as the merchant's"),
    Feature(
        "user_days_since_fraud", "day", "since the user's last known fraud; missing without one", never=True
    ),
    Feature("profile_hour_share", "share", "of the user's profile within an hour of this time of day"),
    Feature("profile_amount_z", "deviations", "amount against mean and deviation of the user's profile"),
    Feature("profile_amount_over_max", "ratio", "amount over the largest amount of the user's profile"),
    Feature("profile_km_from_home", "km", "distance from where the user usually is"),
)
"""Of the transaction and the feature tables that hold at its offset (`ray_fraud.domain.feature_tables`)."""

FEATURES: tuple[Feature, ...] = FOLDED + LOOKED_UP
FOLDED_COUNT: int = len(FOLDED)

FEATURE_NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)
FEATURE_COUNT: int = len(FEATURES)
