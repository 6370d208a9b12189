"""The two ways alerts enter PostgreSQL: fenced by their owner, and from the topic.

Never: a decision about an alert; both ways store what they are given, once per uid.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from ray_fraud.domain.alert import Alert
from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.ledger.port import InsertResult, InvalidAlert, SinkResult, TopicAlert
from ray_fraud.stores.ledger.postgres_errors import ValueRefused
from ray_fraud.stores.ledger.postgres_session import Session
from ray_fraud.stores.ledger.validity import why_invalid

_INCOMING = """
incoming AS (
    SELECT * FROM jsonb_to_recordset(%(alerts)s::jsonb) AS row (
        alert_uid uuid, transaction_id text, user_id bigint, reason text, details jsonb,
        lat double precision, lon double precision, rule_name text, severity text,
        score double precision, model_version text, source text, event_time double precision,
        schema_version integer, cluster_id text, topic_id text, partition integer, "offset" bigint,
        record_timestamp_ms bigint, epoch bigint)
)"""

# What is there already is left out first: a conflict would lock its row.
# Rows go in by (partition, offset, uid), so that the owner and the sink, inserting the same alerts at
# the same moment, wait for each other in one order and cannot deadlock.
_STORE = """
stored AS (
    INSERT INTO fraud_alerts AS present (
        alert_uid, transaction_id, user_id, reason, details, lat, lon, rule_name, severity, score,
        model_version, source, event_time, schema_version, cluster_id, topic_id, topic_partition,
        kafka_offset, record_time, epoch)
    SELECT alert_uid, transaction_id, user_id, reason, details, lat, lon, rule_name, severity, score,
        model_version, source, to_timestamp(event_time), schema_version, cluster_id, topic_id, partition,
        "offset", to_timestamp(record_timestamp_ms / 1000.0), epoch
    FROM (SELECT DISTINCT ON (alert_uid) * FROM accepted ORDER BY alert_uid, epoch) AS chosen
    WHERE NOT EXISTS (
        SELECT 1 FROM fraud_alerts AS known
        WHERE known.alert_uid = chosen.alert_uid AND (known.source = 'hot' OR chosen.source = 'cold'))
    ORDER BY partition, "offset", alert_uid
    ON CONFLICT (alert_uid) DO UPDATE SET
        reason = excluded.reason, details = excluded.details, lat = excluded.lat, lon = excluded.lon,
        severity = excluded.severity, score = excluded.score, model_version = excluded.model_version,
        source = excluded.source, event_time = excluded.event_time,
        schema_version = excluded.schema_version, cluster_id = excluded.cluster_id,
        topic_id = excluded.topic_id, topic_partition = excluded.topic_partition,
        kafka_offset = excluded.kafka_offset, record_time = excluded.record_time, epoch = excluded.epoch
    WHERE present.source = 'cold' AND excluded.source = 'hot'
    RETURNING xmax = 0 AS is_new
)"""

# A concurrent take-over holds the owner's row: the fence waits for it, then compares with what it wrote.
_FENCED_INSERT = f"""
WITH fence AS MATERIALIZED (
    SELECT 1 FROM partition_owner
    WHERE cluster_id = %(cluster_id)s AND topic_id = %(topic_id)s AND partition = %(partition)s
        AND epoch = %(epoch)s AND owner_token = %(token)s
    FOR SHARE
), {_INCOMING}, accepted AS (SELECT incoming.* FROM incoming, fence), {_STORE}
SELECT (SELECT count(*) FROM fence),
    count(*) FILTER (WHERE is_new), count(*) FILTER (WHERE NOT is_new) FROM stored
"""

_SINK_INSERT = f"""
WITH {_INCOMING}, accepted AS (
    SELECT * FROM incoming WHERE NOT EXISTS (
        SELECT 1 FROM partition_epoch AS later
        WHERE later.cluster_id = incoming.cluster_id AND later.topic_id = incoming.topic_id
            AND later.partition = incoming.partition
            AND later.epoch > incoming.epoch AND later.barrier <= incoming."offset")
), {_STORE}
SELECT (SELECT count(*) FROM accepted),
    count(*) FILTER (WHERE is_new), count(*) FILTER (WHERE NOT is_new) FROM stored
"""

_COLD_INSERT = f"""
WITH {_INCOMING}, accepted AS (SELECT * FROM incoming), {_STORE}
SELECT count(*) FILTER (WHERE is_new) FROM stored
"""

_MISSING_OWNERS = """
INSERT INTO partition_owner (cluster_id, topic_id, partition)
SELECT * FROM jsonb_to_recordset(%s::jsonb) AS row (cluster_id text, topic_id text, partition integer)
ORDER BY cluster_id, topic_id, partition ON CONFLICT DO NOTHING
"""

_LOCK_OWNERS = """
SELECT 1 FROM partition_owner JOIN jsonb_to_recordset(%s::jsonb)
    AS row (cluster_id text, topic_id text, partition integer) USING (cluster_id, topic_id, partition)
