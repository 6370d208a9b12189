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
    FeatureSettings,
    LakeCareSettings,
    SearchSettings,
)

DEFAULT_INTERVAL = timedelta(minutes=5)
SHOWN_DIGITS = 6


class BatchConfig(msgspec.Struct, frozen=True, kw_only=True):
    ingest: IngestConfig
    features: FeatureConfig
    patterns: PatternConfig = PatternConfig()
    promotion: PromotionConfig = PromotionConfig()
    care: CareConfig = CareConfig()
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
        ),
        patterns=PatternConfig(
            settings=settings.patterns,
            look_back_hours=settings.search.look_back_hours,
            max_rows=settings.search.max_rows,
        ),
        care=care_config(settings.care),
        interval=timedelta(minutes=settings.interval_minutes),
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
    care = config.care
    return BatchSettings(
        interval_minutes=_in(config.interval, timedelta(minutes=1)),
        features=FeatureSettings(config.features.profile_days, config.features.verdict_delay_seconds),
        search=SearchSettings(config.patterns.look_back_hours, config.patterns.max_rows),
        patterns=config.patterns.settings,
        care=LakeCareSettings(
            interval_hours=_in(care.interval, timedelta(hours=1)),
            retry_hours=_in(care.retry, timedelta(hours=1)),
            retention_days=_in(care.retention, timedelta(days=1)),
            feature_tables_days=_in(care.feature_tables_retention, timedelta(days=1)),
            sort=care.sort,
        ),
    )


def _in(period: timedelta, unit: timedelta) -> float:
    return round(period / unit, SHOWN_DIGITS)
