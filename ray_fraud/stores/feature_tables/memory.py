"""Feature tables in memory, for tests and simulation.

Never: a difference to the real ones that their common tests do not allow.
"""

from ray_fraud.domain.canonical import content_digest
from ray_fraud.stores.faults import FaultPlan
from ray_fraud.stores.feature_tables.port import TablesMissing


class MemoryFeatureTables:
    """See `FeatureTableFiles`; each call is one I/O step of `faults`."""

    def __init__(self, contents: dict[str, bytes] | None = None, faults: FaultPlan | None = None) -> None:
        """`contents` may be shared by several stores."""
        self.contents: dict[str, bytes] = {} if contents is None else contents
        self._faults = FaultPlan() if faults is None else faults

    def put(self, content: bytes) -> str:
        def action() -> str:
            digest = content_digest(content)
            self.contents[digest] = content
            return digest

        return self._faults.step("lake", "write_tables", action)

    def load(self, digest: str) -> bytes:
        def action() -> bytes:
            if digest not in self.contents:
                raise TablesMissing("lake", digest)
            return self.contents[digest]

        return self._faults.step("lake", "read_tables", action)


class MemoryFeatureRefreshes:
    """See `FeatureRefreshes`."""

    def __init__(self) -> None:
        self._newest: str | None = None

    def publish(self, digest: str) -> None:
        self._newest = digest

    def newest(self) -> str | None:
        return self._newest

    def close(self) -> None:
        """Nothing is open."""
