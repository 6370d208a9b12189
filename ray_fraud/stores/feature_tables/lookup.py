"""Feature tables by digest, read when they are asked for: for replays, which may meet many.

Never: more than a few in memory.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache

from ray_fraud.domain.feature_tables import FeatureTables
from ray_fraud.stores.feature_tables.parts import TableReader
from ray_fraud.stores.feature_tables.port import FeatureTableFiles

KEPT = 4


class TablesFromFiles(Mapping[str, FeatureTables]):
    """Every digest that the files have; looking up raises what `FeatureTableFiles.load` does."""

    def __init__(self, files: FeatureTableFiles) -> None:
        self._load = lru_cache(maxsize=KEPT)(TableReader(files).load)

    def __getitem__(self, digest: str) -> FeatureTables:
        return self._load(digest)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0
