"""One commit to the table `transactions`, repeated while the lake is unavailable: its files are written.

Never: another append in the place of one whose reply was lost.
"""

import logging
import time
from collections.abc import Callable
from datetime import timedelta

import tenacity

from ray_fraud.stores.errors import SlowDown, StoreUnavailable
from ray_fraud.stores.tables.port import Append, TransactionTable

logger = logging.getLogger(__name__)

COMMIT_PATIENCE = timedelta(minutes=2)


def commit(table: TransactionTable, append: Append, sleep: Callable[[float], None] = time.sleep) -> int:
    """The new version.

    Raises:
        TableMoved: another one committed these offsets first.
        StoreError: the lake did not take it in time; whether it did at last is not known.
    """
    for attempt in tenacity.Retrying(
        retry=tenacity.retry_if_exception_type((StoreUnavailable, SlowDown)),
        wait=tenacity.wait_random_exponential(multiplier=0.2, max=10),
        stop=tenacity.stop_after_delay(COMMIT_PATIENCE.total_seconds()),
        sleep=sleep,
        before_sleep=lambda state: logger.warning("lake: commit, again soon: %s", state.outcome),
        reraise=True,
    ):
        with attempt:
            return table.append(append)
    raise AssertionError("tenacity ended without a result")
