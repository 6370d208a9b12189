"""Repeating what lost against another commit, or met a lake that did not answer.

Never: for ever; for what can never work.
"""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

import tenacity

from ray_fraud.stores.errors import SlowDown, StoreUnavailable

logger = logging.getLogger(__name__)

T = TypeVar("T")

ATTEMPTS = 6
"""An ingest commits every few minutes and care a few times a day: who loses six times meets something
else."""


def patiently(what: Callable[[], T], sleep: Callable[[float], None] = time.sleep) -> T:
    """`what`, opened anew each time: a handle judges conflicts from the version it was loaded at.

    Raises:
        StoreUnavailable, SlowDown: of the last attempt.
    """
    for attempt in tenacity.Retrying(
        retry=tenacity.retry_if_exception_type((StoreUnavailable, SlowDown)),
        wait=tenacity.wait_random_exponential(multiplier=0.2, max=10),
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        sleep=sleep,
        before_sleep=lambda state: logger.info("lake: again soon: %s", state.outcome),
        reraise=True,
    ):
        with attempt:
            return what()
    raise AssertionError("tenacity ended without a result")
