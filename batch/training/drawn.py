"""The rows that a supervised fit learns from: every fraud, and legitimate rows drawn to a bound.

Beyond some tens per fraud, more legitimate rows cost time and teach nothing (King & Zeng 2001). Probabilities
are too high by the share that was drawn, which the calibration on rows as they come puts right.

Never: a row that judges; a fraud left out.
"""

import numpy as np

from batch.training.labelled import LabelledRows

LEGITIMATE_PER_FRAUD = 50


def drawn(rows: LabelledRows, legitimate_per_fraud: int, seed: int) -> LabelledRows:
    """The rows themselves if there are no more legitimate ones than that; the same draw for the same seed."""
    legitimate = np.flatnonzero(~rows.fraud)
    wanted = legitimate_per_fraud * int(rows.fraud.sum())
    if wanted == 0 or len(legitimate) <= wanted:
        return rows
    chosen = rows.fraud.copy()
    chosen[np.random.default_rng(seed).choice(legitimate, wanted, replace=False)] = True
    return rows.take(chosen)
