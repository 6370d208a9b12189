"""Reading alerts and recording verdicts: what the command line, the pages and the checks ask.

Never: the hot path (it only inserts), a change of an alert other than its feedback.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Protocol
from uuid import UUID

import msgspec

from ray_fraud.domain.alert import Alert, RuleName, Source
from ray_fraud.domain.live_comparison import ModelAlerts
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.verdicts import Origin, VerdictRates


class Verdict(StrEnum):
    TRUE_FRAUD = "true_fraud"
    FALSE_POSITIVE = "false_positive"

    @classmethod
    def of(cls, fraud: bool | None) -> "Verdict | None":
        """The word for it; None for a verdict that is taken back."""
        if fraud is None:
            return None
        return cls.TRUE_FRAUD if fraud else cls.FALSE_POSITIVE


class StoredAlert(msgspec.Struct, frozen=True):
    """An alert and what the database knows of it."""

    alert_id: int
    alert: Alert
    partition_id: PartitionId
    epoch: int
    stored_at_ms: int
    feedback: Verdict | None


class Feedback(msgspec.Struct, frozen=True):
    """One verdict; of all on an alert and its transaction the one known last counts."""

    feedback_id: int
    alert_id: int | None
    """None: on a transaction and all its alerts."""
    verdict: Verdict | None
    """None: an earlier verdict was taken back."""
    reviewer: str
    note: str
    given_at_ms: int
    known_at_ms: int
    """From then on it may be used."""
    origin: Origin
    transaction: tuple[str, int] | None
    """(transaction id, user id); None where the alert stands for a group of them."""
    merchant_id: str | None
    event_ms: int | None


class AlertFilter(msgspec.Struct, frozen=True):
    """All given conditions hold together; none given: every alert."""

    source: Source | None = None
    rule_name: RuleName | None = None
    user_id: int | None = None
    transaction_id: str | None = None
    partition: PartitionId | None = None
    from_offset: int | None = None
    """Of the transaction's record, in its partition."""
    feedback: Verdict | None = None
    since_ms: int | None = None
    """Kafka timestamp of the transaction's record at or after this, unix milliseconds."""
    until_ms: int | None = None
    """… and before this."""
    stored_since_ms: int | None = None
    """Stored at or after this, unix milliseconds of the database's clock."""
    event_until_ms: int | None = None
    """Event time of the transaction before this, unix milliseconds."""


class AlertFeed(Protocol):
    """Alerts as they become durable, told by the database; needs no polling of the table."""

    def poll(self, timeout_seconds: float) -> list[int]:
        """Alert ids committed since the last call; [] when none came in time.

        Raises:
            StoreUnavailable: the connection was lost, and notices with it: open a new feed, list what is new.
        """

    def close(self) -> None: ...


class AlertQueries(Protocol):
    def list(
        self, where: AlertFilter | None = None, *, limit: int = 50, before_id: int | None = None
    ) -> Sequence[StoredAlert]:
        """Newest first by `alert_id`; `before_id` continues a page."""

    def get(self, key: int | UUID) -> StoredAlert | None:
        """By `alert_id` or uid."""

    def by_ids(self, alert_ids: Sequence[int]) -> Sequence[StoredAlert]:
        """Those that exist, by `alert_id`."""

    def count(self, where: AlertFilter | None = None) -> int: ...

    def count_by_rule(self, where: AlertFilter | None = None) -> dict[str, int]:
        """Rules without an alert are absent."""

    def count_by_model(self, where: AlertFilter | None = None) -> dict[str, ModelAlerts]:
        """Alerts and verdicts by `model_version`; versions without an alert are absent."""

    def verdict_rates(self, now_ms: int, *, late_ms: int, period_ms: int) -> VerdictRates:
        """How many verdicts are missing, and how many came late.

        Args:
            now_ms: unix milliseconds.
            late_ms: so long after its record an alert should have a verdict, and so long after a transaction
                (event time) its first one should be known.
            period_ms: alerts count whose record came in the period that ended `late_ms` ago; first verdicts
                that became known in the one that ends now. Verdicts without an event time do not count.
        """

    def uids(self, where: AlertFilter | None = None) -> set[UUID]: ...

    def feed(self) -> AlertFeed:
        """Notices of everything committed after this call."""

    def tail(self, idle_seconds: float = 1.0) -> Iterator[Sequence[StoredAlert]]:
        """New alerts in batches, forever; an empty batch after `idle_seconds` without one."""

    def add_feedback(
        self,
        alert_id: int,
        verdict: Verdict | None,
        reviewer: str,
        note: str = "",
        *,
        origin: Origin = Origin.ANALYST,
    ) -> Feedback:
        """Appends a verdict; one equal to the newest (verdict, reviewer, note) is returned, not repeated.

        Raises:
            StoreRefused: there is no such alert.
        """

    def feedback_of(self, alert_id: int) -> Sequence[Feedback]:
        """All verdicts on the alert and on its transaction, that known last at the end."""

    def close(self) -> None: ...
