"""What a process does for its latency before it starts to work.

Never: anything that changes a result.
"""

import gc
import sys

SWITCH_INTERVAL_SECONDS = 0.0003
"""Python's thread switch interval: with the default 5 ms each hand-over of a batch may cost that."""
COLLECT_AFTER = (50_000, 20, 50)
"""Thresholds of the collector: a full collection of a process with Ray in it stops all threads for tens
of milliseconds, and the values that flow through a batch have no cycles."""


def prepare_process() -> None:
    """Makes threads hand over sooner and takes what is loaded by now out of the collector's sight."""
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
