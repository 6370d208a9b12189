"""Findings in memory, on the same `MemoryDatabase` as alerts and verdicts.

Never: a clock.
"""

from collections.abc import Sequence
from uuid import UUID

from ray_fraud.domain.alert import RuleName
from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.findings.alerts import alert_of, check_alert
from ray_fraud.stores.findings.merge import Held, Outcome, outcome_of
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
            for pattern in patterns:
                check_alert(alert_of(pattern, pattern.members))
            new: list[RuleName] = []
            grown = 0
            for pattern in patterns:
                outcome = self._outcome(pattern)
                if outcome is None:
                    continue
                if outcome.joins is None:
                    self._insert(pattern, outcome.members)
                    new.append(pattern.rule)
                else:
                    grown += 1
                    self._reasons[outcome.joins] = pattern.reason
                uid = outcome.joins or pattern.uid
                for member in outcome.members:
                    self._owners[pattern.rule, member.place] = uid, member
            return Saved(tuple(new), grown)

    def _outcome(self, pattern: Pattern) -> Outcome | None:
        taken = {
            member.place: self._owners[pattern.rule, member.place][0]
            for member in pattern.members
            if (pattern.rule, member.place) in self._owners
        }
        order = list(self._patterns)
        held = [
            Held(uid, order.index(uid), self._database.alerts[uid].feedback is not None)
            for uid in {*taken.values(), pattern.uid} & self._patterns.keys()
        ]
        return outcome_of(pattern, taken, held)

    def _insert(self, pattern: Pattern, members: tuple[Member, ...]) -> None:
        first = members[0].place
        place = PartitionId(first.cluster_id, first.topic_id, first.partition)
        self._database.store([TopicAlert(alert_of(pattern, members), place, NO_EPOCH)])
        self._patterns[pattern.uid], self._reasons[pattern.uid] = pattern, pattern.reason

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
