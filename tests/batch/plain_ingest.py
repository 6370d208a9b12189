"""An ingest of a log that nobody has decided: without PostgreSQL, all of it under the configured settings."""

from collections.abc import Callable, Iterable

from batch.ingest.config import IngestConfig
from batch.ingest.dataset import read_and_write
from batch.ingest.job import Ingest
from batch.ingest.manifest import Written
from batch.ingest.plan import Slice
from batch.ingest.run import log_bounds
from ray_fraud.stores.tables.delta import DeltaTransactions


def plain_ingest(
    config: IngestConfig, work: Callable[[list[Slice]], Iterable[Written]] | None = None
) -> Ingest:
    """`work` reads and writes slices; without one Ray Data's tasks do."""
    return Ingest(
        config,
        DeltaTransactions(config.connections.lake),
        lambda: log_bounds(config),
        work or (lambda slices: read_and_write(config, slices)),
    )
