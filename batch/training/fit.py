"""One fit of one algorithm: rows and parameters in, a candidate that has proved its export out.

Never: a choice; the caller says which rows and parameters.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from batch.training.boosting import BoostingParameters, train_boosting
from batch.training.drawn import drawn
from batch.training.isolation_forest import fit_isolation_forest
from batch.training.labelled import LabelledRows
from batch.training.random_forest import ForestParameters, train_random_forest
from batch.training.sampler import as_they_come
from batch.training.settings import IsolationParameters, Parameters
from batch.training.trained_model import Candidate, compare
from ray_fraud.domain.features import FEATURE_NAMES
from ray_fraud.scoring.model import Model

CHECKED_ROWS = 2_000
ISOLATING = (
    "amount",
    "lat",
    "lon",
    "amount_over_mean_30d",
    "profile_amount_over_max",
    "km_from_previous",
    "kmh_from_previous",
    "merchant_risk",
    "merchant_fraud_run",
)
"""What an Isolation Forest sees: it cuts at random, so a feature that tells nothing hides one that does.

The choice is by meaning; this list was not measured against others."""


class Fitted(NamedTuple):
    """A candidate and the model made of it, without threshold and calibration."""

    candidate: Candidate
    model: Model


def fit(rows: LabelledRows, parameters: Parameters, *, version: int, seed: int) -> Fitted:
    """Fits and proves the export on the first rows.

    Raises:
        ValueError: only one class among the labels of a supervised algorithm; no rows.
        ExportMismatch: the exported model scores unlike the fitted one.
    """
    # One thread: fits run beside each other as tasks, and beside a hot path that goes first.
    with threadpool_limits(limits=1):
        return _proved(rows, parameters, version, seed)


def _proved(rows: LabelledRows, parameters: Parameters, version: int, seed: int) -> Fitted:
    if not isinstance(parameters, IsolationParameters):
        rows = drawn(rows, parameters.legitimate_per_fraud, seed)
    else:
        rows = as_they_come(rows, seed)
    period = float(rows.event_ms[0]) / 1000, float(rows.event_ms[-1]) / 1000
    candidate, expected = _fitted(rows, parameters, version, seed, period)
    model = candidate.model()
    expected = expected[:CHECKED_ROWS]
    checked = rows.features[: len(expected)]
    compare(model, checked, model.score(checked), expected)
    return Fitted(candidate, model)


def _fitted(
    rows: LabelledRows, parameters: Parameters, version: int, seed: int, period: tuple[float, float]
) -> tuple[Candidate, NDArray[np.float64]]:
    names = _useful(rows)
    if isinstance(parameters, BoostingParameters):
        return train_boosting(
            rows.features, rows.fraud, names, version=version, seed=seed, parameters=parameters, period=period
        )
    if isinstance(parameters, ForestParameters):
        return train_random_forest(
            rows.features, rows.fraud, names, version=version, seed=seed, parameters=parameters, period=period
        )
    return fit_isolation_forest(
        rows.features,
        [name for name in ISOLATING if name in names] or names,
        version=version,
        seed=seed,
        trees=parameters.trees,
        contamination=parameters.contamination,
        max_samples=parameters.max_samples,
        period=period,
    )


def _useful(rows: LabelledRows) -> tuple[str, ...]:
    """Features that have more than one value among the rows, in the order of the catalogue."""
    varied = np.nanmax(_seen(rows.features), axis=0) > np.nanmin(_seen(rows.features), axis=0)
    names = tuple(name for name, useful in zip(FEATURE_NAMES, varied.tolist(), strict=True) if useful)
    return names or FEATURE_NAMES[:1]


def _seen(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Missing as one more value."""
    return np.where(np.isnan(features), np.float32(-np.inf), features)
