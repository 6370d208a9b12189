"""Keeping what pattern rules found, each pattern once.

A batch re-reads what earlier batches have seen. A finding that shares a member with one of the same rule
joins the oldest of those that no analyst has judged; one that shares members with judged ones only is a
finding of the members that are left. So one ring is one finding, and a verdict is never put on another group
than it was given for.

Never: a member in two findings of one rule; a finding without an alert.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol
from uuid import UUID

import msgspec

from ray_fraud.domain.alert import RuleName, Severity


class Place(NamedTuple):
    """Where a transaction's record lies in the log."""

    cluster_id: str
    topic_id: str
    partition: int
    offset: int


class Member(msgspec.Struct, frozen=True):
    place: Place
    transaction_id: str
    user_id: int
    event_ms: int
    record_ms: int
    """Kafka timestamp of its record."""
    amount: float
    lat: float | None = None
    lon: float | None = None


class Pattern(msgspec.Struct, frozen=True):
    """A finding with its members, in order of event time."""

    uid: UUID
    rule: RuleName
    subject: str
    window_start_ms: int
    severity: Severity
    reason: str
    members: tuple[Member, ...]


class Known(msgspec.Struct, frozen=True):
    """A stored finding."""

    uid: UUID
    rule: RuleName
    subject: str
    reason: str
    alert_id: int
    members: tuple[tuple[Place, str, int], ...]
    """(place, transaction id, user id), by place."""


class Saved(msgspec.Struct, frozen=True):
    new: tuple[RuleName, ...]
    """One per new finding."""
    grown: int
    """Known findings that got new members."""


class FindingStore(Protocol):
    def save(self, patterns: Sequence[Pattern]) -> Saved:
        """Store all of them, or nothing; repeating it changes nothing.

        Raises:
            StoreUnavailable: the result is unknown; repeat it.
        """

    def known(self, count: int) -> Sequence[Known]:
        """The newest findings, newest first."""

    def close(self) -> None:
        """Repeating it is harmless."""
