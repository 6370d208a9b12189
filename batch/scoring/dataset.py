"""The pieces of a plan by Ray Data: a task per piece reads, scores, writes files, and gives its report.

Rows never pass the driver. Tasks run in worker processes of their own, with low priority.

Never: a row of the table as a row of the dataset.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial

import msgspec
import numpy as np
from numpy.typing import NDArray

from batch.ray_data import answers_of
from batch.scoring.config import ScoreConfig
from batch.scoring.plan import Piece, ScoreRequest
from batch.scoring.score import LoadedVersion, PieceReport, score_piece
from ray_fraud.scoring.model import Model
from ray_fraud.stores.connections import LakeLocation, from_json, to_json
from ray_fraud.stores.tables.feature_columns import BATCH_SCORE_SCHEMA, BATCH_SCORES, ML_FEATURES
from ray_fraud.stores.tables.period import PeriodRows
from ray_fraud.stores.tables.positioned import PositionedTable
from serve.config import ScorerConfig

KEPT_MODELS = 16
"""Versions that a worker process keeps loaded."""


class Task(msgspec.Struct, frozen=True):
    """What all tasks of a job are told."""

    config: ScoreConfig
    request: ScoreRequest
    source_version: int
    scored_at_ms: int


def one_piece(piece: Piece, packed: bytes) -> bytes:
    """In a worker process: one piece, from its rows to its report."""
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
    return msgspec.json.encode(report)


@lru_cache(maxsize=KEPT_MODELS)
def _loaded(config: bytes, digest: str) -> Callable[[NDArray[np.float32]], NDArray[np.float64]]:
    where = from_json(config, ScoreConfig)
    files = ScorerConfig(lake=where.lake, cache_folder=where.model_cache).model_files()
    return Model(*files.load(digest)).score


def batch_scores_of(lake: LakeLocation) -> PositionedTable:
    return PositionedTable(lake, BATCH_SCORES, BATCH_SCORE_SCHEMA)


def score_pieces(task: Task, pieces: Sequence[Piece]) -> Iterator[PieceReport]:
    """Scores and writes all pieces; their reports, as they come. Needs a connection to Ray.

    Raises:
        StoreError: a task's own, or `StoreUnavailable` if tasks died however often they were repeated.
        RayTaskError: a task failed; its cause is the error, like `ModelRefused`.
    """
    return reports_by(partial(one_piece, packed=to_json(task)), pieces, task.config.tasks)


def reports_by(work: Callable[[Piece], bytes], pieces: Sequence[Piece], tasks: int) -> Iterator[PieceReport]:
    """What `work`, in worker processes, reports; see `score_pieces`."""
    for answer in answers_of(work, pieces, tasks):
        yield msgspec.json.decode(answer, type=PieceReport)
