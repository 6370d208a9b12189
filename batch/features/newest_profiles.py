"""Users' profiles as they were published last, for whoever judges by habits.

Never: a profile made anew (the refresher does it).
"""

import logging
from collections.abc import Callable
from contextlib import closing
from functools import partial

from batch.features.config import FeatureConfig
from batch.features.run import table_files
from ray_fraud.domain.feature_tables import ProfileTable
from ray_fraud.stores.connections import Connections, from_json, to_json
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.feature_tables.parts import TableReader
from ray_fraud.stores.feature_tables.postgres import PostgresFeatureRefreshes
from ray_fraud.stores.ledger.postgres_session import PATIENT

logger = logging.getLogger(__name__)


def newest_profiles(connections: Connections, config: FeatureConfig) -> Callable[[], ProfileTable]:
    """Gives them wherever it is called, a worker process too; none before the first were published.

    Raises:
        StoreUnavailable: PostgreSQL did not answer; what is returned raises it if the lake does not.
    """
    with closing(PostgresFeatureRefreshes(connections.postgres, limits=PATIENT)) as refreshes:
        digest = refreshes.newest()
    if digest is None:
        return ProfileTable
    return partial(_profiles, to_json(connections), to_json(config), digest)


def _profiles(connections: bytes, config: bytes, digest: str) -> ProfileTable:
    files = table_files(from_json(connections, Connections), from_json(config, FeatureConfig))
    try:
        return TableReader(files).load(digest).profiles
    except StoreRefused as error:
        # The refresher makes them anew; until then nobody's habits are known.
        logger.warning("features: no profiles of %s: %s", digest, error)
        return ProfileTable()
