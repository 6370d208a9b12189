"""The splits that one process holds ready to score, and the models they share.

Never: an unbounded number of splits; a lookup that waits for another split's loading.
"""

import threading
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from ray_fraud.domain.split import Split
from ray_fraud.scoring.model import Model
from ray_fraud.scoring.split_scorer import SplitScorer
from ray_fraud.stores.models.port import ModelFiles

LIMIT = 64
"""Splits held; the least recently used one goes first and is loaded again when asked for."""


class LoadedSplits:
    """`SplitScorer`s by split digest; safe from several threads."""

    def __init__(self, files: ModelFiles, *, limit: int = LIMIT, explains: bool = True) -> None:
        """`explains` False: models are loaded to score only, which is a third of the work."""
        self._files = files
        self._explains = explains
        self._limit = limit
        self._held: OrderedDict[str, SplitScorer] = OrderedDict()
        self._models: dict[str, Model] = {}
        self._lock = threading.Lock()
        self._loading = threading.Lock()

    def get(self, digest: str) -> SplitScorer | None:
        """The scorer of a held split, or None. Never blocks on I/O."""
        with self._lock:
            scorer = self._held.get(digest)
            if scorer is not None:
                self._held.move_to_end(digest)
            return scorer

    def load(self, split: Split) -> SplitScorer:
        """The scorer of `split`, its models loaded first where they are not held. Blocks on I/O.

        Raises:
            ModelMissing, ModelRefused, StoreUnavailable: as `ModelFiles.load`; what was held stays.
        """
        digest = split.digest
        with self._loading:
            held = self.get(digest)
            if held is not None:
                return held
            wanted = {arm.model_digest for arm in split.arms}
            models = {each: self._models.get(each) or self._model(each) for each in wanted}
            scorer = SplitScorer(split, models)
            with self._lock:
                self._held[digest] = scorer
                while len(self._held) > self._limit:
                    self._held.popitem(last=False)
                live = {arm.model_digest for each in self._held.values() for arm in each.split.arms}
                self._models = {key: value for key, value in (self._models | models).items() if key in live}
            return scorer

    def _model(self, digest: str) -> Model:
        return Model(*self._files.load(digest), explains=self._explains)

    def explain(self, split: Split, arm: int, features: NDArray[np.float32]) -> NDArray[np.float64] | None:
        """What pushed one row's score, see `SplitScorer.explain`; loads the split if it is not held.

        Raises:
            ModelMissing, ModelRefused, StoreUnavailable: as `load`.
        """
        return (self.get(split.digest) or self.load(split)).explain(arm, features)

    @property
    def digests(self) -> list[str]:
        """Digests of the held splits, the least recently used first."""
        with self._lock:
            return list(self._held)
