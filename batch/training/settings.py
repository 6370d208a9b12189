"""What a training is told: periods, budget, algorithms and the parameters that it tries.

Never: a path, a connection.
"""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from batch.training.boosting import BoostingParameters
from batch.training.random_forest import ForestParameters

Days = Annotated[float, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]


class Algorithm(StrEnum):
    ISOLATION_FOREST = "isolation_forest"
    RANDOM_FOREST = "random_forest"
    GRADIENT_BOOSTING = "gradient_boosting"


class IsolationParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a search varies."""

    trees: Count = 100
    max_samples: Count = 256
    contamination: Annotated[float, Meta(gt=0, le=0.5)] = 0.1


Parameters = IsolationParameters | ForestParameters | BoostingParameters


class TrainingSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Periods are days of event time, fractions allowed."""

    seed: int = 1
    holdout_days: Positive = 7.0
    """The newest labelled days: they judge, and nothing is learnt or chosen on them."""
    gap_days: Days = 7.0
    """Between training and what judges it: so late do labels come."""
    train_days: Positive = 28.0
    folds: Count = 3
    """Steps in time, before the hold-out, on which parameters, calibration and threshold are chosen."""
    fold_days: Positive = 7.0
    alerts_per_day: Positive = 100.0
    """What the team can review."""
    top_k: Count = 100
    """Cards looked at per day, for card precision."""
    algorithms: tuple[Algorithm, ...] = (
        Algorithm.ISOLATION_FOREST,
        Algorithm.RANDOM_FOREST,
        Algorithm.GRADIENT_BOOSTING,
    )
    max_rows: Count = 1_000_000
    """Of more labelled rows a sample of all days is taken: the frauds, and the rest with weights."""
    isolation_forest: tuple[IsolationParameters, ...] = (IsolationParameters(),)
    random_forest: tuple[ForestParameters, ...] = (ForestParameters(), ForestParameters(balanced=True))
    gradient_boosting: tuple[BoostingParameters, ...] = (
        BoostingParameters(),
        BoostingParameters(leaves=15, columns=0.3),
    )

    def candidates(self, algorithm: Algorithm) -> tuple[Parameters, ...]:
        """The parameters to try."""
        match algorithm:
            case Algorithm.ISOLATION_FOREST:
                return self.isolation_forest
            case Algorithm.RANDOM_FOREST:
                return self.random_forest
            case Algorithm.GRADIENT_BOOSTING:
                return self.gradient_boosting
