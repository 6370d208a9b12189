"""The last day of the lake against what models were trained on.

The day is that of event time, up to the newest event of `ml_features`. Rows are counted into the bins of a
model's own references as they are read, so that no more than a batch of them is in memory.

Never: a model that is run (the scores are those of table `scores`), a change of the lake.
"""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import UNSET
from numpy.typing import NDArray

from ray_fraud.domain.batch_settings import DriftSettings
from ray_fraud.domain.drift import CALENDAR, Counts, Reference, psi_of_counts
from ray_fraud.domain.model import Manifest
from ray_fraud.domain.windows import DAY_MS
from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.tables.columns import IMPORTED
from ray_fraud.stores.tables.feature_columns import ML_FEATURES, SCORES
from ray_fraud.stores.tables.lake_tables import present_tables
from ray_fraud.stores.tables.period import PeriodRows, newest_event_ms


class Subject(msgspec.Struct, frozen=True):
    """A version to be measured."""

    model: str
    """`name:version`."""
    digest: str
    manifest: Manifest
    with_features: bool
    """Else the score only."""


class Drift(msgspec.Struct, frozen=True):
    """One feature, or the score."""

    name: str
    psi: float
    """See `ray_fraud.domain.drift`."""
    alarm: bool
    """It is above the bound of the settings."""


class ModelDrift(msgspec.Struct, frozen=True):
    """One version against the last day."""

    model: str
    from_ms: int | None
    """Event times `[from_ms, until_ms)`, unix milliseconds; None: the lake has no features yet."""
    until_ms: int | None
    rows: int
    """That the features were counted in, a sample of the day if it has more; 0 if they were not asked for."""
    features: tuple[Drift, ...]
    """The biggest first."""
    scored_rows: int
    score: Drift | None
    problem: str | None
    """Why something is not told."""


def measure_drift(
    lake: LakeLocation, subjects: Sequence[Subject], settings: DriftSettings
) -> list[ModelDrift]:
    """The versions in the given order.

    Raises:
        StoreError: the lake does not answer.
    """
    present = present_tables(lake)
    newest = newest_event_ms(lake, ML_FEATURES) if ML_FEATURES in present else None
    if newest is None:
        problem = "the lake has no features yet; batches write them"
        return [ModelDrift(each.model, None, None, 0, (), 0, None, problem) for each in subjects]
    day = (newest + 1 - DAY_MS, newest + 1)
    scores = _scored(lake, day, subjects, settings) if SCORES in present else {}
    return [_one(lake, day, each, scores.get(each.digest), settings) for each in subjects]


def _one(
    lake: LakeLocation, day: tuple[int, int], subject: Subject, scores: Counts | None, settings: DriftSettings
) -> ModelDrift:
    references, score_reference = subject.manifest.references, subject.manifest.score_reference
    if references is UNSET or score_reference is UNSET:
        problem = "its manifest is of an earlier release and has no references; train it again"
        return ModelDrift(subject.model, *day, 0, (), 0, None, problem)
    features: list[Drift] = []
    problems = []
    rows = 0
    if subject.with_features:
        compared = {name: each for name, each in references.items() if name not in CALENDAR}
        rows, counts = _featured(lake, day, compared, settings)
        if rows < settings.least_rows:
            problems.append(f"{rows} rows with features, at least {settings.least_rows} are needed")
        else:
            features = [_drift(name, compared[name], counts[name], settings) for name in compared]
    scored_rows = 0 if scores is None else int(scores.sum())
    score = None
    if scores is None or scored_rows < settings.least_rows:
        problems.append(f"{scored_rows} rows scored by it, at least {settings.least_rows} are needed")
    else:
        score = _drift("score", score_reference, scores, settings)
    return ModelDrift(
        subject.model,
        *day,
        rows,
        tuple(sorted(features, key=lambda each: (-each.psi, each.name))),
        scored_rows,
        score,
        "; ".join(problems) or None,
    )


def _drift(name: str, reference: Reference, counts: Counts, settings: DriftSettings) -> Drift:
    found = psi_of_counts(reference, counts)
    return Drift(name, found, found > settings.alarm)


def _featured(
    lake: LakeLocation, day: tuple[int, int], references: Mapping[str, Reference], settings: DriftSettings
) -> tuple[int, dict[str, Counts]]:
    """Rows, and by feature how many in each bin."""
    rows = 0
    counts = {name: _none(reference) for name, reference in references.items()}
    for rows_read in PeriodRows(lake, ML_FEATURES, *day).sample(("topic_id", *references), settings.max_rows):
        # Imports are no part of what the hot path meets.
        part = rows_read.filter(pc.invert(pc.starts_with(rows_read["topic_id"], IMPORTED)))
        rows += part.num_rows
        for name, reference in references.items():
            counts[name] += reference.counts(_floats(part[name]))
    return rows, counts


def _scored(
    lake: LakeLocation, day: tuple[int, int], subjects: Sequence[Subject], settings: DriftSettings
) -> dict[str, Counts]:
    """By digest how many scores in each bin, of versions that know their training's scores."""
    references = {each.digest: each.manifest.score_reference for each in subjects}
    known = {digest: each for digest, each in references.items() if each is not UNSET}
    counts = {digest: _none(reference) for digest, reference in known.items()}
    wanted = settings.max_rows * max(1, len(known))
    for part in PeriodRows(lake, SCORES, *day).sample(("model_digest", "score"), wanted):
        for digest, reference in known.items():
            mine = part.filter(pc.equal(part["model_digest"], digest))
            counts[digest] += reference.counts(mine["score"].to_numpy())
    return counts


def _none(reference: Reference) -> Counts:
    return np.zeros(len(reference.shares) + 1, np.int64)


def _floats(column: pa.ChunkedArray) -> NDArray[np.float32]:
    """Null is NaN."""
    values: NDArray[np.float32] = column.combine_chunks().to_numpy(zero_copy_only=False)
    return values.astype(np.float32, copy=False)
