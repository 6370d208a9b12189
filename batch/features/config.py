"""What the building of features is told.

Never: a secret (connections name files).
"""

from pathlib import Path

import msgspec


class FeatureConfig(msgspec.Struct, frozen=True, kw_only=True):
    model_cache: Path
    """The node's folder for model files and feature tables."""
    namespace: str = ""
    supervisor: str = ""
    """Name of the actor that is told of new feature tables; empty: nobody is."""
    stretch_records: int = 200_000
    """Offsets of one partition that one task folds before a commit: about 10 s of work."""
    tasks: int = 3
    """Partitions that are folded at the same time: as many as there are by default, or two cores would wait
    for the last of them."""
    profile_days: int = 90
    """Completed UTC days, up to the newest event's, that users' profiles are made of."""
    verdict_delay_seconds: float = 0.0
    """A verdict reaches the features this much later."""
    label_maturity_days: float = 7.0
    """So old, in event time, is a transaction that counts as legitimate while nobody has called it fraud."""
    refresh_seconds: float = 3600.0
    """Of event time, after which merchants are looked at again without a new verdict."""
    look_seconds: float = 10.0
    """Between two looks for new verdicts."""
