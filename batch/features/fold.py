"""One stretch of a partition, folded again from the lake: features, the hot rules' alerts, scores.

    rows of the lake + timeline + state → features, alerts, scores, state

It is the hot path's own fold over the hot path's own timeline, so its alerts are the ones that the hot path
made. Where the timeline had no model, the present one scores, and its alerts are news.

Never: I/O but for models that are loaded at first use; another definition of a feature or a rule.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple
from uuid import UUID

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from batch.features.rows import feature_table
from ray_fraud.domain.alert import Alert, Source
from ray_fraud.domain.explanation import Explain
from ray_fraud.domain.observed import Counts, Observed
from ray_fraud.domain.partition import PartitionState
from ray_fraud.domain.record import DecodedRecord
from ray_fraud.domain.replay import in_batches
from ray_fraud.domain.scores import Scores
from ray_fraud.domain.split import Arm, Split
from ray_fraud.domain.windows import DAY_MS
from ray_fraud.stores.tables.feature_columns import FEATURE_SCHEMA, SCORE_SCHEMA

BATCH_RECORDS = 5_000
_US_PER_MS = 1_000

Rows32 = NDArray[np.float32]


class Scoring(NamedTuple):
    """How rows are scored."""

    by_split: Callable[[Split, NDArray[np.int64], Rows32], Scores]
    """Each row by its user's arm; a split that has arms."""
    by_model: Callable[[Arm, Rows32], NDArray[np.float64]]
    """All rows by one model."""
    present: Split
    """The versions that are live now: all of them score every row."""
    explain: Explain | None = None
    """What pushed a row's score; asked for alerts only."""


@dataclass
class Folded:
    """What a stretch gave."""

    counts: Counts = field(default_factory=Counts)
    expected: list[Alert] = field(default_factory=list)
    """Alerts that the hot path has to have made; those that it has not are explained."""
    found: list[Alert] = field(default_factory=list)
    """Alerts of the present models where the hot path had none; `source` is cold."""
    without_model: int = 0
    """Rows that the hot path decided by rules only."""
    features: list[pa.Table] = field(default_factory=list)
    scores: list[pa.Table] = field(default_factory=list)


def fold_records(
    state: PartitionState,
    records: Sequence[DecodedRecord],
    topic_id: str,
    scoring: Scoring,
    made: Collection[UUID] = frozenset(),
) -> Folded:
    """Folds records that `state` has not seen; it moves along.

    Args:
        made: alerts that the hot path is known to have made. Where all of a batch are, they are not explained
            once more: nobody would read it, and it was a sixth of the samples of a profile.

    Raises:
        FoldVersionError, TablesMissingError: as `PartitionState.observe`.
        StoreError, ModelRefused: a model cannot be loaded.
    """
    folded = Folded()
    for observed in in_batches(state.observe_decoded, records, BATCH_RECORDS):
        folded.counts.add(observed.counts)
        if observed.rows:
            scored = _ScoredBatch(observed, scoring)
            _decide(state, observed, scored, folded, made)
            places = _places(observed, topic_id, state.partition)
            tables = pa.array([state.tables_digest] * len(observed.rows), pa.string())
            folded.features.append(feature_table(places, observed.features, tables))
            folded.scores += _score_rows(observed, places, scored)
    return folded


def skip_records(state: PartitionState, records: Sequence[DecodedRecord]) -> None:
    """Moves the state past records whose features are in the table already."""
    for _ in in_batches(state.observe_decoded, records, BATCH_RECORDS):
        pass


class _ScoredBatch:
    """Every row of a batch by each live model, once; a split then only chooses among these scores."""

    def __init__(self, observed: Observed, scoring: Scoring) -> None:
        self.scoring = scoring
        self.by_model = {
            arm.model_digest: scoring.by_model(arm, observed.features) for arm in scoring.present.arms
        }
        self._observed = observed

    def under(self, split: Split) -> Scores:
        """Each row by its user's arm of a split with arms; what is no longer live is scored for it."""
        user_ids = self._observed.user_ids
        digests = [arm.model_digest for arm in split.arms]
        if any(digest not in self.by_model for digest in digests):
            return self.scoring.by_split(split, user_ids, self._observed.features)
        arms = split.arm_of(user_ids)
        values = np.stack([self.by_model[digest] for digest in digests])
        return Scores(values[arms, np.arange(len(arms))], arms)


def _decide(
    state: PartitionState, observed: Observed, scored: _ScoredBatch, folded: Folded, made: Collection[UUID]
) -> None:
    scoring = scored.scoring
    if observed.split.arms:
        scores = scored.under(observed.split)
        alerts = state.decide(observed, scores).alerts
        if any(alert.alert_uid not in made for alert in alerts):
            alerts = state.decide(observed, scores, scoring.explain).alerts
        folded.expected += alerts
        return
    expected = state.decide(observed, None).alerts
    folded.expected += expected
    folded.without_model += len(observed.rows)
    if scoring.present.arms:
        now = replace(observed, split=scoring.present)
        alerts = state.decide(now, scored.under(scoring.present), scoring.explain).alerts
        known = {alert.alert_uid for alert in expected}
        folded.found += [
            msgspec.structs.replace(alert, source=Source.COLD)
            for alert in alerts
            if alert.alert_uid not in known
        ]


def _places(observed: Observed, topic_id: str, partition: int) -> dict[str, pa.Array]:
    rows = observed.rows
    count = len(rows)
    event_ms = pa.array([row.transaction.event_ms for row in rows], pa.int64())
    record_ms = pa.array([row.timestamp_ms for row in rows], pa.int64())
    days = np.floor_divide(event_ms.to_numpy(), DAY_MS).astype(np.int32)
    utc = FEATURE_SCHEMA.field("event_time").type
    return {
        "topic_id": pa.repeat(topic_id, count),
        "partition": pa.repeat(pa.scalar(partition, pa.int32()), count),
        "offset": pa.array([row.offset for row in rows], pa.int64()),
        "transaction_id": pa.array([row.transaction.transaction_id for row in rows]),
        "user_id": pa.array(observed.user_ids),
        "record_time": pa.array(record_ms.to_numpy() * _US_PER_MS).cast(utc),
        "event_time": pa.array(event_ms.to_numpy() * _US_PER_MS).cast(utc),
        "event_date": pa.array(days).cast(pa.date32()),
    }


def _score_rows(observed: Observed, places: Mapping[str, pa.Array], scored: _ScoredBatch) -> list[pa.Table]:
    """Every row by every live model."""
    deciding = observed.split.arm_of(observed.user_ids) if observed.split.arms else None
    tables = []
    for arm in scored.scoring.present.arms:
        values = scored.by_model[arm.model_digest]
        decided = [
            index for index, each in enumerate(observed.split.arms) if each.model_digest == arm.model_digest
        ]
        live = np.isin(deciding, decided) if deciding is not None else np.zeros(len(values), np.bool_)
        count = len(values)
        known = {
            **places,
            "model": pa.repeat(arm.label, count),
            "model_digest": pa.repeat(arm.model_digest, count),
            "score": pa.array(values),
            "threshold": pa.repeat(arm.threshold, count),
            "anomaly": pa.array(values > arm.threshold),
            "live": pa.array(live),
        }
        tables.append(pa.table({name: known[name] for name in SCORE_SCHEMA.names}, schema=SCORE_SCHEMA))
    return tables
