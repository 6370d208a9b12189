"""The alarm of a gap in the log: the gauge of all that are on record.

Never: a gap that waits for a run that gets through.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from ray_fraud.domain import metrics
from ray_fraud.stores.errors import StoreError
from ray_fraud.stores.tables.port import LogGapRow
from ray_fraud.telemetry.meter import Meter


@contextmanager
def gaps_told(gaps: Callable[[], Sequence[LogGapRow]], meter: Meter) -> Iterator[None]:
    """Sets the gauge behind an ingest, also behind one that failed: it records gaps before it commits.

    Raises:
        StoreError: the ingest's own, or else that of `gaps`.
    """
    try:
        yield
    except StoreError:
        with suppress(StoreError):
            meter.set(metrics.LOG_GAPS, len(gaps()))
        raise
    meter.set(metrics.LOG_GAPS, len(gaps()))
