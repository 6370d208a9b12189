"""Scores a micro-batch under one split: each row by the model of its user's arm.

The same class runs in the Serve replica, in a partition's local fallback and in a replay, so scores
are equal everywhere.

Never: choosing a split, reading files, a network call.
"""

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ray_fraud.domain.model import ModelRefused
from ray_fraud.domain.scores import Scores
from ray_fraud.domain.split import Split
from ray_fraud.scoring.model import Model


class TimedScores(NamedTuple):
    """Scores and what they cost."""

    scores: Scores
    arm_seconds: tuple[float, ...]
    """Of each arm of the split: time spent on its rows; 0 without any. Empty: not known."""


class SplitScorer:
    """A split together with the models of its arms; safe from several threads."""

    def __init__(self, split: Split, models: Mapping[str, Model]) -> None:
        """`models` by digest; it must hold the model of every arm, and may hold more.

        Raises:
            ModelRefused: the model of an arm is not among `models`.
        """
        for arm in split.arms:
            if arm.model_digest not in models:
                raise ModelRefused(arm.label, f"its model {arm.model_digest} is not loaded; load it first")
        self.split = split
        self._models = [models[arm.model_digest] for arm in split.arms]

    def score(self, user_ids: NDArray[np.int64], features: NDArray[np.float32]) -> Scores:
        """Scores and arms of n rows.

        Args:
            user_ids: shape (n,), whose arm decides which model scores the row.
            features: shape (n, len(FEATURES)), NaN where missing.

        A split without arms gives NaN everywhere.
        """
        return self.score_timed(user_ids, features).scores

    def score_timed(
        self,
        user_ids: NDArray[np.int64],
        features: NDArray[np.float32],
        monotonic: Callable[[], float] = time.perf_counter,
    ) -> TimedScores:
        """As `score`, with the seconds that each arm's model took; they change no score."""
        if len(user_ids) != len(features):
            raise ValueError(f"{len(user_ids)} user ids for {len(features)} rows of features")
        if not self._models:
            return TimedScores(Scores(np.full(len(user_ids), np.nan), np.zeros(len(user_ids), np.uint8)), ())
        arms = self.split.arm_of(user_ids)
        if len(self._models) == 1:
            began = monotonic()
            values = self._models[0].score(features)
            return TimedScores(Scores(values, arms), (monotonic() - began,))
        values = np.empty(len(user_ids))
        seconds = [0.0] * len(self._models)
        for index, model in enumerate(self._models):
            rows = np.flatnonzero(arms == index)
            if len(rows):
                began = monotonic()
                values[rows] = model.score(features[rows])
                seconds[index] = monotonic() - began
        return TimedScores(Scores(values, arms), tuple(seconds))

    def explain(self, arm: int, features: NDArray[np.float32]) -> NDArray[np.float64] | None:
        """What pushed the score that an arm's model gave one row; see `Model.explain`."""
        return self._models[arm].explain(features)
