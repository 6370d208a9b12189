"""What an ingest is told.

Never: a secret (connections name files).
"""

import msgspec

from batch.ingest.plan import COMMIT_RECORDS, SLICE_RECORDS
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.stores.connections import Connections


class IngestConfig(msgspec.Struct, frozen=True, kw_only=True):
    connections: Connections
    settings: DetectionSettings = DetectionSettings()
    """For records below the first settings event of their partition."""
    slice_records: int = SLICE_RECORDS
    commit_records: int = COMMIT_RECORDS
    tasks: int = 2
    """Slices that are read at the same time."""
