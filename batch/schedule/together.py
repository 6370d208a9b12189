"""Two steps of a run at the same time.

Never: an error that nobody hears of.
"""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

logger = logging.getLogger(__name__)

A = TypeVar("A")
B = TypeVar("B")


def together(first: Callable[[], A], second: Callable[[], B]) -> tuple[A, B]:
    """What both give, once both have ended; `first` runs in a thread of its own.

    Raises:
        BaseException: the second's error, or else the first's; if both fail the first's is logged.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="batch step") as pool:
        running = pool.submit(first)
        try:
            done = second()
        except BaseException:
            failure = running.exception()
            if failure is not None:
                logger.exception("batch: a second step failed, too", exc_info=failure)
            raise
        return running.result(), done
