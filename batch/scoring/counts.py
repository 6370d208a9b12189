"""What tasks tell of the scores that they wrote, and what all of them make together.

Never: a score of a single row.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

BINS = 256
"""Of the histogram over [0, 1], where scores lie; a quantile is right to 1/256."""
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}


class ModelCounts(msgspec.Struct, frozen=True):
    """The scores of one version for some rows."""

    model: str
    rows: int
    anomalies: int
    total: float
    """Sum of the scores."""
    least: float
    greatest: float
    histogram: list[int]
    anomalies_by_day: dict[str, int]
    """By ISO date of the event time, all days with a row."""


class ModelSummary(msgspec.Struct, frozen=True):
    """The scores of one version for all rows."""

    model: str
    model_digest: str
    threshold: float
    rows: int
    anomalies: int
    mean: float
    least: float
    greatest: float
    quantiles: dict[str, float]
    """By name; from a histogram, right to 1/256."""
    anomalies_by_day: dict[str, int]


def counted(
    model: str, scores: NDArray[np.float64], anomalies: NDArray[np.bool_], days: NDArray[np.datetime64]
) -> ModelCounts:
    """Counts of at least one row; all of shape (n,), `days` of unit D."""
    bins = np.clip((scores * BINS).astype(np.int64), 0, BINS - 1)
    known, places = np.unique(days, return_inverse=True)
    by_day = np.bincount(places, weights=anomalies, minlength=len(known))
    return ModelCounts(
        model=model,
        rows=len(scores),
        anomalies=int(anomalies.sum()),
        total=math.fsum(scores),
        least=float(scores.min()),
        greatest=float(scores.max()),
        histogram=np.bincount(bins, minlength=BINS).tolist(),
        anomalies_by_day={str(day): int(count) for day, count in zip(known, by_day, strict=True)},
    )


def joined(parts: Sequence[ModelCounts]) -> ModelCounts:
    """Of the same version, at least one."""
    by_day: Counter[str] = Counter()
    for part in parts:
        # Not `+`, which drops the days without an anomaly.
        by_day.update(part.anomalies_by_day)
    return ModelCounts(
        model=parts[0].model,
        rows=sum(part.rows for part in parts),
        anomalies=sum(part.anomalies for part in parts),
        total=math.fsum(part.total for part in parts),
        least=min(part.least for part in parts),
        greatest=max(part.greatest for part in parts),
        histogram=np.sum([part.histogram for part in parts], axis=0).tolist(),
        anomalies_by_day=dict(sorted(by_day.items())),
    )


def summary(counts: ModelCounts, digest: str, threshold: float) -> ModelSummary:
    return ModelSummary(
        model=counts.model,
        model_digest=digest,
        threshold=threshold,
        rows=counts.rows,
        anomalies=counts.anomalies,
        mean=counts.total / counts.rows,
        least=counts.least,
        greatest=counts.greatest,
        quantiles={name: quantile(counts, share) for name, share in QUANTILES.items()},
        anomalies_by_day=counts.anomalies_by_day,
    )


def quantile(counts: ModelCounts, share: float) -> float:
    """The score that this share of the rows does not exceed, to the width of a bin."""
    wanted = share * counts.rows
    below = 0
    for index, inside in enumerate(counts.histogram):
        if inside and below + inside >= wanted:
            value = (index + (wanted - below) / inside) / BINS
            return min(max(value, counts.least), counts.greatest)
        below += inside
    return counts.greatest


def by_model(parts: Iterable[ModelCounts]) -> dict[str, ModelCounts]:
    """Joined, by the version's label."""
    found: dict[str, list[ModelCounts]] = {}
    for part in parts:
        found.setdefault(part.model, []).append(part)
    return {model: joined(of_model) for model, of_model in found.items()}
