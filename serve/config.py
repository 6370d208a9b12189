"""Where the scorer runs and where its model files are.

Never: which models are live (splits are given at each update), secrets.
"""

from datetime import timedelta
from pathlib import Path

import msgspec

from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.lake import lake_filesystem, local_folder
from ray_fraud.stores.models.cached import CachedModelFiles
from ray_fraud.stores.models.lake import LakeModelFiles
from ray_fraud.stores.models.port import ModelFiles

APPLICATION = "scorer"
DEPLOYMENT = "Scorer"


class ScorerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Changing any field replaces the replicas; changing the splits does not."""

    lake: LakeLocation
    cache_folder: Path
    """A folder of each node, for copies of model files."""
    replicas: int = 1
    replica_cpus: float = 0.1
    """What Ray reserves for a replica when placing it; no limit on what it uses."""
    max_ongoing_requests: int = 64
    """Calls in a replica at once; more than there are partitions."""

    def to_json(self) -> str:
        """As the declarative deployment carries it."""
        return msgspec.json.encode(self, enc_hook=str).decode()

    @staticmethod
    def from_json(content: str) -> "ScorerConfig":
        """The inverse of `to_json`.

        Raises:
            msgspec.ValidationError: another release wrote it.
        """
        return msgspec.json.decode(content, type=ScorerConfig, dec_hook=lambda kind, value: kind(value))

    def model_files(self) -> ModelFiles:
        """The lake's model files behind this node's copies."""
        return CachedModelFiles(
            LakeModelFiles(*lake_filesystem(self.lake)),
            LakeModelFiles(*local_folder(self.cache_folder)),
        )


class ScoringMode(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a partition gets its scores."""

    serve: bool = True
    """False: score in this process and never call Serve (the benchmark's floor)."""
    timeout: timedelta = timedelta(milliseconds=250)
    """A call that takes longer is given up, and the batch is scored locally."""
    warm_up_timeout: timedelta = timedelta(seconds=4)
    """For the first call of a process, which also sets up Serve's router."""
