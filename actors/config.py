"""What a deployed hot path is told: addresses, pace, scoring mode and the operator's settings.

Never: a secret (connections name files), anything that a running partition may change by itself.
"""

from enum import StrEnum

import msgspec

from ray_fraud.domain.batch_settings import BatchSettings
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.stores.connections import Connections

NAMESPACE = "ray-fraud"
"""The one Ray namespace of the platform's actors."""

SUPERVISOR = "ray-fraud-supervisor"
SINK = "ray-fraud-sink"
METRICS_HUB = "ray-fraud-metrics"
REKEY = "ray-fraud-rekey"
"""The actor that re-keys the producers' topic; there is none unless `topics.rekey_from` is set."""
BATCH = "ray-fraud-batch"
"""The cold path's actor."""
TRAINING = "ray-fraud-training"
"""The actor that trains models."""


def score_actor_name(job: str) -> str:
    """Of the actor that does a scoring job: one for each job's name."""
    return f"ray-fraud-score-{job}"


def partition_actor_name(partition: int) -> str:
    return f"ray-fraud-partition-{partition}"


def partition_source(partition: int) -> str:
    """Under which the owner of a partition records its metrics."""
    return f"partition-{partition}"


class Scoring(StrEnum):
    SERVE = "serve"
    LOCAL = "local"
    """In the partition actor: the latency floor that `ray-fraud bench` compares with."""


DEFAULT_STALL_SECONDS = 30.0


class HotPathConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    connections: Connections
    settings: DetectionSettings = DetectionSettings()
    scoring: Scoring = Scoring.SERVE
    scoring_timeout_ms: int = 250
    """A scoring call that takes longer is answered locally."""
    linger_ms: float = 8.0
    """Shortest pause between polls of a partition that is not behind."""
    rest_share: float = 1.0
    """Pause between scoring calls of one partition, as a share of what the calls take on average."""
    snapshot_interval_seconds: float = 3600.0
    stall_seconds: float = DEFAULT_STALL_SECONDS
    """A partition with lag that settles nothing for this long is unhealthy, and its owner is ended."""
    partition_cpus: float = 0.0
    """Ray CPUs that one partition actor reserves; 0 on a laptop, 1 on a cluster."""
    batch: BatchSettings = BatchSettings()
    """What the operator set of the cold path."""
    metrics_port: int = 8000
    model_cache: str = ""
    """Folder for model files by digest on each node; empty: the user's cache folder."""
