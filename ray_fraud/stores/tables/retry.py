"""Repeating what lost against another commit, or met a lake that did not answer.

Never: for ever; for what can never work.
"""

import logging
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import tenacity
from tenacity.stop import stop_base

from ray_fraud.stores.errors import SlowDown, StoreUnavailable

logger = logging.getLogger(__name__)

T = TypeVar("T")

ATTEMPTS = 6
"""An ingest commits every few minutes and care a few times a day: who loses six times meets something
else."""
PATIENCE = timedelta(minutes=2)
"""For a commit whose files are written: giving up means to write them again."""


def patiently(what: Callable[[], T], sleep: Callable[[float], None] = time.sleep) -> T:
    """`what`, opened anew each time: a handle judges conflicts from the version it was loaded at.

    Raises:
        StoreUnavailable, SlowDown: of the last attempt.
    """
    return _repeated("lake", what, sleep, tenacity.stop_after_attempt(ATTEMPTS))


def repeated(what: str, step: Callable[[], T], sleep: Callable[[float], None] = time.sleep) -> T:
    """The step's result; it may be repeated as it is, and `what` names it in the log.

    Raises:
        StoreUnavailable, SlowDown: it did not work in time.
        StoreError: it can never work as it is.
    """
    return _repeated(what, step, sleep, tenacity.stop_after_delay(PATIENCE.total_seconds()))


def _repeated(what: str, step: Callable[[], T], sleep: Callable[[float], None], stop: stop_base) -> T:
    for attempt in tenacity.Retrying(
        retry=tenacity.retry_if_exception_type((StoreUnavailable, SlowDown)),
        wait=tenacity.wait_random_exponential(multiplier=0.2, max=10),
        stop=stop,
        sleep=sleep,
        before_sleep=lambda state: logger.warning("%s, again soon: %s", what, state.outcome),
        reraise=True,
    ):
        with attempt:
            return step()
    raise AssertionError("tenacity ended without a result")
