"""Review data in memory, on the ledger's own database; "now" is the database's clock.

Never: a difference to the real one that their common tests do not allow.
"""

from collections.abc import Sequence
from uuid import UUID

from ray_fraud.domain.alert import HOT_RULES, Alert, Source
from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.ledger.memory import MemoryDatabase
from ray_fraud.stores.ledger.port import TopicAlert
from ray_fraud.stores.review_data.port import NAMING, NewestFeatures, named


class MemoryReviewData:
    """See `ReviewData`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._users: dict[int, tuple[PartitionId, int, dict[str, float | None]]] = {}

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

    def save_features(self, partition: PartitionId, newest: NewestFeatures) -> None:
        with self._database.call("save_features"):
            places = zip(
                newest.user_ids.tolist(), newest.offsets.tolist(), newest.values.tolist(), strict=True
            )
            for user_id, offset, values in places:
                life, known, _ = self._users.get(user_id, (None, offset, {}))
                if life is None or life.topic_id != partition.topic_id or known < offset:
                    self._users[user_id] = partition, offset, named(newest.names, values)

    def features_of(self, user_id: int) -> dict[str, float | None] | None:
        known = self._users.get(user_id)
        return None if known is None else dict(known[2])

    def forget(self, user_id: int) -> int:
        with self._database.call("forget"):
            return int(self._users.pop(user_id, None) is not None)

    def naming(self, user_id: int) -> dict[str, int]:
        with self._database.call("naming"):
            alerts = [row.alert for row in self._database.alerts.values()]
            counts = (
                sum(alert.user_id == user_id for alert in alerts),
                sum(
                    row.transaction is not None and row.transaction[1] == user_id
                    for row in self._database.feedback
                ),
                0,
            )
            return dict(zip(NAMING, counts, strict=True))

    def close(self) -> None:
        """Nothing is open."""
