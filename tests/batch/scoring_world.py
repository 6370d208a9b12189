"""A folded lake and scoring jobs over it: what the tests of batch scoring share.

The features are real, made by the fold; models are stand-ins; both tables are real Delta tables in folders.

Never: Ray.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from batch.scoring.job import Progress, ScoreJob
from batch.scoring.plan import Piece, ScoredVersion, ScoreRequest
from batch.scoring.score import LoadedVersion, PieceReport, score_piece
from ray_fraud.domain.split import Arm
from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.faults import FaultPlan
from ray_fraud.stores.tables.feature_columns import BATCH_SCORE_SCHEMA, BATCH_SCORES, ML_FEATURES
from ray_fraud.stores.tables.period import PeriodRows
from ray_fraud.stores.tables.port import DataFile
from ray_fraud.stores.tables.positioned import Move, PositionedTable
from tests.batch.fold_world import PRESENT, FoldWorld, score_of
from tests.oracle.controls import Changes
from tests.oracle.streams import StreamOptions, make_stream

T = TypeVar("T")

CHANGES = Changes(settings=0, splits=5, quarantines=6, gaps=2, refreshes=4, max_events=16, idle_hours=24)
YEAR_3000_MS = 32_503_680_000_000
NOW = 1_700_000_000.0
VERSIONS = tuple(ScoredVersion(arm.label, arm.model_digest, arm.threshold) for arm in PRESENT.arms)
ARMS = {arm.model_digest: arm for arm in PRESENT.arms}


def request(job: str = "job", since_ms: int = 0, until_ms: int = YEAR_3000_MS) -> ScoreRequest:
    return ScoreRequest(job, since_ms, until_ms, VERSIONS)


def folded_lake(folder: Path, records: int) -> FoldWorld:
    """`ml_features` and `scores`, folded in several commits."""
    options = StreamOptions(seed=71, records=records, users=60, quiet_periods=0.002, changes=CHANGES)
    stream = make_stream(options)
    made = FoldWorld(folder, stream.records, stream.timeline)
    made.decide_online()
    made.ingest(made.end)
    made.fold(stretch_records=max(1, records // 3))
    return made


class FaultyTable:
    """The table `batch_scores`, each call a step of a plan."""

    def __init__(self, table: PositionedTable, plan: FaultPlan) -> None:
        self._table = table
        self._plan = plan
        self.name = table.name

    def create(self) -> None:
        self._step("create", self._table.create)

    def position(self, name: str) -> int | None:
        return self._step("position", lambda: self._table.position(name))

    def commit_with(self, key: str, value: str) -> Mapping[str, str] | None:
        return self._step("commit_with", lambda: self._table.commit_with(key, value))

    def write_files(self, rows: pa.Table) -> list[DataFile]:
        return self._step("write_files", lambda: self._table.write_files(rows))

    def commit(
        self, run_id: str, moves: Sequence[Move], files: Sequence[DataFile], facts: Mapping[str, str]
    ) -> int:
        return self._step("commit", lambda: self._table.commit(run_id, moves, files, facts))

    def _step(self, name: str, action: Callable[[], T]) -> T:
        return self._plan.step("lake", name, action)


class ScoringWorld:
    """One table `batch_scores` beside a folded lake; jobs come and go."""

    def __init__(self, lake: Path, scores: Path) -> None:
        self.lake = LakeLocation(lake.as_uri())
        self.table = PositionedTable(LakeLocation(scores.as_uri()), BATCH_SCORES, BATCH_SCORE_SCHEMA)
        self.scored_pieces = 0

    def period(self, wanted: ScoreRequest, version: int | None = None) -> PeriodRows:
        return PeriodRows(self.lake, ML_FEATURES, wanted.since_ms, wanted.until_ms, version)

    def job(
        self, wanted: ScoreRequest, faults: FaultPlan | None = None, progress: Progress = lambda _: None
    ) -> ScoreJob:
        """A new process; all of its I/O follows one plan. A piece has few files."""
        plan = faults or FaultPlan()
        table = FaultyTable(self.table, plan)

        def score_all(version: int, scored_at_ms: int, pieces: list[Piece]) -> Iterator[PieceReport]:
            for piece in pieces:
                self.scored_pieces += 1
                rows = plan.step("lake", "read", lambda: pinned(self.lake.url, wanted, version))
                models = [LoadedVersion(each, scorer(ARMS[each.digest])) for each in wanted.versions]
                yield score_piece(rows, table.write_files, models, piece, wanted.job, scored_at_ms)

        return ScoreJob(
            table,
            lambda: plan.step("lake", "open", lambda: self.period(wanted)),
            score_all,
            piece_rows=80,
            now=lambda: NOW,
            sleep=lambda _: None,
            progress=progress,
        )

    def places(self, job: str = "job") -> list[tuple[object, ...]]:
        """(partition, offset, model) of each row of a job, in order."""
        rows = self.table.read([("job_id", "=", job)], ["partition", "offset", "model"])
        return sorted(zip(*rows.select(["partition", "offset", "model"]).to_pydict().values(), strict=True))


@cache
def pinned(lake: str, wanted: ScoreRequest, version: int) -> PeriodRows:
    """A version never changes, and opening it takes longer than reading it: once for all jobs of the lake."""
    return PeriodRows(LakeLocation(lake), ML_FEATURES, wanted.since_ms, wanted.until_ms, version)


def scorer(arm: Arm) -> Callable[[NDArray[np.float32]], NDArray[np.float64]]:
    return lambda features: score_of(arm, features)
