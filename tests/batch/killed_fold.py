"""A fold of features in a process that kills itself at one step of its writes: SIGKILL, before or after it.

Two tables, the states, cold alerts and users' features are written; the states' file of users has a step of
its own in the middle of its write.

Never: a step that is only imagined; the tables and states are real files, the alerts in a real PostgreSQL.
"""

import os
import signal
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import msgspec
import pyarrow as pa

from batch.features.job import FeatureJob, FeatureReport, PartitionFacts
from batch.features.stretch import Stretch, StretchPorts, StretchReport, fold_stretch
from ray_fraud.domain.alert import Alert
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.split import Arm, Split
from ray_fraud.stores.connections import LakeLocation, PostgresConnection, from_json
from ray_fraud.stores.lake import local_folder
from ray_fraud.stores.ledger.postgres import PostgresLedger
from ray_fraud.stores.review_data.port import NewestFeatures
from ray_fraud.stores.review_data.postgres import PostgresReviewData
from ray_fraud.stores.snapshots.lake import LakeSnapshotStore
from ray_fraud.stores.snapshots.port import SnapshotHeader
from ray_fraud.stores.tables.delta import DeltaTransactions
from ray_fraud.stores.tables.feature_columns import FEATURE_SCHEMA, ML_FEATURES, SCORE_SCHEMA, SCORES
from ray_fraud.stores.tables.port import DataFile
from ray_fraud.stores.tables.positioned import Move, PositionedTable
from tests.batch.fold_world import PARTITION, scoring
from tests.oracle.tables import DRAWN

T = TypeVar("T")
NEVER = -1
STRETCH = 130
PRESENT = Split(arms=(Arm("one", 7, "d7", 0.8, 6_000), Arm("two", 8, "d8", 0.8, 4_000)), salt="now")
"""Low thresholds: a short log has alerts that only the present versions find."""


class FoldPlace(msgspec.Struct, frozen=True):
    """Where a fold works."""

    lake: Path
    postgres: PostgresConnection
    end: int
    """How far the lake has the partition."""


class Steps:
    """Counts half-steps, two of each step: before, after; at `kill_at` the process dies."""

    def __init__(self, kill_at: int) -> None:
        self._kill_at = kill_at
        self.passed = 0

    def step(self, action: Callable[[], T]) -> T:
        self.half()
        result = action()
        self.half()
        return result

    def half(self) -> None:
        if self.passed == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.passed += 1


class DeadlyTable(PositionedTable):
    """Every write is a step."""

    def __init__(self, location: LakeLocation, name: str, schema: pa.Schema, steps: Steps) -> None:
        super().__init__(location, name, schema)
        self._steps = steps

    def create(self) -> None:
        self._steps.step(super().create)

    def write_files(self, rows: pa.Table) -> list[DataFile]:
        write = super().write_files
        return self._steps.step(lambda: write(rows))

    def commit(
        self, run_id: str, moves: Sequence[Move], files: Sequence[DataFile], facts: Mapping[str, str]
    ) -> int:
        commit = super().commit
        return self._steps.step(lambda: commit(run_id, moves, files, facts))


class DeadlyStates:
    """The states in the lake; a write can also die between its first byte and its last."""

    def __init__(self, states: LakeSnapshotStore, steps: Steps) -> None:
        self._states = states
        self._steps = steps

    def write(
        self, partition: PartitionId, header: SnapshotHeader, users: Iterable[tuple[int, bytes]]
    ) -> str:
        return self._steps.step(lambda: self._states.write(partition, header, self._dying(users)))

    def _dying(self, users: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
        yield from users
        self._steps.half()

    def newest_valid(
        self, partition: PartitionId, is_valid: Callable[[SnapshotHeader], bool]
    ) -> SnapshotHeader | None:
        return self._states.newest_valid(partition, is_valid)

    def read_users(self, header: SnapshotHeader) -> Iterator[tuple[int, bytes]]:
        return self._states.read_users(header)

    def remove_above(self, partition: PartitionId, offset: int) -> int:
        return self._states.remove_above(partition, offset)

    def prune(self, partition: PartitionId, keep: int, spared: Collection[int] = ()) -> int:
        return self._steps.step(lambda: self._states.prune(partition, keep, spared))


class DeadlyReview:
    """PostgreSQL; every write is a step."""

    def __init__(self, review: PostgresReviewData, steps: Steps) -> None:
        self._review = review
        self._steps = steps

    def alert_uids(self, partition: PartitionId, from_offset: int, to_offset: int) -> set[UUID]:
        return self._review.alert_uids(partition, from_offset, to_offset)

    def add_cold(self, partition: PartitionId, alerts: Sequence[Alert]) -> int:
        return self._steps.step(lambda: self._review.add_cold(partition, alerts))

    def save_features(self, partition: PartitionId, newest: NewestFeatures) -> None:
        self._steps.step(lambda: self._review.save_features(partition, newest))

    def features_of(self, user_id: int) -> dict[str, Any] | None:
        return self._review.features_of(user_id)

    def forget(self, user_id: int) -> int:
        return self._review.forget(user_id)

    def naming(self, user_id: int) -> dict[str, int]:
        return self._review.naming(user_id)

    def close(self) -> None:
        self._review.close()


def fold(place: FoldPlace, kill_at: int = NEVER, stretch_records: int = STRETCH) -> tuple[FeatureReport, int]:
    """One job in this process, without Ray; what it did and how many half-steps it took."""
    steps = Steps(kill_at)
    location = LakeLocation(place.lake.as_uri())
    features = DeadlyTable(location, ML_FEATURES, FEATURE_SCHEMA, steps)
    scores = DeadlyTable(location, SCORES, SCORE_SCHEMA, steps)
    states = DeadlyStates(LakeSnapshotStore(*local_folder(place.lake / "cold")), steps)
    review = DeadlyReview(PostgresReviewData(place.postgres), steps)
    ledger = PostgresLedger(place.postgres, name="test fold")
    ports = StretchPorts(
        DeltaTransactions(location), features, scores, states, states, review, DRAWN, scoring
    )

    def facts(partition: PartitionId) -> PartitionFacts:
        return PartitionFacts(tuple(ledger.events(partition)), ledger.decided_offset(partition) or 0)

    def fold_all(stretches: list[Stretch]) -> Iterator[StretchReport]:
        for stretch in stretches:
            yield fold_stretch(ports, stretch)

    with closing(review), closing(ledger):
        job = FeatureJob(features, scores, facts, lambda: PRESENT, fold_all, stretch_records)
        return job.run({PARTITION: place.end}), steps.passed


def main(place_file: str, kill_at: int) -> None:
    """What the process runs."""
    fold(from_json(Path(place_file).read_bytes(), FoldPlace), kill_at)
