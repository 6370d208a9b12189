"""The feature tables that one partition has loaded: those that its timeline needs, no others.

Never: a read from the outside while records are folded.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping

from ray_fraud.domain.feature_tables import FeatureTables
from ray_fraud.stores.feature_tables.parts import TableReader
from ray_fraud.stores.feature_tables.port import FeatureTableFiles

logger = logging.getLogger(__name__)


class KnownTables(Mapping[str, FeatureTables]):
    """By digest. `load` may be called from one thread while another looks up."""

    def __init__(self, files: FeatureTableFiles) -> None:
        self._reader = TableReader(files)
        self._loaded: dict[str, FeatureTables] = {}

    def load(self, digest: str) -> None:
        """Makes tables known; nothing happens if they are.

        Raises:
            StoreUnavailable: the lake does not answer and this node has no copy; try again.
            StoreRefused: the lake has no such file, or a damaged one.
        """
        if digest not in self._loaded:
            self._loaded[digest] = self._reader.load(digest)

    def keep_only(self, digests: Iterable[str]) -> None:
        """Forgets all others."""
        kept = set(digests)
        for digest in [digest for digest in self._loaded if digest not in kept]:
            del self._loaded[digest]

    def __getitem__(self, digest: str) -> FeatureTables:
        return self._loaded[digest]

    def __iter__(self) -> Iterator[str]:
        return iter(self._loaded)

    def __len__(self) -> int:
        return len(self._loaded)
