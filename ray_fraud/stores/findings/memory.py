"""Findings in memory, on the same `MemoryDatabase` as alerts and verdicts.

Never: a clock.
"""

from collections.abc import Sequence
from uuid import UUID

from msgspec.structs import replace

from ray_fraud.domain.alert import RuleName
from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.findings.alerts import alert_of, check_alert, grown
from ray_fraud.stores.findings.merge import Change, Held, Key, changes_of
from ray_fraud.stores.findings.port import Known, Member, Pattern, Place, Saved
from ray_fraud.stores.ledger.memory import MemoryDatabase
from ray_fraud.stores.ledger.port import TopicAlert

NO_EPOCH = 0
"""Cold alerts have no owner."""


class MemoryFindings:
    """See `FindingStore`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._patterns: dict[UUID, Pattern] = {}
        """In the order in which they were stored."""
        self._reasons: dict[UUID, str] = {}
        self._owners: dict[tuple[RuleName, Place], tuple[UUID, Member]] = {}

    def save(self, patterns: Sequence[Pattern]) -> Saved:
        with self._database.call("save findings"):
            changes = changes_of(patterns, self._taken(patterns), self._held())
            for change in changes.findings:
                if change.is_new:
                    check_alert(alert_of(change.pattern, change.members))
            for change in changes.findings:
                if change.is_new:
                    self._insert(change.pattern, change.members)
                else:
                    self._grow(change)
                self._reasons[change.uid] = change.pattern.reason
                for member in change.members:
                    self._owners[change.pattern.rule, member.place] = change.uid, member
            return changes.saved

    def _taken(self, patterns: Sequence[Pattern]) -> dict[Key, UUID]:
        keys = ((pattern.rule, member.place) for pattern in patterns for member in pattern.members)
        return {key: self._owners[key][0] for key in keys if key in self._owners}

    def _held(self) -> list[Held]:
        return [
            Held(uid, order, self._database.alerts[uid].feedback is not None)
            for order, uid in enumerate(self._patterns)
        ]

    def _insert(self, pattern: Pattern, members: tuple[Member, ...]) -> None:
        first = members[0].place
        place = PartitionId(first.cluster_id, first.topic_id, first.partition)
        self._database.store([TopicAlert(alert_of(pattern, members), place, NO_EPOCH)])
        self._patterns[pattern.uid] = pattern

    def _grow(self, change: Change) -> None:
        stored = self._database.alerts[change.uid]
        if stored.feedback is None:
            details = grown(stored.alert.details, change.members)
            alert = replace(stored.alert, reason=change.pattern.reason, details=details)
            self._database.alerts[change.uid] = replace(stored, alert=alert)

    def known(self, count: int) -> Sequence[Known]:
        return [self._known(pattern) for pattern in list(self._patterns.values())[::-1][:count]]

    def _known(self, pattern: Pattern) -> Known:
        members = sorted(
            (member.place, member.transaction_id, member.user_id)
            for uid, member in self._owners.values()
            if uid == pattern.uid
        )
        alert_id = self._database.alerts[pattern.uid].alert_id
        reason = self._reasons[pattern.uid]
        return Known(pattern.uid, pattern.rule, pattern.subject, reason, alert_id, tuple(members))

    def close(self) -> None:
        return
