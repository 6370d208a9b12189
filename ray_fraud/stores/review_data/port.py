"""Cold alerts of the hot rules, and the newest features of each user.

Never: a change of a hot alert; a value that is older than the one that is there.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from ray_fraud.domain.alert import Alert
from ray_fraud.domain.record import PartitionId

NAMING = ("fraud_alerts", "alert_feedback", "pattern_finding_members")
"""Tables whose rows name a user and stay."""


class NewestFeatures(NamedTuple):
    """The features of n users' last transactions in one partition of the log."""

    names: tuple[str, ...]
    """Of the catalogue."""
    user_ids: NDArray[np.int64]
    """Each once, shape (n,)."""
    offsets: NDArray[np.int64]
    event_ms: NDArray[np.int64]
    """Unix milliseconds, shape (n,)."""
    values: NDArray[np.float32]
    """Shape (n, names), NaN where missing."""


def named(names: Sequence[str], values: Sequence[float]) -> dict[str, float | None]:
    """A user's features by name; NaN is missing."""
    return {name: None if math.isnan(value) else value for name, value in zip(names, values, strict=True)}


class ReviewData(Protocol):
    """Calls block on I/O. All raise StoreUnavailable if PostgreSQL does not answer: repeat them."""

    def alert_uids(self, partition: PartitionId, from_offset: int, to_offset: int) -> set[UUID]:
        """Hot alerts of the hot rules whose record lies in `[from_offset, to_offset)`."""

    def add_cold(self, partition: PartitionId, alerts: Sequence[Alert]) -> int:
        """Store those that are not there yet, whatever their source; how many were new."""

    def save_features(self, partition: PartitionId, newest: NewestFeatures) -> None:
        """Keep each user's newest; one with a lower offset than what is there changes nothing."""

    def features_of(self, user_id: int) -> dict[str, float | None] | None:
        """The newest features of a user by name, None where missing; None for one that no batch has seen."""

    def forget(self, user_id: int) -> int:
        """Deletes the user's newest features; how many rows went."""

    def naming(self, user_id: int) -> dict[str, int]:
        """By table, how many other rows name the user: alerts, verdicts, members of findings."""

    def close(self) -> None:
        """Repeating it is harmless."""
