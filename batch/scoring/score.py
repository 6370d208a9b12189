"""One piece: rows of the period, scored by every version, written, and told about.

    rows of the files → every version's scores → data files → counts

Never: a commit; a score that another code than the hot path's model gave.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from batch.features.rows import feature_matrix
from batch.scoring.counts import ModelCounts, by_model, counted
from batch.scoring.plan import Piece, ScoredVersion
from ray_fraud.domain.features import FEATURE_NAMES
from ray_fraud.stores.tables.columns import PARTITION_COLUMN
from ray_fraud.stores.tables.feature_columns import BATCH_SCORE_SCHEMA, RECORD_COLUMNS
from ray_fraud.stores.tables.port import DataFile

BATCH_ROWS = 50_000
"""Rows scored at a time."""
FILE_ROWS = 500_000
"""Scores that are written together: of a piece with two versions, one file per event date."""
COLUMNS = [*RECORD_COLUMNS, *FEATURE_NAMES]
_US_PER_MS = 1_000


class ReadRows(Protocol):
    """Rows of one version of the table, see `ray_fraud.stores.tables.period`."""

    def read(
        self, paths: Sequence[str], columns: Sequence[str], batch_rows: int
    ) -> Iterator[tuple[str, pa.Table]]: ...


class LoadedVersion(NamedTuple):
    version: ScoredVersion
    score: Callable[[NDArray[np.float32]], NDArray[np.float64]]
    """Rows of the catalogue, shape (n, len(FEATURES)), NaN where missing; scores of shape (n,)."""


class PieceReport(msgspec.Struct, frozen=True):
    """What became of a piece; its files wait for the commit."""

    rows_by_path: dict[str, int]
    """Rows of the period, of every file of the piece."""
    models: list[ModelCounts]
    files: list[DataFile]


def score_piece(
    rows: ReadRows,
    write: Callable[[pa.Table], list[DataFile]],
    models: Sequence[LoadedVersion],
    piece: Piece,
    job: str,
    scored_at_ms: int,
) -> PieceReport:
    """Scores one piece.

    Args:
        write: of the table `batch_scores`; nothing sees the files yet.
        scored_at_ms: unix milliseconds, the same for all rows of a job.

    Raises:
        StoreError: the lake did not answer; begin the piece anew.
    """
    seen = dict.fromkeys(piece.paths, 0)
    counts: list[ModelCounts] = []
    files: list[DataFile] = []
    waiting: list[pa.Table] = []
    for path, part in rows.read(piece.paths, COLUMNS, BATCH_ROWS):
        seen[path] += part.num_rows
        features = feature_matrix(part)
        for model in models:
            scores = model.score(features)
            waiting.append(_score_rows(part, model.version, scores, job, scored_at_ms))
            days = part[PARTITION_COLUMN].to_numpy().astype("datetime64[D]")
            counts.append(counted(model.version.label, scores, scores > model.version.threshold, days))
        if sum(table.num_rows for table in waiting) >= FILE_ROWS:
            files += write(_one(waiting))
            waiting = []
    if waiting:
        files += write(_one(waiting))
    return PieceReport(seen, list(by_model(counts).values()), files)


def _score_rows(
    rows: pa.Table, version: ScoredVersion, scores: NDArray[np.float64], job: str, scored_at_ms: int
) -> pa.Table:
    count = rows.num_rows
    at = pa.scalar(scored_at_ms * _US_PER_MS, BATCH_SCORE_SCHEMA.field("scored_at").type)
    known = {name: rows[name] for name in RECORD_COLUMNS} | {
        "model": pa.repeat(version.label, count),
        "model_digest": pa.repeat(version.digest, count),
        "score": pa.array(scores),
        "threshold": pa.repeat(version.threshold, count),
        "anomaly": pa.array(scores > version.threshold),
        "job_id": pa.repeat(job, count),
        "scored_at": pa.repeat(at, count),
    }
    return pa.table({name: known[name] for name in BATCH_SCORE_SCHEMA.names}, schema=BATCH_SCORE_SCHEMA)


def _one(parts: Iterable[pa.Table]) -> pa.Table:
    return pa.concat_tables(parts).combine_chunks()
