"""See `ReviewData`: tables `fraud_alerts` and `user_feature_values` of PostgreSQL.

Never: a lock that the hot path waits for.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ray_fraud.domain.alert import HOT_RULES, Alert
from ray_fraud.domain.canonical import content_digest
from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.connections import PostgresConnection
from ray_fraud.stores.ledger.postgres_alerts import insert_cold
from ray_fraud.stores.ledger.postgres_session import PATIENT, Limits, Session
from ray_fraud.stores.review_data.port import NAMING, NewestFeatures, named

NO_EPOCH = 0
"""Cold alerts have no owner."""
ROWS_PER_STATEMENT = 2_000

_UIDS = """
SELECT alert_uid::text FROM fraud_alerts
WHERE cluster_id = %s AND topic_id = %s AND topic_partition = %s AND kafka_offset >= %s AND kafka_offset < %s
    AND rule_name = ANY (%s) AND source = 'hot'
"""
_CATALOGUE = "INSERT INTO feature_catalogues VALUES (%s, %s) ON CONFLICT DO NOTHING"
# A user's values are a part of one long array: an array each took a fifth longer, JSON three quarters.
_SAVE = """
INSERT INTO user_feature_values AS known
    (user_id, event_time, catalogue, "values", cluster_id, topic_id, partition, kafka_offset)
SELECT user_id, to_timestamp(event_ms / 1000.0), %(catalogue)s,
    (%(values)s::real[])[(number - 1) * %(width)s + 1 : number * %(width)s],
    %(cluster_id)s, %(topic_id)s, %(partition)s, "offset"
FROM unnest(%(user_ids)s::bigint[], %(event_ms)s::bigint[], %(offsets)s::bigint[])
    WITH ORDINALITY AS row (user_id, event_ms, "offset", number)
ON CONFLICT (user_id) DO UPDATE SET
    event_time = excluded.event_time, catalogue = excluded.catalogue, "values" = excluded."values",
    cluster_id = excluded.cluster_id, topic_id = excluded.topic_id, partition = excluded.partition,
    kafka_offset = excluded.kafka_offset
WHERE known.topic_id <> excluded.topic_id OR known.kafka_offset < excluded.kafka_offset
"""
_FEATURES = """
SELECT names, "values" FROM user_feature_values JOIN feature_catalogues USING (catalogue) WHERE user_id = %s
"""
_FORGET = "DELETE FROM user_feature_values WHERE user_id = %s RETURNING user_id"
_NAMING = """
SELECT (SELECT count(*) FROM fraud_alerts WHERE user_id = %(user)s),
    (SELECT count(*) FROM alert_feedback WHERE user_id = %(user)s),
    (SELECT count(*) FROM pattern_finding_members WHERE user_id = %(user)s)
"""


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

    def save_features(self, partition: PartitionId, newest: NewestFeatures) -> None:
        catalogue = content_digest("\n".join(newest.names).encode())
        self._session.rows("save the catalogue", _CATALOGUE, (catalogue, list(newest.names)))
        # By user, so that two writers at once lock rows in one order.
        order = np.argsort(newest.user_ids, kind="stable")
        for start in range(0, len(order), ROWS_PER_STATEMENT):
            rows = order[start : start + ROWS_PER_STATEMENT]
            values = {
                "catalogue": catalogue,
                "width": len(newest.names),
                "user_ids": _array(newest.user_ids[rows]),
                "event_ms": _array(newest.event_ms[rows]),
                "offsets": _array(newest.offsets[rows]),
                "values": _array(newest.values[rows].ravel()),
            }
            self._session.rows("save user features", _SAVE, partition._asdict() | values)

    def features_of(self, user_id: int) -> dict[str, float | None] | None:
        rows = self._session.rows("read user features", _FEATURES, (user_id,))
        if not rows:
            return None
        names, values = rows[0]
        # The server shows a number of 32 bits by the fewest digits that name it.
        return named(names, np.array(values, np.float32).tolist())

    def forget(self, user_id: int) -> int:
        return len(self._session.rows("delete user features", _FORGET, (user_id,)))

    def naming(self, user_id: int) -> dict[str, int]:
        (counts,) = self._session.rows("count rows of a user", _NAMING, {"user": user_id})
        return dict(zip(NAMING, counts, strict=True))

    def close(self) -> None:
        self._session.close()


def _array(numbers: NDArray[Any]) -> str:
    """An array as PostgreSQL reads it, each number by the fewest digits that name it."""
    return "{" + ",".join(pc.cast(pa.array(numbers), pa.string()).to_pylist()) + "}"
