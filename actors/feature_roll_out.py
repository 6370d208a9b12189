"""Following the newest feature tables, and handing their content on through Ray's object store.

What PostgreSQL says is newest goes to every partition. A batch that has just made it also offers the content:
then one copy per node serves all partitions there, and the lake is not read. An offer that comes to nothing
loses nothing, since a partition without content reads the file.

Never: deciding from which offset tables hold (each owner does, by its timeline).
"""

import logging
from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import RayError

from ray_fraud.stores.errors import StoreError
from ray_fraud.stores.feature_tables.port import FeatureRefreshes

logger = logging.getLogger(__name__)

CALL_TIMEOUT_SECONDS = 5.0


class FeatureRollOut:
    """Driven by one thread; `offer` may come from any."""

    def __init__(self, refreshes: FeatureRefreshes) -> None:
        self._refreshes = refreshes
        self._offered: tuple[str, list[Any]] | None = None
        self.digest: str | None = None
        """Of the newest tables; None before the first."""

    def offer(self, digest: str, contents: list[Any]) -> None:
        """Says where the files of tables are that are about to be published: references to their bytes."""
        self._offered = digest, contents

    def look(self, owners: Sequence[Any]) -> None:
        """Tells all owners about tables that are newer than the last ones."""
        try:
            newest = self._refreshes.newest()
        except StoreError as error:
            logger.warning("supervisor: feature tables not refreshed, again soon: %s", error)
            return
        if newest is None or newest == self.digest:
            return
        # An owner that starts from here on is told by its constructor.
        self.digest = newest
        contents = []
        if self._offered is not None and self._offered[0] == newest:
            contents = self._offered[1]
        self._offered = None
        logger.info("supervisor: feature tables %s for %d owners", newest[:12], len(owners))
        calls = {owner.refresh.remote(newest, *contents): owner for owner in owners}
        ready, late = ray.wait(list(calls), num_returns=len(calls), timeout=CALL_TIMEOUT_SECONDS)
        for call in (*ready, *late):
            self._confirm(call, calls[call], newest)

    def _confirm(self, call: Any, owner: Any, digest: str) -> None:
        try:
            ray.get(call, timeout=0)
        except (RayError, TimeoutError) as error:
            # The content's process may have ended, or the owner: then its successor is told anyway.
            logger.warning("supervisor: an owner gets feature tables by file: %s", str(error).splitlines()[0])
            owner.refresh.remote(digest)
