"""A scoring job with its real outside: the lake, Ray Data.

Never: logic.
"""

from collections.abc import Iterator

from ray.exceptions import RayTaskError

from batch.scoring.config import ScoreConfig
from batch.scoring.dataset import Task, batch_scores_of, score_pieces
from batch.scoring.job import Progress, ScoreJob, ScoreReport
from batch.scoring.plan import Piece, ScoreRequest
from batch.scoring.score import PieceReport
from ray_fraud.domain.model import ModelRefused
from ray_fraud.stores.tables.feature_columns import ML_FEATURES
from ray_fraud.stores.tables.period import PeriodRows


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
    ).run(request)
