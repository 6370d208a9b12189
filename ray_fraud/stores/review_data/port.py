"""Cold alerts of the hot rules, and the newest features of each user.

Never: a change of a hot alert; a value that is older than the one that is there.
"""

from collections.abc import Sequence
from typing import Any, Protocol
from uuid import UUID

import msgspec

from ray_fraud.domain.alert import Alert
from ray_fraud.domain.record import PartitionId


class UserFeatures(msgspec.Struct, frozen=True):
    """The features of a user's last transaction in one partition of the log."""

    user_id: int
    offset: int
    event_ms: int
    features: dict[str, float | None]
    """By name of the catalogue; None is missing."""


class ReviewData(Protocol):
    """Calls block on I/O. All raise StoreUnavailable if PostgreSQL does not answer: repeat them."""

    def alert_uids(self, partition: PartitionId, from_offset: int, to_offset: int) -> set[UUID]:
        """Hot alerts of the hot rules whose record lies in `[from_offset, to_offset)`."""

    def add_cold(self, partition: PartitionId, alerts: Sequence[Alert]) -> int:
        """Store those that are not there yet, whatever their source; how many were new."""

    def save_features(self, partition: PartitionId, rows: Sequence[UserFeatures]) -> None:
        """Keep each user's newest; one with a lower offset than what is there changes nothing."""

    def features_of(self, user_id: int) -> dict[str, Any] | None:
        """The newest features of a user by name; None for one that no batch has seen."""

    def close(self) -> None:
        """Repeating it is harmless."""
