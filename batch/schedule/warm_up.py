"""Starting a batch's processes before the first batch needs them: that takes about as long as half a batch.

Never: a failure that matters; the next batch starts what is missing.
"""

import logging
import os
import time
from importlib import import_module

import ray

from batch.ray_data import answers_of

logger = logging.getLogger(__name__)

NEEDED = ("batch.ingest.dataset", "batch.patterns.dataset", "batch.features.run")
"""What the tasks of a batch import."""
HOLD_SECONDS = 1.0
"""A process that is ready waits this long, so that the next piece most likely goes to another one."""


def warm_up(processes: int) -> set[int]:
    """Starts up to so many worker processes, which Ray keeps for a while, with everything imported.

    Nothing without a connection to Ray, which would begin a cluster of its own.

    Returns:
        Process ids of those that are ready; none if that failed.
    """
    if not ray.is_initialized():
        return set()
    began = time.monotonic()
    try:
        ready = {int(pid) for pid in answers_of(_get_ready, range(processes), processes)}
    except Exception as error:  # noqa: BLE001 - batches must go on; what is really wrong they tell themselves
        logger.warning("batch: processes not started ahead: %s: %s", type(error).__name__, error)
        return set()
    logger.info("batch: %d processes ready after %.1f s", len(ready), time.monotonic() - began)
    return ready


def _get_ready(_: int) -> bytes:
    for name in NEEDED:
        import_module(name)
    time.sleep(HOLD_SECONDS)
    return str(os.getpid()).encode()
