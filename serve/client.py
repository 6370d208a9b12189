"""A partition's way to scores: the Serve scorer, or this process when Serve is slow or down.

Both run the same class on the same files, so the scores are equal and only `degraded` tells them apart.

Never: a wait beyond the timeout, a score under another split than the one asked for.
"""

import logging
import time
from collections.abc import Callable
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from ray_fraud.domain.features import FEATURE_COUNT, MISSING
from ray_fraud.domain.split import Split
from ray_fraud.scoring.scored_batch import ScoredBatch
from ray_fraud.scoring.split_scorer import TimedScores
from serve.answer import AnswerMalformed, UnknownSplit
from serve.breaker import BreakerState, CircuitBreaker
from serve.config import ScorerConfig, ScoringMode
from serve.loaded_splits import LoadedSplits
from serve.remote import RemoteScorer, ServeScorer

logger = logging.getLogger(__name__)

REHEARSED_ROWS = 64
"""Made-up rows that a new split scores first: enough users that every arm of some weight gets one."""


class ScorerClient:
    """Scores micro-batches; `score` blocks and is safe from several threads."""

    def __init__(
        self,
        local: LoadedSplits,
        remote: RemoteScorer | None,
        *,
        mode: ScoringMode | None = None,
        breaker: CircuitBreaker | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`remote` None: every batch is scored here, which is then not degraded."""
        self._local = local
        self._remote = remote
        self._mode = mode or ScoringMode()
        self._breaker = breaker or CircuitBreaker()
        self._monotonic = monotonic
        self._answered_once = False
        self._prepared: str | None = None
        """Digest of the split that both ends were made ready for last."""

    @property
    def breaker_state(self) -> BreakerState:
        """For the health of `serve`."""
        return self._breaker.state

    def prepare(self, split: Split) -> None:
        """Make every model of `split` ready here and, if it answers, in the scorer.

        Ready means: has scored, and here explained, made-up rows, because first calls are slow. Call it
        before the first batch under that split, from a thread that has time; again, it costs nothing.

        Raises:
            ModelMissing, ModelRefused, StoreUnavailable: as `ModelFiles.load`.
        """
        scorer = self._local.load(split)
        if split.arms and split.digest != self._prepared:
            user_ids = np.arange(REHEARSED_ROWS)
            features = np.full((REHEARSED_ROWS, FEATURE_COUNT), MISSING, np.float32)
            scorer.score(user_ids, features)
            for arm in range(len(split.arms)):
                scorer.explain(arm, features[0])
            timeout = self._mode.timeout if self._answered_once else self._mode.warm_up_timeout
            if self._remote is None or self._ask(split, user_ids, features, timeout) is not None:
                self._prepared = split.digest

    def score(self, split: Split, user_ids: NDArray[np.int64], features: NDArray[np.float32]) -> ScoredBatch:
        """Scores every row under `split`.

        Args:
            split: its digest goes with the call; both ends score under exactly this one.
            user_ids: shape (n,).
            features: shape (n, FEATURE_COUNT), NaN where missing.

        Raises:
            ModelMissing, ModelRefused, StoreUnavailable: Serve did not answer, and a model file cannot
                be loaded here either.
        """
        started = self._monotonic()
        answer = self._ask(split, user_ids, features, self._mode.timeout) if split.arms else None
        degraded = answer is None and self._remote is not None and bool(split.arms)
        if answer is None:
            answer = self._score_here(split, user_ids, features)
        return ScoredBatch(answer.scores, degraded, self._monotonic() - started, answer.arm_seconds)

    def explain(self, split: Split, arm: int, features: NDArray[np.float32]) -> NDArray[np.float64] | None:
        """What pushed the score of one row, by the model files of this process; see `SplitScorer.explain`.

        Never through Serve: only alerts ask, and no other partition's call should wait for that.

        Raises:
            ModelMissing, ModelRefused, StoreUnavailable: the split is no longer held and cannot be loaded.
        """
        return self._local.explain(split, arm, features)

    def _score_here(
        self, split: Split, user_ids: NDArray[np.int64], features: NDArray[np.float32]
    ) -> TimedScores:
        scorer = self._local.get(split.digest) or self._local.load(split)
        return scorer.score_timed(user_ids, features)

    def _ask(
        self, split: Split, user_ids: NDArray[np.int64], features: NDArray[np.float32], timeout: timedelta
    ) -> TimedScores | None:
        """The scorer's answer, or None: there is none, it failed, or the circuit is open."""
        permit = self._breaker.permit(self._monotonic()) if self._remote is not None else None
        if permit is None:
            return None
        try:
            answer = self._call(split, user_ids.tobytes(), features.tobytes(), len(user_ids), timeout)
        except Exception as error:  # noqa: BLE001 - whatever Serve raises, this batch is scored here
            logger.warning("scorer did not answer, scoring locally: %s: %s", type(error).__name__, error)
            self._breaker.failed(permit, self._monotonic())
            return None
        self._breaker.succeeded(permit)
        self._answered_once = True
        return answer

    def _call(
        self, split: Split, user_ids: bytes, features: bytes, rows: int, timeout: timedelta
    ) -> TimedScores:
        assert self._remote is not None  # noqa: S101 - narrowed by the permit
        started = self._monotonic()
        answer = self._remote.call(split.digest, user_ids, features, None, timeout)
        if isinstance(answer, UnknownSplit):
            left = timeout - timedelta(seconds=self._monotonic() - started)
            answer = self._remote.call(split.digest, user_ids, features, split.canonical(), left)
        if isinstance(answer, UnknownSplit):
            raise AnswerMalformed(f"split {answer.digest} is unknown even with its content")
        return TimedScores(answer.scores(rows), answer.arm_seconds)


def open_scorer_client(config: ScorerConfig, mode: ScoringMode) -> ScorerClient:
    """A client with this node's copies of the model files; it needs Ray only if `mode.serve`.

    Serve may come up later: until then batches are scored here, degraded.
    """
    return ScorerClient(
        LoadedSplits(config.model_files()), _serve_scorer() if mode.serve else None, mode=mode
    )


def _serve_scorer() -> RemoteScorer:
    from serve.deploy import scorer_handle  # here: scoring in this process needs no Ray

    return ServeScorer(scorer_handle)
