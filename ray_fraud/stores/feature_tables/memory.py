"""Feature tables in memory, for tests and simulation.

Never: a difference to the real ones that their common tests do not allow.
"""

from collections.abc import Callable

from ray_fraud.domain.canonical import content_digest
from ray_fraud.stores.faults import FaultPlan
from ray_fraud.stores.feature_tables.port import TablesMissing


class MemoryFeatureTables:
    """See `FeatureTableFiles`; each call is one I/O step of `faults`."""

    def __init__(
        self,
        contents: dict[str, bytes] | None = None,
        faults: FaultPlan | None = None,
        now: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`contents` may be shared by several stores. `now`: unix seconds."""
        self.contents: dict[str, bytes] = {} if contents is None else contents
        self.written: dict[str, float] = {}
        """When, by digest; what was there before counts as written at 0."""
        self._faults = FaultPlan() if faults is None else faults
        self._now = now

    def put(self, content: bytes) -> str:
        def action() -> str:
            digest = content_digest(content)
            if digest not in self.contents:
                self.contents[digest] = content
                self.written[digest] = self._now()
            return digest

        return self._faults.step("lake", "write_tables", action)

    def load(self, digest: str) -> bytes:
        def action() -> bytes:
            if digest not in self.contents:
                raise TablesMissing("lake", digest)
            return self.contents[digest]

        return self._faults.step("lake", "read_tables", action)

    def digests(self) -> dict[str, float]:
        def action() -> dict[str, float]:
            return {digest: self.written.get(digest, 0.0) for digest in self.contents}

        return self._faults.step("lake", "list_tables", action)

    def remove(self, digest: str) -> None:
        self._faults.step("lake", "remove_tables", lambda: self.contents.pop(digest, None))

    def touch(self, digest: str) -> None:
        if digest in self.contents:
            self.written[digest] = self._now()


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
