"""What the scorer's replica answers; crosses processes by pickle.

Never: numpy arrays (raw bytes are cheaper to pickle), model files.
"""

from typing import NamedTuple

import numpy as np

from ray_fraud.domain.scores import Scores


class AnswerMalformed(Exception):
    """An answer of the wrong length: the replica runs another release."""


class ScoreBytes(NamedTuple):
    """Scores of n rows."""

    values: bytes
    """float64 (n,)."""
    arms: bytes
    """uint8 (n,)."""
    arm_seconds: tuple[float, ...] = ()
    """As in `TimedScores`."""

    def scores(self, rows: int) -> Scores:
        """The scores as arrays of `rows` rows.

        Raises:
            AnswerMalformed: the answer is for another number of rows.
        """
        if len(self.values) != 8 * rows or len(self.arms) != rows:
            raise AnswerMalformed(
                f"{len(self.values)} + {len(self.arms)} bytes for {rows} rows, must be 8 + 1 each"
            )
        return Scores(np.frombuffer(self.values, np.float64), np.frombuffer(self.arms, np.uint8))


class UnknownSplit(NamedTuple):
    """The replica does not hold this split: send the call again with the split's content."""

    digest: str


class ReplicaState(NamedTuple):
    """What a replica holds."""

    pid: int
    splits: list[str]
    """Digests, the least recently used first."""
    refused: dict[str, str]
    """Why a split that it was last told to hold could not be loaded, by digest."""
    config: str = ""
    """The `ScorerConfig` that it was started with, as JSON."""
