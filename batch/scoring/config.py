"""What a scoring job is told of the machine.

Never: a secret (connections name files).
"""

from pathlib import Path

import msgspec

from ray_fraud.stores.connections import LakeLocation


class ScoreConfig(msgspec.Struct, frozen=True, kw_only=True):
    lake: LakeLocation
    model_cache: Path
    """The node's folder for model files."""
    tasks: int = 2
    """Pieces that are scored at the same time."""
