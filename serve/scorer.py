"""The scorer's replica: holds every split that is live or was asked for lately, and scores batches.

A call names the split it wants, so during a change old and new are answered side by side and no call
can be scored by the wrong version.

Never: choosing a split, dropping the old set before the new one is built, an import of Ray (see `serve.app`).
"""

import asyncio
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from ray_fraud.domain.features import FEATURE_COUNT
from ray_fraud.domain.model import ModelRefused
from ray_fraud.domain.split import Split
from ray_fraud.stores.errors import StoreError
from serve.answer import ReplicaState, ScoreBytes, UnknownSplit
from serve.config import ScorerConfig
from serve.latency import prepare_process
from serve.loaded_splits import LoadedSplits

logger = logging.getLogger("ray.serve")


class Scorer:
    """Scores rows under a named split.

    Arrays travel as raw bytes (little-endian int64, float32, float64, uint8): the cheapest to pickle.
    """

    def __init__(self, config: ScorerConfig) -> None:
        self._splits = LoadedSplits(config.model_files(), explains=False)
        self._config = config.to_json()
        prepare_process()
        self._refused: dict[str, str] = {}

    async def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Make `user_config["splits"]` (canonical JSON each) ready; those already held stay.

        A split that cannot be loaded is left out and reported by `state`: raising would make Serve
        replace a replica that still answers for all others.
        """
        await self.hold(user_config["splits"])

    async def hold(self, contents: Sequence[str | bytes]) -> ReplicaState:
        """Make these splits (canonical JSON each) ready beside what is held; what is held afterwards.

        Unlike `reconfigure` it is a call as any other: Serve goes on routing to this replica meanwhile.
        """
        refused = {}
        for content in contents:
            split = msgspec.json.decode(content, type=Split)
            try:
                await asyncio.to_thread(self._splits.load, split)
            except (ModelRefused, StoreError) as error:
                refused[split.digest] = str(error)
                logger.warning("split %s not loaded: %s", split.digest, error)
        self._refused = refused
        return await self.state()

    async def score(
        self, digest: str, user_ids: bytes, features: bytes, content: bytes | None = None
    ) -> ScoreBytes | UnknownSplit:
        """Scores n rows under the split `digest`.

        Args:
            digest: of the split.
            user_ids: int64 (n,).
            features: float32 (n, FEATURE_COUNT).
            content: the split's canonical JSON; loads it if it is not held.

        Returns:
            `ScoreBytes`, or `UnknownSplit` if the split is not held: send it again with `content`.
        """
        scorer = self._splits.get(digest)
        if scorer is None:
            if content is None:
                return UnknownSplit(digest)
            scorer = await asyncio.to_thread(self._splits.load, msgspec.json.decode(content, type=Split))
        rows = np.frombuffer(features, np.float32).reshape(-1, FEATURE_COUNT)
        scores, seconds = scorer.score_timed(np.frombuffer(user_ids, np.int64), rows)
        return ScoreBytes(scores.values.tobytes(), scores.arms.tobytes(), seconds)

    async def state(self) -> ReplicaState:
        """What this replica holds."""
        return ReplicaState(os.getpid(), self._splits.digests, dict(self._refused), self._config)
