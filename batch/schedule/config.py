"""What the batch actor is told.

Never: a secret (connections name files).
"""

from datetime import timedelta

import msgspec

from batch.care.config import CareConfig
from batch.features.config import FeatureConfig
from batch.ingest.config import IngestConfig
from batch.patterns.config import PatternConfig
from batch.promotion.config import PromotionConfig
from ray_fraud.domain.batch_settings import (
    BatchSettings,
    DriftSettings,
    FeatureSettings,
    LakeCareSettings,
    PromotionSettings,
    SearchSettings,
    TrainingPeriods,
)
from ray_fraud.domain.promotion import PromotionRules

DEFAULT_INTERVAL = timedelta(minutes=5)
SHOWN_DIGITS = 6
SECONDS_PER_MINUTE, BASIS_POINTS_PER_CENT = 60.0, 100


class BatchConfig(msgspec.Struct, frozen=True, kw_only=True):
    ingest: IngestConfig
    features: FeatureConfig
    patterns: PatternConfig = PatternConfig()
    promotion: PromotionConfig = PromotionConfig()
    drift: DriftSettings = DriftSettings()
    care: CareConfig = CareConfig()
    training: TrainingPeriods = TrainingPeriods()
    """Of the actor that trains, told with the others when somebody asks."""
    interval: timedelta = DEFAULT_INTERVAL
    """From the beginning of a run to that of the next."""
    settle: timedelta = timedelta(minutes=1)
    """After the actor's start, before its first run: a platform that comes up has other things to do."""


def with_settings(config: BatchConfig, settings: BatchSettings) -> BatchConfig:
    """The same work by the operator's settings."""
    return msgspec.structs.replace(
        config,
        features=msgspec.structs.replace(
            config.features,
            profile_days=settings.features.profile_days,
            verdict_delay_seconds=settings.features.verdict_delay_seconds,
            label_maturity_days=settings.features.label_maturity_days,
            refresh_seconds=settings.features.refresh_minutes * SECONDS_PER_MINUTE,
        ),
        patterns=PatternConfig(
            settings=settings.patterns,
            look_back_hours=settings.search.look_back_hours,
            max_rows=settings.search.max_rows,
        ),
        promotion=promotion_config(settings.promotion, settings.features.label_maturity_days),
        drift=settings.drift,
        care=care_config(settings.care),
        training=settings.training,
        interval=timedelta(minutes=settings.interval_minutes),
    )


def promotion_config(settings: PromotionSettings, label_maturity_days: float) -> PromotionConfig:
    """What the rules of promotion are told of them."""
    return PromotionConfig(
        rules=PromotionRules(
            min_f1=settings.min_f1,
            min_frauds=settings.min_frauds,
            min_verdicts=settings.min_verdicts,
            rollback_verdicts=settings.rollback_verdicts,
            rollback_share=settings.rollback_share,
        ),
        test_share_bp=round(settings.test_percent * BASIS_POINTS_PER_CENT),
        label_maturity_days=label_maturity_days,
    )


def care_config(settings: LakeCareSettings) -> CareConfig:
    """What care is told of them."""
    return CareConfig(
        retention=timedelta(days=settings.retention_days),
        feature_tables_retention=timedelta(days=settings.feature_tables_days),
        sort=settings.sort,
        interval=timedelta(hours=settings.interval_hours),
        retry=timedelta(hours=settings.retry_hours),
    )


def settings_in(config: BatchConfig) -> BatchSettings:
    """What holds, in the words of the operator's file; periods to the sixth digit."""
    care, rules = config.care, config.promotion.rules
    return BatchSettings(
        interval_minutes=_in(config.interval, timedelta(minutes=1)),
        features=FeatureSettings(
            config.features.profile_days,
            config.features.verdict_delay_seconds,
            config.features.label_maturity_days,
            config.features.refresh_seconds / SECONDS_PER_MINUTE,
        ),
        search=SearchSettings(config.patterns.look_back_hours, config.patterns.max_rows),
        patterns=config.patterns.settings,
        drift=config.drift,
        care=LakeCareSettings(
            interval_hours=_in(care.interval, timedelta(hours=1)),
            retry_hours=_in(care.retry, timedelta(hours=1)),
            retention_days=_in(care.retention, timedelta(days=1)),
            feature_tables_days=_in(care.feature_tables_retention, timedelta(days=1)),
            sort=care.sort,
        ),
        training=config.training,
        promotion=PromotionSettings(
            config.promotion.test_share_bp / BASIS_POINTS_PER_CENT,
            rules.min_f1,
            rules.min_frauds,
            rules.min_verdicts,
            rules.rollback_verdicts,
            rules.rollback_share,
        ),
    )


def _in(period: timedelta, unit: timedelta) -> float:
    return round(period / unit, SHOWN_DIGITS)
