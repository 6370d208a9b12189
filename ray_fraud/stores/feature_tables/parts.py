"""Feature tables as the files of a store: put whole, loaded by the digest of their first file.

Never: a first file that names a second one which is not there yet.
"""

from functools import lru_cache

import msgspec

from ray_fraud.domain.feature_tables import FeatureTables, ProfileTable
from ray_fraud.stores.feature_tables.encoding import (
    Risks,
    TableFacts,
    decode_profiles,
    decode_risks,
    encode_profiles,
    encode_risks,
)
from ray_fraud.stores.feature_tables.port import FeatureTableFiles

KEPT_PROFILES = 2
"""Of which the tables of many verdicts share one."""


class Parts(msgspec.Struct, frozen=True):
    """Contents that belong together, by digest; the last one names the tables."""

    contents: dict[str, bytes]
    digest: str


def put_tables(files: FeatureTableFiles, tables: FeatureTables, facts: TableFacts) -> Parts:
    """Stores tables; profiles are written only if no earlier tables had the same.

    Args:
        files: where to.
        tables: all of them.
        facts: what they were made of; the profiles' digest is filled in.

    Raises:
        StoreError: nothing is named that is not there; put them again.
    """
    contents: dict[str, bytes] = {}
    profiles = None
    if len(tables.profiles.user_ids):
        content = encode_profiles(tables.profiles)
        profiles = files.put(content)
        contents[profiles] = content
    content = encode_risks(tables.merchants, tables.users, msgspec.structs.replace(facts, profiles=profiles))
    digest = files.put(content)
    return Parts(contents | {digest: content}, digest)


class TableReader:
    """Loads tables by digest; those that name the same profiles share them."""

    def __init__(self, files: FeatureTableFiles) -> None:
        self._files = files
        self._profiles = lru_cache(maxsize=KEPT_PROFILES)(self._load_profiles)

    def load(self, digest: str) -> FeatureTables:
        """The tables.

        Raises:
            TablesMissing: one of the two files is not there.
            StoreDamaged: a file is not what its digest names, or no tables.
            StoreUnavailable: try again.
        """
        risks = self.risks(digest)
        profiles = ProfileTable() if risks.facts.profiles is None else self._profiles(risks.facts.profiles)
        return FeatureTables(risks.merchants, risks.users, profiles)

    def risks(self, digest: str) -> Risks:
        """The first file only; raises as `load`."""
        return decode_risks(self._files.load(digest))

    def _load_profiles(self, digest: str) -> ProfileTable:
        return decode_profiles(self._files.load(digest))
