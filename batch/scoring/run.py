"""A scoring job with its real outside: the lake, Ray Data.

Never: logic.
"""

from collections.abc import Iterator

from ray.exceptions import RayTaskError

from batch.imported.records import imported_files, rows_without_features
from batch.scoring.config import ScoreConfig
from batch.scoring.dataset import Task, batch_scores_of, score_pieces
from batch.scoring.job import Progress, ScoreJob, ScoreReport
from batch.scoring.plan import Piece, ScoreRequest
from batch.scoring.score import PieceReport
from ray_fraud.domain.model import ModelRefused
from ray_fraud.stores.tables.delta import DeltaTransactions
from ray_fraud.stores.tables.feature_columns import FEATURE_SCHEMA, ML_FEATURES
from ray_fraud.stores.tables.period import PeriodRows
from ray_fraud.stores.tables.positioned import PositionedTable


def run_score(config: ScoreConfig, request: ScoreRequest, progress: Progress = lambda _: None) -> ScoreReport:
    """One job; needs a connection to Ray.

    Raises:
        ScoreRefused, StoreError: as `ScoreJob.run`; a task that was lost for good is `StoreUnavailable`.
        ModelRefused: a version's file is damaged, or this release cannot run it.
    """

    def score_all(version: int, scored_at_ms: int, pieces: list[Piece]) -> Iterator[PieceReport]:
        try:
            yield from score_pieces(Task(config, request, version, scored_at_ms), pieces)
        except RayTaskError as error:
            if isinstance(error.cause, ModelRefused):
                raise error.cause from error
            raise

    return ScoreJob(
        batch_scores_of(config.lake),
        lambda: PeriodRows(config.lake, ML_FEATURES, request.since_ms, request.until_ms),
        score_all,
        progress=progress,
        without_features=lambda: _without_features(config, request),
    ).run(request)


def _without_features(config: ScoreConfig, request: ScoreRequest) -> int:
    transactions = DeltaTransactions(config.lake)
    features = PositionedTable(config.lake, ML_FEATURES, FEATURE_SCHEMA)
    files = imported_files(transactions.view(), features.position)
    return rows_without_features(transactions, files, request.since_ms, request.until_ms)
