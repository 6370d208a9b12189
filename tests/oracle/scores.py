"""A pure, deterministic stand-in for a model, used by both sides of every comparison.

Never: reading features whose last bits may differ between two correct programs (distance, speed).
"""

import functools
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.oracle.values import arm_of, blake2b

EXACT_COLUMNS = (*range(15), 17, 18)
"""Of the folded features all but distance and speed, whose formula has a rounding of its own."""


@functools.lru_cache(maxsize=256)
def arms_of(split: str) -> tuple[str, list[dict[str, Any]]]:
    content = json.loads(split)
    return content["salt"], content["arms"]


def row_score(row: NDArray[np.float32], model: str) -> float:
    """A number in [0, 1) made of the row's bits and the model's name; missing counts as -1."""
    exact = row[list(EXACT_COLUMNS)]
    filled = np.where(np.isnan(exact), np.float32(-1), exact)
    digest = blake2b(filled.astype("<f4").tobytes() + model.encode(), 8)
    return float(int.from_bytes(digest, "little") / 2**64)


def score_row(split: str, user_id: int, row: NDArray[np.float32]) -> tuple[float, int] | None:
    """(score, arm) of one row under a split; None if it has no arms."""
    salt, arms = arms_of(split)
    if not arms:
        return None
    arm = arm_of(user_id, salt, [arm["share_bp"] for arm in arms])
    return row_score(row, f"{arms[arm]['model_name']}:{arms[arm]['version']}"), arm
