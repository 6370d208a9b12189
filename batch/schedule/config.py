"""What the batch actor is told.

Never: a secret (connections name files).
"""

from datetime import timedelta

import msgspec

from batch.care.config import CareConfig
from batch.features.config import FeatureConfig
from batch.ingest.config import IngestConfig
from batch.patterns.config import PatternConfig

DEFAULT_INTERVAL = timedelta(minutes=5)


class BatchConfig(msgspec.Struct, frozen=True, kw_only=True):
    ingest: IngestConfig
    features: FeatureConfig
    patterns: PatternConfig = PatternConfig()
    care: CareConfig = CareConfig()
    interval: timedelta = DEFAULT_INTERVAL
    """From the beginning of a run to that of the next."""
    settle: timedelta = timedelta(minutes=1)
    """After the actor's start, before its first run: a platform that comes up has other things to do."""
