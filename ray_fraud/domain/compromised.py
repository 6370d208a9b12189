"""Which rows of a test are of cards that are known as compromised: finding those again is no merit.

Never: a fraud before its verdict is known.
"""

import numpy as np

from ray_fraud.domain.feature_tables import Bools, Ints
from ray_fraud.domain.windows import DAY_MS

_NEVER = np.iinfo(np.int64).max


def known_compromised(
    user_ids: Ints, event_ms: Ints, fraud: Bools, *, known_from_ms: int, delay_ms: int
) -> Bools:
    """The rows of users with a fraud that was known when the row's UTC day began, shape (n,).

    Known at the begin of a day are the frauds from `known_from_ms` on whose event time lies more than
    `delay_ms` before it: for a delay of 7 days those of the 8th day before and older ones. With a training
    period of 7 days that begins at `known_from_ms` and ends 7 days before the test this is the filter of
    "Reproducible Machine Learning for Credit Card Fraud Detection" (Le Borgne et al. 2022,
    `get_train_test_set`): all cards with a fraud in training, and on the k-th day of the test, from 0 on,
    those with a fraud up to the (k - 1)-th day after training. A longer training leaves out all cards with a
    fraud known from its begin on; if `known_from_ms` stays, the same cards go whatever the training.

    Args:
        user_ids, event_ms, fraud: of all rows, those to be judged and those before, shape (n,).
        known_from_ms: older frauds are forgotten, unix milliseconds.
        delay_ms: from a fraud to its verdict.
    """
    users, row_of = np.unique(user_ids, return_inverse=True)
    first_ms = np.full(len(users), _NEVER)
    counts = fraud & (event_ms >= known_from_ms)
    np.minimum.at(first_ms, row_of[counts], event_ms[counts])
    day_begins_ms = event_ms // DAY_MS * DAY_MS
    known: Bools = first_ms[row_of] < day_begins_ms - delay_ms
    return known
