"""A step that is repeated while its store is unavailable, with a limit and a jitter.

Never: a step that may not be repeated as it is.
"""

import logging
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import tenacity

from ray_fraud.stores.errors import SlowDown, StoreUnavailable

logger = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE = timedelta(minutes=2)


def repeated(what: str, step: Callable[[], T], sleep: Callable[[float], None] = time.sleep) -> T:
    """The step's result.

    Raises:
        StoreUnavailable, SlowDown: it did not work in time.
        StoreError: it can never work as it is.
    """
    for attempt in tenacity.Retrying(
        retry=tenacity.retry_if_exception_type((StoreUnavailable, SlowDown)),
        wait=tenacity.wait_random_exponential(multiplier=0.2, max=10),
        stop=tenacity.stop_after_delay(PATIENCE.total_seconds()),
        sleep=sleep,
        before_sleep=lambda state: logger.warning("%s, again soon: %s", what, state.outcome),
        reraise=True,
    ):
        with attempt:
            return step()
    raise AssertionError("tenacity ended without a result")