ORDER BY cluster_id, topic_id, partition FOR SHARE OF partition_owner
"""

Fence = dict[str, str | int]


class Batch(msgspec.Struct, frozen=True):
    """Rows to insert, one per uid and epoch, without those that can never be stored.

    One uid may come under two epochs: which of them counts is for the database to say.
    """

    rows: list[dict[str, Any]]
    invalid: list[InvalidAlert]


def batch_of(alerts: Iterable[TopicAlert]) -> Batch:
    rows: dict[tuple[object, int], dict[str, Any]] = {}
    invalid = []
    for item in alerts:
        uid = item.alert.alert_uid
        reason = why_invalid(item.alert)
        if reason is not None:
            invalid.append(InvalidAlert(uid, reason))
        elif (uid, item.epoch) not in rows:
            rows[uid, item.epoch] = row_of(item.alert, item.partition_id, item.epoch)
    return Batch(list(rows.values()), invalid)


def row_of(alert: Alert, partition: PartitionId, epoch: int) -> dict[str, Any]:
    """The alert's fields and where it comes from."""
    row = msgspec.structs.asdict(alert)
    row.update(cluster_id=partition.cluster_id, topic_id=partition.topic_id, partition=partition.partition)
    row["epoch"] = epoch
    return row


def insert_fenced(session: Session, fence: Fence, batch: Batch) -> InsertResult | None:
    """Stores the batch in one statement; None if the fence does not hold."""
    invalid = list(batch.invalid)
    chunks = [batch.rows]
    passed, inserted, promoted = False, 0, 0
    while chunks:
        chunk = chunks.pop()
        try:
            fenced, new, turned = session.rows(
                "insert_hot_alerts", _FENCED_INSERT, {**fence, "alerts": _json(chunk)}
            )[0]
        except ValueRefused as error:
            chunks += _without_value(chunk, error, invalid)
            continue
        if not fenced:
            return None
        passed, inserted, promoted = True, inserted + new, promoted + turned
    if not passed:
        return insert_fenced(session, fence, Batch([], invalid))
    return InsertResult(inserted, promoted, tuple(invalid))


def insert_accepted(session: Session, batch: Batch) -> SinkResult:
    """Within a transaction: locks the partitions against a take-over, then stores what still counts."""
    partitions = sorted({(row["cluster_id"], row["topic_id"], row["partition"]) for row in batch.rows})
    names = ("cluster_id", "topic_id", "partition")
    keys = _json([dict(zip(names, partition, strict=True)) for partition in partitions])
    session.rows("insert_from_topic", _MISSING_OWNERS, (keys,))
    session.rows("insert_from_topic", _LOCK_OWNERS, (keys,))
    invalid = list(batch.invalid)
    chunks = [batch.rows]
    refused, inserted, promoted = 0, 0, 0
    while chunks:
        chunk = chunks.pop()
        try:
            with session.savepoint("insert_from_topic"):
                accepted, new, turned = session.rows(
                    "insert_from_topic", _SINK_INSERT, {"alerts": _json(chunk)}
                )[0]
        except ValueRefused as error:
            chunks += _without_value(chunk, error, invalid)
            continue
        refused, inserted, promoted = refused + len(chunk) - accepted, inserted + new, promoted + turned
    return SinkResult(inserted, promoted, refused, tuple(invalid))


def insert_cold(session: Session, alerts: Sequence[Alert], partition: PartitionId, epoch: int) -> int:
    """Stores cold alerts of one partition that are not there yet; how many were new.

    Raises:
        ValueRefused: PostgreSQL cannot hold one of them; none was stored.
    """
    rows = [row_of(alert, partition, epoch) for alert in alerts]
    return int(session.rows("insert_cold_alerts", _COLD_INSERT, {"alerts": _json(rows)})[0][0])


def _without_value(
    chunk: Sequence[dict[str, Any]], error: ValueRefused, invalid: list[InvalidAlert]
) -> list[list[dict[str, Any]]]:
    """Halves a refused chunk until the refused row stands alone and is reported."""
    if not chunk:
        raise error
    if len(chunk) == 1:
        invalid.append(InvalidAlert(chunk[0]["alert_uid"], error.message))
        return []
    middle = len(chunk) // 2
    return [list(chunk[middle:]), list(chunk[:middle])]


def _json(content: object) -> str:
    return msgspec.json.encode(content).decode()
