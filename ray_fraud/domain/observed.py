"""What one micro-batch brought: plain data between the steps of the hot path.

Never: behaviour, sums apart.
"""

from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from ray_fraud.domain.alert import Alert
from ray_fraud.domain.rejection import DeadLetter
from ray_fraud.domain.rules import RuleHit
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.domain.split import Split
from ray_fraud.domain.transaction import Transaction
from ray_fraud.domain.watermark import Votes


@dataclass(slots=True)
class Counts:
    """How the records of one batch ended, and what else is counted about them."""

    processed: int = 0
    duplicates: int = 0
    rejected: int = 0
    quarantined: int = 0
    in_gap: int = 0
    """Inside a declared gap: somebody found the record after it had been given up."""
    id_reused: int = 0
    """Processed records whose transaction id the user's state holds under another payload."""
    late_beyond_state: int = 0
    """Processed records 24 h or more older than the user's newest."""
    expired_users: int = 0
    placeholder_locations: int = 0
    """Processed records whose location is lat = lon = 0, which means that it is unknown."""

    def add(self, more: "Counts") -> None:
        """Adds those of another batch to these."""
        for name in Counts.__slots__:
            setattr(self, name, getattr(self, name) + getattr(more, name))


class Row(msgspec.Struct, frozen=True, gc=False):
    """One processed record: a row of the feature matrix."""

    offset: int
    timestamp_ms: int
    """Kafka timestamp of the record."""
    transaction: Transaction
    digest: bytes
    """Payload digest, 16 bytes."""
    state: bytes
    """The user's state after this record."""
    hits: tuple[RuleHit, ...]
    """Broken rules that need no score."""


@dataclass(frozen=True, slots=True)
class Observed:
    """One micro-batch after the fold; under one split and one set of settings."""

    from_offset: int
    """The next offset when the batch began."""
    next_offset: int
    """All records below it are in the state, none at or above it."""
    rows: list[Row]
    features: NDArray[np.float32]
    """Shape (len(rows), len(FEATURES)); NaN is missing."""
    user_ids: NDArray[np.int64]
    """Shape (len(rows),)."""
    dead_letters: list[DeadLetter]
    changed: dict[int, bytes | None]
    """Newest state of every user that this batch changed; None for an expired one."""
    before: dict[int, bytes | None]
    """State of the same users before this batch; None for one that was not known."""
    watermark_ms: int
    votes: Votes
    split: Split
    settings: DetectionSettings
    counts: Counts = field(default_factory=Counts)
    duplicate_users: list[int] = field(default_factory=list)
    """Users of the accepted records that are duplicates, one entry per record."""
    user_texts: dict[int, str] = field(default_factory=dict)
    """Of the users of accepted records whose id is text, that text."""


@dataclass(frozen=True, slots=True)
class Effects:
    """What one batch wants the world to know."""

    alerts: list[Alert]
    """In the order of offset, then rule."""
    dead_letters: list[DeadLetter]
    next_offset: int
