"""A node's copy of feature tables, so that a take-over needs no lake.

Never: answering from a copy that fails its digest; removing a copy that was used just now.
"""

import logging
import time
from collections.abc import Callable
from datetime import timedelta

from ray_fraud.stores.errors import StoreError
from ray_fraud.stores.feature_tables.port import FeatureTableCopies, FeatureTableFiles, TablesMissing

logger = logging.getLogger(__name__)

KEPT_COPIES = 8
"""The last used ones; a partition in steady state uses one."""
IN_USE = timedelta(days=1)
"""A copy that was used so recently stays, however many there are: a recovery may need dozens in a row."""


class CachedFeatureTables:
    """`FeatureTableFiles` that reads `copies` first and fills it from `source`."""

    def __init__(
        self, source: FeatureTableFiles, copies: FeatureTableCopies, now: Callable[[], float] = time.time
    ) -> None:
        """`now`: unix seconds."""
        self._source = source
        self._copies = copies
        self._now = now

    def put(self, content: bytes) -> str:
        digest = self._source.put(content)
        self.keep(content)
        return digest

    def load(self, digest: str) -> bytes:
        try:
            content = self._copies.load(digest)
            self._copies.touch(digest)
        except TablesMissing:
            pass
        except StoreError as error:
            logger.warning("local copy of feature tables %s not used: %s", digest, error)
        else:
            return content
        content = self._source.load(digest)
        self.keep(content)
        return content

    def digests(self) -> dict[str, float]:
        """Those of the source: a copy is nothing of its own."""
        return self._source.digests()

    def remove(self, digest: str) -> None:
        self._source.remove(digest)
        self._copies.remove(digest)

    def keep(self, content: bytes) -> None:
        """Makes a copy, and room for it.

        A full disk must not stop anything: without the copy the next start only needs the lake.
        """
        try:
            self._copies.touch(self._copies.put(content))
            self._make_room()
        except StoreError as error:
            logger.warning("no local copy of feature tables: %s", error)

    def _make_room(self) -> None:
        copies = self._copies.digests()
        newest_first = sorted(copies, key=lambda digest: copies[digest], reverse=True)
        unused_since = self._now() - IN_USE.total_seconds()
        for digest in newest_first[KEPT_COPIES:]:
            if copies[digest] < unused_since:
                self._copies.remove(digest)
