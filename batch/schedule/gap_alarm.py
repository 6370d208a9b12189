"""Alarms of what the lake lacks: gauges of all gaps of the log and unwritable records that are on record.

Never: one that waits for a run that gets through.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ray_fraud.domain.loss_metrics import LOG_GAPS, UNWRITABLE_RECORDS
from ray_fraud.stores.errors import StoreError
from ray_fraud.stores.tables.port import TransactionTable
from ray_fraud.telemetry.meter import Meter


@contextmanager
def losses_told(table: TransactionTable, meter: Meter) -> Iterator[None]:
    """Sets the gauges behind an ingest, also behind one that failed: it records losses before it commits.

    Raises:
        StoreError: the ingest's own, or else that of the look at what is on record.
    """
    try:
        yield
    except StoreError:
        with suppress(StoreError):
            _tell(table, meter)
        raise
    _tell(table, meter)


def _tell(table: TransactionTable, meter: Meter) -> None:
    meter.set(LOG_GAPS, len(table.gaps()))
    meter.set(UNWRITABLE_RECORDS, len(table.quarantined()))
