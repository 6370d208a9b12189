"""Scores of one micro-batch: what a scorer answers.

Never: model files, Serve handles; where the scores were computed does not matter here.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Scores:
    """One score per row, and the arm of the split whose model gave it."""

    values: NDArray[np.float64]
    """Shape (n,); higher is more anomalous."""
    arms: NDArray[np.uint8]
    """Shape (n,); index into `Split.arms`."""

    def __post_init__(self) -> None:
        if self.values.ndim != 1 or self.values.shape != self.arms.shape:
            raise ValueError(f"values {self.values.shape} and arms {self.arms.shape} must be (n,) and (n,)")

    def __len__(self) -> int:
        return len(self.values)
