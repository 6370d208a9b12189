"""What the training actor is told.

Never: a secret (connections name files).
"""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from batch.training.settings import TrainingSettings
from ray_fraud.stores.connections import Connections


class TrainingConfig(msgspec.Struct, frozen=True, kw_only=True):
    connections: Connections
    model_cache: Path
    """The node's folder for model files."""
    training: TrainingSettings = TrainingSettings()
    label_maturity_days: Annotated[float, Meta(ge=0)] = 7.0
    """So old, in event time, is a transaction that counts as legitimate while nobody has called it fraud."""
    interval: timedelta = timedelta(days=1)
    """From the beginning of a training to that of the next."""
    new_verdicts: Annotated[int, Meta(ge=1)] = 500
    """So many verdicts since the last training bring the next one forward."""
    least_pause: timedelta = timedelta(minutes=10)
    """Between the beginnings of two trainings, unless one is asked for."""
    look: timedelta = timedelta(seconds=60)
    """Between two looks for a training that is due."""
