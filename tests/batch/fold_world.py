"""A log, its hot path in memory, and the lake folded after it: what the tests of features share.

The hot side is a plain run of `PartitionState`; its alerts stand in the memory ledger as its owner
would store them. The lake side is real Delta tables in a folder.

Never: a difference between the two sides but the way the records come.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from batch.features.fold import Scoring
from batch.features.job import FeatureJob, FeatureReport, PartitionFacts
from batch.features.stretch import Stretch, StretchPorts, StretchReport, fold_stretch
from batch.ingest.columns import NOTE, OUTCOME, rows_of
from ray_fraud.domain.alert import Alert
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.feature_tables import FeatureTables
from ray_fraud.domain.partition import PartitionState
from ray_fraud.domain.record import PartitionId, Record
from ray_fraud.domain.scores import Scores
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.domain.split import Arm, Split
from ray_fraud.domain.timeline import ControlEvent
from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.ledger.memory import MemoryDatabase
from ray_fraud.stores.ledger.port import TopicAlert
from ray_fraud.stores.review_data.memory import MemoryReviewData
from ray_fraud.stores.snapshots.memory import MemorySnapshotStore
from ray_fraud.stores.tables.delta import DeltaTransactions
from ray_fraud.stores.tables.feature_columns import FEATURE_SCHEMA, ML_FEATURES, SCORE_SCHEMA, SCORES
from ray_fraud.stores.tables.port import Append, ReadRange
from ray_fraud.stores.tables.positioned import PositionedTable
from tests.oracle.tables import DRAWN

PARTITION = PartitionId("cluster", "topic-1", 0)
PRESENT = Split(arms=(Arm("one", 7, "d7", 0.97, 6_000), Arm("two", 8, "d8", 0.95, 4_000)), salt="now")


def score_of(arm: Arm, features: NDArray[np.float32]) -> NDArray[np.float64]:
    """A stand-in model: a number in [0, 1) made of the row and the model's version."""
    exact = np.ascontiguousarray(np.nan_to_num(features[:, :15], nan=-1.0), np.float64)
    weights = np.arange(1, 16) * 0.61803398875 + arm.version
    values: NDArray[np.float64] = np.abs(np.modf((exact * weights).sum(axis=1))[0])
    return values


def score_split(split: Split, user_ids: NDArray[np.int64], features: NDArray[np.float32]) -> Scores:
    arms = split.arm_of(user_ids)
    by_arm = np.array([score_of(arm, features) for arm in split.arms])
    return Scores(by_arm[arms, np.arange(len(arms))], arms)


def explain_row(split: Split, arm: int, features: NDArray[np.float32]) -> NDArray[np.float64]:
    """A stand-in explanation, of the row and the model's version."""
    return np.nan_to_num(features.astype(np.float64), nan=-0.5) * (split.arms[arm].version + 0.1)


def scoring(present: Split) -> Scoring:
    return Scoring(score_split, score_of, present, explain_row)


@dataclass
class Online:
    """What the hot path saw and decided."""

    alerts: list[Alert] = field(default_factory=list)
    features: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    """By offset."""
    users: dict[int, bytes] = field(default_factory=dict)


def run_online(records: Sequence[Record], timeline: Sequence[ControlEvent], batch: int = 333) -> Online:
    online = Online()
    state = PartitionState(0, Decoder(None), timeline=timeline, tables=DRAWN)
    rest = list(records)
    while rest:
        observed = state.observe(rest[:batch])
        split = observed.split
        scores = score_split(split, observed.user_ids, observed.features) if split.arms else None
        online.alerts += state.decide(observed, scores, explain_row).alerts
        for row, features in zip(observed.rows, observed.features, strict=True):
            online.features[row.offset] = features
        rest = [record for record in rest if record.offset >= observed.next_offset]
    online.users = dict(state.users)
    return online


@dataclass
class FoldWorld:
    """The stores of one lake folder, and jobs over them."""

    folder: Path
    records: Sequence[Record]
    timeline: Sequence[ControlEvent]

    def __post_init__(self) -> None:
        location = LakeLocation(self.folder.as_uri())
        self.transactions = DeltaTransactions(location)
        self.features = PositionedTable(location, ML_FEATURES, FEATURE_SCHEMA)
        self.scores = PositionedTable(location, SCORES, SCORE_SCHEMA)
        self.states = MemorySnapshotStore()
        self.checkpoints = MemorySnapshotStore()
        self.database = MemoryDatabase()
        self.review = MemoryReviewData(self.database)
        self.tables: Mapping[str, FeatureTables] = DRAWN
        self.decided = self.end
        self.ingested = 0
        self.runs = 0

    @property
    def end(self) -> int:
        return self.records[-1].offset + 1

    def decide_online(self) -> Online:
        """The hot path runs and stores its alerts."""
        online = run_online(self.records, self.timeline)
        self.database.store([TopicAlert(alert, PARTITION, 1) for alert in online.alerts])
        return online

    def ingest(self, until: int) -> None:
        """Brings the log up to an offset into the lake, as an ingest does."""
        self.transactions.create()
        wanted = [record for record in self.records if self.ingested <= record.offset < until]
        rows = rows_of(wanted, PARTITION, self.ingested, until, Decoder(None), DetectionSettings())
        accepted = rows.filter(rows[OUTCOME].is_null()).drop_columns([OUTCOME, NOTE])
        files = self.transactions.write_files(accepted)
        read = ReadRange(PARTITION, "transactions", self.ingested, until, accepted.num_rows, {}, 0)
        self.runs += 1
        self.transactions.append(Append(f"run-{self.runs}", [read], files))
        self.ingested = until

    def ports(self) -> StretchPorts:
        return StretchPorts(
            self.transactions,
            self.features,
            self.scores,
            self.states,
            self.checkpoints,
            self.review,
            self.tables,
            scoring,
        )

    def fold_all(self, stretches: list[Stretch]) -> list[StretchReport]:
        return [fold_stretch(self.ports(), stretch) for stretch in stretches]

    def job(self, present: Split = PRESENT, stretch_records: int = 700) -> FeatureJob:
        facts = PartitionFacts(tuple(self.timeline), self.decided)
        return FeatureJob(
            self.features,
            self.scores,
            lambda _: facts,
            lambda: present,
            self.fold_all,
            stretch_records,
        )

    def fold(self, present: Split = PRESENT, stretch_records: int = 700) -> FeatureReport:
        return self.job(present, stretch_records).run({PARTITION: self.ingested})
