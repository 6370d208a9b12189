"""The catalogue is what models and stored alerts refer to: it is pinned."""

from ray_fraud.domain.features import FEATURE_COUNT, FEATURE_NAMES, FEATURES, FOLDED_COUNT
from ray_fraud.domain.fold import fold
from ray_fraud.domain.user_state import EMPTY_STATE
from tests.domain.samples import transaction


def test_names_and_order_are_pinned() -> None:
    assert FEATURE_NAMES == (
        "amount",
        "lat",
        "lon",
        "hour_of_day",
        "day_of_week",
        "user_tx_count_1h",
        "user_amount_sum_1h",
        "user_tx_count_24h",
        "user_amount_sum_24h",
        "user_tx_count_7d",
        "user_amount_sum_7d",
        "user_tx_count_30d",
        "user_amount_sum_30d",
        "amount_over_mean_30d",
        "seconds_since_previous",
        "km_from_previous",
        "kmh_from_previous",
        "user_high_decayed",
        "user_days_since_high",
        "merchant_transactions_30d",
        "merchant_frauds_7d",
        "merchant_frauds_30d",
        "merchant_risk",
        "merchant_fraud_run",
        "merchant_run_days",
        "merchant_days_since_fraud",
        "user_frauds_30d",
        "user_days_since_fraud",
        "profile_hour_share",
        "profile_amount_z",
        "profile_amount_over_max",
        "profile_km_from_home",
    )


def test_every_feature_has_a_unit_and_a_meaning() -> None:
    assert all(feature.unit and feature.meaning for feature in FEATURES)
    assert len(set(FEATURE_NAMES)) == FEATURE_COUNT == len(FEATURES)


def test_the_fold_gives_every_feature() -> None:
    step = fold(EMPTY_STATE, transaction(), 1, bytes(16), bytes(4), 0, 64)
    assert step is not None
    assert len(step.features) == FOLDED_COUNT
