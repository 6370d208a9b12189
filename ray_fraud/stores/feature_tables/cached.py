"""A node's copy of feature tables, so that a take-over needs no lake.

Never: answering from a copy that fails its digest.
"""

import logging

from ray_fraud.stores.errors import StoreError
from ray_fraud.stores.feature_tables.port import FeatureTableFiles, TablesMissing

logger = logging.getLogger(__name__)


class CachedFeatureTables:
    """`FeatureTableFiles` that reads `copies` first and fills it from `source`."""

    def __init__(self, source: FeatureTableFiles, copies: FeatureTableFiles) -> None:
        self._source = source
        self._copies = copies

    def put(self, content: bytes) -> str:
        digest = self._source.put(content)
        self.keep(content)
        return digest

    def load(self, digest: str) -> bytes:
        try:
            return self._copies.load(digest)
        except TablesMissing:
            pass
        except StoreError as error:
            logger.warning("local copy of feature tables %s not used: %s", digest, error)
        content = self._source.load(digest)
        self.keep(content)
        return content

    def keep(self, content: bytes) -> None:
        """Makes a copy; a full disk must not stop anything: without it the next start only needs the lake."""
        try:
            self._copies.put(content)
        except StoreError as error:
            logger.warning("no local copy of feature tables: %s", error)
