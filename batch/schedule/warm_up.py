"""Starting a batch's processes before the first batch needs them: that takes about as long as half a batch.

Never: a failure that matters; the next batch starts what is missing.
"""

import logging
import time
from importlib import import_module

import ray
from ray.exceptions import RayError

from batch.ray_data import answers_of
from ray_fraud.stores.errors import StoreError

logger = logging.getLogger(__name__)

NEEDED = ("batch.ingest.dataset", "batch.patterns.dataset", "batch.features.run")
"""What the tasks of a batch import."""
HOLD_SECONDS = 1.0
"""A process that is ready waits this long, so that the next piece goes to another one."""


def warm_up(processes: int) -> None:
    """Starts so many worker processes, which Ray keeps for a while, with everything imported.

    Nothing without a connection to Ray, which would begin a cluster of its own.
    """
    if not ray.is_initialized():
        return
    began = time.monotonic()
    try:
        ready = sum(1 for _ in answers_of(_get_ready, range(processes), processes))
    except (StoreError, RayError) as error:
        logger.warning("batch: processes not started ahead: %s", str(error).splitlines()[0])
        return
    logger.info("batch: %d processes ready after %.1f s", ready, time.monotonic() - began)


def _get_ready(_: int) -> bytes:
    for name in NEEDED:
        import_module(name)
    time.sleep(HOLD_SECONDS)
    return b""
