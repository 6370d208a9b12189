"""See `ReviewData`: tables `fraud_alerts`, `user_features` and `alert_feedback` of PostgreSQL.

Never: a lock that the hot path waits for.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from ray_fraud.domain.alert import HOT_RULES, Alert
from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.connections import PostgresConnection
from ray_fraud.stores.ledger.postgres_alerts import insert_cold
from ray_fraud.stores.ledger.postgres_session import PATIENT, Limits, Session
from ray_fraud.stores.review_data.port import UserFeatures

NO_EPOCH = 0
"""Cold alerts have no owner."""
ROWS_PER_STATEMENT = 2_000

_UIDS = """
SELECT alert_uid::text FROM fraud_alerts
WHERE cluster_id = %s AND topic_id = %s AND topic_partition = %s AND kafka_offset >= %s AND kafka_offset < %s
    AND rule_name = ANY (%s) AND source = 'hot'
"""
_SAVE = """
INSERT INTO user_features AS known
    (user_id, event_time, features, cluster_id, topic_id, partition, kafka_offset)
SELECT user_id, to_timestamp(event_ms / 1000.0), features, %(cluster_id)s, %(topic_id)s, %(partition)s,
    "offset"
FROM jsonb_to_recordset(%(rows)s::jsonb)
    AS row (user_id bigint, event_ms bigint, features jsonb, "offset" bigint)
ON CONFLICT (user_id) DO UPDATE SET
    event_time = excluded.event_time, features = excluded.features, cluster_id = excluded.cluster_id,
    topic_id = excluded.topic_id, partition = excluded.partition, kafka_offset = excluded.kafka_offset
WHERE known.topic_id <> excluded.topic_id OR known.kafka_offset < excluded.kafka_offset
RETURNING 1
"""
_FEATURES = "SELECT features::text FROM user_features WHERE user_id = %s"


class PostgresReviewData:
    """See `ReviewData`."""

    def __init__(self, where: PostgresConnection, *, limits: Limits = PATIENT) -> None:
        """Opens nothing yet."""
        self._session = Session(where, name="ray-fraud review data", limits=limits)

    def alert_uids(self, partition: PartitionId, from_offset: int, to_offset: int) -> set[UUID]:
        rules = [rule.value for rule in HOT_RULES]
        values = (*partition, from_offset, to_offset, rules)
        return {UUID(uid) for (uid,) in self._session.rows("alert uids", _UIDS, values)}

    def add_cold(self, partition: PartitionId, alerts: Sequence[Alert]) -> int:
        starts = range(0, len(alerts), ROWS_PER_STATEMENT)
        chunks = (alerts[start : start + ROWS_PER_STATEMENT] for start in starts)
        return sum(insert_cold(self._session, chunk, partition, NO_EPOCH) for chunk in chunks)

    def save_features(self, partition: PartitionId, rows: Sequence[UserFeatures]) -> None:
        # By user, so that two writers at once lock rows in one order.
        ordered = sorted(rows, key=lambda row: row.user_id)
        for start in range(0, len(ordered), ROWS_PER_STATEMENT):
            content = msgspec.json.encode(ordered[start : start + ROWS_PER_STATEMENT]).decode()
            self._session.rows("save user features", _SAVE, partition._asdict() | {"rows": content})

    def features_of(self, user_id: int) -> dict[str, Any] | None:
        rows = self._session.rows("read user features", _FEATURES, (user_id,))
        return msgspec.json.decode(rows[0][0]) if rows else None

    def close(self) -> None:
        self._session.close()
