"""Small models, rows and splits for tests; made once per process."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from batch.training.isolation_forest import train_isolation_forest
from batch.training.trained_model import TrainedModel
from ray_fraud.domain.features import FEATURE_COUNT, FEATURE_NAMES
from ray_fraud.domain.split import Arm, Split
from ray_fraud.scoring.model import Model
from ray_fraud.stores.models.memory import MemoryModelFiles

NAMES = ("amount", "lat", "lon", "hour_of_day", "amount_over_mean_30d")


def rows(count: int, seed: int) -> NDArray[np.float32]:
    """Rows that look like transactions, shape (count, FEATURE_COUNT), with missing values."""
    random = np.random.default_rng(seed)
    features = random.lognormal(3, 1.2, size=(count, FEATURE_COUNT)).astype(np.float32)
    features[:, FEATURE_NAMES.index("lat")] = random.normal(48, 8, count)
    features[:, FEATURE_NAMES.index("lon")] = random.normal(9, 15, count)
    features[:, FEATURE_NAMES.index("hour_of_day")] = random.integers(0, 24, count)
    features[random.random(count) < 0.3, FEATURE_NAMES.index("amount_over_mean_30d")] = np.nan
    features[random.random(count) < 0.1, FEATURE_NAMES.index("lat")] = np.nan
    return features


@cache
def trained(version: int = 1) -> TrainedModel:
    return train_isolation_forest(rows(4_000, 7), NAMES[: version + 2], version=version, seed=version)


@cache
def loaded(version: int = 1) -> Model:
    return Model(*trained(version))


def split(*shares_bp: int, salt: str = "test") -> Split:
    """A split of versions 1, 2, … with these shares."""
    arms = []
    for version, share_bp in enumerate(shares_bp, start=1):
        manifest = trained(version).manifest
        arms.append(Arm(manifest.model_name, version, manifest.digest, manifest.threshold, share_bp))
    return Split(tuple(arms), salt)


def model_files(*versions: int) -> MemoryModelFiles:
    """Files that hold these versions."""
    files = MemoryModelFiles()
    for version in versions:
        files.put(*trained(version))
    return files
