"""The pieces of a plan as a Ray Data dataset: read, score, write files, tell about them.

One read task per piece does all of it and gives one row, its report: rows never pass the driver. Tasks run in
worker processes of their own, with low priority.

Never: a row of the table as a row of the dataset.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial

import msgspec
import numpy as np
import pyarrow as pa
import ray.data
from numpy.typing import NDArray
from ray.data import DataContext, Datasource, ReadTask
from ray.data.block import BlockMetadata

from batch.ray_data import few_tasks, quiet_ray_data
from batch.scoring.config import ScoreConfig
from batch.scoring.plan import Piece, ScoreRequest
from batch.scoring.score import LoadedVersion, PieceReport, score_piece
from ray_fraud.scoring.model import Model
from ray_fraud.stores.connections import LakeLocation, from_json, to_json
from ray_fraud.stores.tables.feature_columns import BATCH_SCORE_SCHEMA, BATCH_SCORES, ML_FEATURES
from ray_fraud.stores.tables.period import PeriodRows
from ray_fraud.stores.tables.positioned import PositionedTable
from serve.config import ScorerConfig

REPORT_BYTES = 20_000
"""Of one piece's report, roughly."""
KEPT_MODELS = 16
"""Versions that a worker process keeps loaded."""
_REPORT = "report"


class Task(msgspec.Struct, frozen=True):
    """What all tasks of a job are told."""

    config: ScoreConfig
    request: ScoreRequest
    source_version: int
    scored_at_ms: int


class ScorePieces(Datasource):
    """One read task per piece."""

    def __init__(self, task: Task, pieces: Iterable[Piece]) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # Ray Data's
        self._task = to_json(task)
        self._pieces = list(pieces)

    def estimate_inmemory_data_size(self) -> int:
        return len(self._pieces) * REPORT_BYTES

    def get_read_tasks(
        self,
        parallelism: int,  # noqa: ARG002 - a piece is a task, however many Ray Data would like
        per_task_row_limit: int | None = None,
        data_context: DataContext | None = None,  # noqa: ARG002
    ) -> list[ReadTask]:
        metadata = BlockMetadata(num_rows=1, size_bytes=REPORT_BYTES, input_files=None, exec_stats=None)
        return [
            ReadTask(partial(_score, self._task, piece), metadata, None, per_task_row_limit)
            for piece in self._pieces
        ]


def _score(packed: bytes, piece: Piece) -> Iterator[pa.Table]:
    """In a worker process: one piece as one row."""
    task = from_json(packed, Task)
    lake, request = task.config.lake, task.request
    report = score_piece(
        PeriodRows(lake, ML_FEATURES, request.since_ms, request.until_ms, task.source_version),
        batch_scores_of(lake).write_files,
        [
            LoadedVersion(version, _loaded(to_json(task.config), version.digest))
            for version in request.versions
        ],
        piece,
        request.job,
        task.scored_at_ms,
    )
    yield pa.table({_REPORT: [msgspec.json.encode(report)]})


@lru_cache(maxsize=KEPT_MODELS)
def _loaded(config: bytes, digest: str) -> Callable[[NDArray[np.float32]], NDArray[np.float64]]:
    where = from_json(config, ScoreConfig)
    files = ScorerConfig(lake=where.lake, cache_folder=where.model_cache).model_files()
    return Model(*files.load(digest)).score


def batch_scores_of(lake: LakeLocation) -> PositionedTable:
    return PositionedTable(lake, BATCH_SCORES, BATCH_SCORE_SCHEMA)


def score_pieces(task: Task, pieces: list[Piece]) -> Iterator[PieceReport]:
    """Scores and writes all pieces; their reports, as they come. Needs a connection to Ray.

    Raises:
        RayError: a task failed; its cause is the store's own error.
    """
    quiet_ray_data()
    resources = few_tasks(task.config.tasks, len(pieces))
    dataset = ray.data.read_datasource(
        ScorePieces(task, pieces), override_num_blocks=len(pieces), **resources
    )
    for row in dataset.iter_rows():
        yield msgspec.json.decode(row[_REPORT], type=PieceReport)
