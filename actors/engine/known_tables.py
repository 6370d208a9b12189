"""The feature tables of one partition: read when an event that names them is due, the last few are kept.

A timeline may name thousands, since each refresh makes new ones; a fold needs one at a time.

Never: more than `KEPT` in memory.
"""

from collections.abc import Iterator, Mapping

from ray_fraud.domain.feature_tables import FeatureTables
from ray_fraud.stores.feature_tables.parts import TableReader
from ray_fraud.stores.feature_tables.port import FeatureTableFiles

KEPT = 3
"""Those that hold, those that a new event will name, and one between."""


class KnownTables(Mapping[str, FeatureTables]):
    """By digest; looking up reads what is not kept (reading thread only)."""

    def __init__(self, files: FeatureTableFiles) -> None:
        self._reader = TableReader(files)
        self._kept: dict[str, FeatureTables] = {}

    def load(self, digest: str) -> FeatureTables:
        """The tables.

        Raises:
            StoreUnavailable: the lake does not answer and this node has no copy; try again.
            StoreRefused: the lake has no such file, or a damaged one.
        """
        tables = self._kept.pop(digest, None)
        if tables is None:
            tables = self._reader.load(digest)
        self._kept[digest] = tables
        while len(self._kept) > KEPT:
            del self._kept[next(iter(self._kept))]
        return tables

    def __getitem__(self, digest: str) -> FeatureTables:
        return self.load(digest)

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)
