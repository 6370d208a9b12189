"""The care of feature tables with its real outside: PostgreSQL, Kafka, the lake.

Never: logic.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from datetime import timedelta

from batch.care.feature_tables import FeatureTablesReport, LeftAlone, Reach, prune_feature_tables
from batch.features.job import position_name
from batch.ingest.config import IngestConfig
from batch.ingest.run import log_bounds
from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.errors import StoreUnavailable
from ray_fraud.stores.feature_tables.lake import LakeFeatureTables
from ray_fraud.stores.feature_tables.postgres import PostgresFeatureRefreshes
from ray_fraud.stores.lake import lake_filesystem
from ray_fraud.stores.ledger.postgres import PostgresLedger
from ray_fraud.stores.ledger.postgres_session import PATIENT
from ray_fraud.stores.log.port import LogBounds
from ray_fraud.stores.tables.feature_columns import FEATURE_SCHEMA, ML_FEATURES
from ray_fraud.stores.tables.positioned import PositionedTable

NAME = "ray-fraud care"
"""In PostgreSQL's list of connections."""


def care_for_feature_tables(
    config: IngestConfig, retention: timedelta, now: float, *, dry_run: bool
) -> FeatureTablesReport:
    """See `prune_feature_tables`. `now`: unix seconds.

    Raises:
        StoreError: PostgreSQL, Kafka or the lake does not answer.
    """
    connections = config.connections
    with ExitStack() as stack:
        ledger = PostgresLedger(connections.postgres, name=NAME, limits=PATIENT)
        stack.callback(ledger.close)
        refreshes = PostgresFeatureRefreshes(connections.postgres, name=NAME, limits=PATIENT)
        stack.callback(refreshes.close)
        features = PositionedTable(connections.lake, ML_FEATURES, FEATURE_SCHEMA)
        # Positions and begins of logs only grow: what was read before a timeline is not too high for it.
        bounds = log_bounds(config)

        def reaches() -> Sequence[Reach]:
            return [_reach(ledger, features, bounds, owner.partition) for owner in ledger.owners()]

        return prune_feature_tables(
            LakeFeatureTables(*lake_filesystem(connections.lake)),
            refreshes,
            reaches,
            retention=retention,
            now=now,
            dry_run=dry_run,
        )


def care_where_reachable(
    config: IngestConfig, retention: timedelta, now: float, *, dry_run: bool
) -> FeatureTablesReport:
    """`care_for_feature_tables` for somebody who cannot know whether PostgreSQL and Kafka run now.

    Raises:
        LeftAlone: they do not answer.
        StoreError: the lake does not answer, or a server refuses.
    """
    try:
        # A PostgreSQL that is not there is noticed at once; Kafka's client waits for brokers.
        with closing(PostgresLedger(config.connections.postgres, name=NAME, limits=PATIENT)) as ledger:
            ledger.owners()
        return care_for_feature_tables(config, retention, now, dry_run=dry_run)
    except StoreUnavailable as error:
        if error.store == "lake":
            raise
        # Both are asked before anything is removed.
        raise LeftAlone(str(error)) from error


def _reach(
    ledger: PostgresLedger,
    features: PositionedTable,
    bounds: Mapping[PartitionId, LogBounds],
    partition: PartitionId,
) -> Reach:
    log = bounds.get(partition)
    return Reach(
        timeline=ledger.events(partition),
        log_start=None if log is None else log.start,
        position=features.position(position_name(partition)),
    )
