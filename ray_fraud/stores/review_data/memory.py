"""Review data in memory, on the ledger's own database; "now" is the database's clock.

Never: a difference to the real one that their common tests do not allow.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from ray_fraud.domain.alert import HOT_RULES, Alert, Source
from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.ledger.memory import MemoryDatabase
from ray_fraud.stores.ledger.port import TopicAlert
from ray_fraud.stores.review_data.port import UserFeatures


class MemoryReviewData:
    """See `ReviewData`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._users: dict[int, tuple[PartitionId, UserFeatures]] = {}

    def alert_uids(self, partition: PartitionId, from_offset: int, to_offset: int) -> set[UUID]:
        with self._database.call("alert_uids"):
            return {
                uid
                for uid, row in self._database.alerts.items()
                if row.partition_id == partition
                and from_offset <= row.alert.offset < to_offset
                and row.alert.source is Source.HOT
                and row.alert.rule_name in HOT_RULES
            }

    def add_cold(self, partition: PartitionId, alerts: Sequence[Alert]) -> int:
        with self._database.call("insert_cold_alerts"):
            new = [alert for alert in alerts if alert.alert_uid not in self._database.alerts]
            return self._database.store([TopicAlert(alert, partition, 0) for alert in new]).inserted

    def save_features(self, partition: PartitionId, rows: Sequence[UserFeatures]) -> None:
        with self._database.call("save_features"):
            for row in rows:
                life, known = self._users.get(row.user_id, (None, row))
                if life is None or life.topic_id != partition.topic_id or known.offset < row.offset:
                    self._users[row.user_id] = partition, row

    def features_of(self, user_id: int) -> dict[str, Any] | None:
        known = self._users.get(user_id)
        return None if known is None else dict(known[1].features)

    def close(self) -> None:
        """Nothing is open."""
