"""Keeping feature tables, and saying which are the newest.

Never: deciding from which offset tables hold (the owner of a partition does, by its timeline).
"""

from typing import Protocol

from ray_fraud.stores.errors import StoreRefused


class TablesMissing(StoreRefused):
    """No file has this digest: copy it back into the lake, from another node's cache if need be."""

    code = "feature_tables_missing"

    def __init__(self, store: str, digest: str) -> None:
        super().__init__(store, f"no feature tables {digest} under feature_tables/; copy the file there")
        self.args = (store, digest)
        self.digest = digest


class FeatureTableFiles(Protocol):
    """Immutable contents by digest. Calls block on I/O and are safe from several threads."""

    def put(self, content: bytes) -> str:
        """Store a content durably; its digest (SHA-256, hex). Storing it again changes nothing.

        Raises:
            StoreUnavailable: try again; nothing half-written is ever returned by `load`.
        """

    def load(self, digest: str) -> bytes:
        """The content, checked against its digest.

        Raises:
            TablesMissing: there is none.
            StoreDamaged: the file is not what the digest names.
            StoreUnavailable: try again.
        """

    def digests(self) -> dict[str, float]:
        """All there are, sound or not, and when each was written: unix seconds.

        Raises:
            StoreUnavailable: try again.
        """

    def remove(self, digest: str) -> None:
        """Take one away for good; one that is not there is no error.

        Raises:
            StoreUnavailable: it may be there or gone; try again.
        """


class FeatureTableCopies(FeatureTableFiles, Protocol):
    """Copies on a node. Of a copy `digests` tells when it was last used."""

    def touch(self, digest: str) -> None:
        """It was used just now; nothing happens if it cannot be told."""


class FeatureRefreshes(Protocol):
    """Which tables have been published, newest last."""

    def publish(self, digest: str) -> None:
        """Make these the newest; repeating the newest one changes nothing.

        Raises:
            StoreUnavailable: the result is unknown; repeat it.
        """

    def newest(self) -> str | None:
        """Digest of the newest tables; None before the first."""

    def close(self) -> None:
        """Repeating it is harmless."""
