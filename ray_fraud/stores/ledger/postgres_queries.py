"""Reading alerts and recording verdicts on PostgreSQL.

Never: a write to `fraud_alerts`: a verdict is a row of `alert_feedback`, the schema mirrors it.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from ray_fraud.domain.alert import Alert, RuleName, Severity, Source
from ray_fraud.domain.live_comparison import ModelAlerts
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.verdicts import Origin, VerdictRates
from ray_fraud.stores.connections import PostgresConnection
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.ledger.errors import STORE
from ray_fraud.stores.ledger.postgres_pooler import check_own_server
from ray_fraud.stores.ledger.postgres_session import PATIENT, Limits, Session
from ray_fraud.stores.ledger.queries import AlertFilter, Feedback, StoredAlert, Verdict

_COLUMNS = """
    alert_id, alert_uid::text, transaction_id, user_id, rule_name, severity, reason,
    extract(epoch FROM event_time)::double precision, round(extract(epoch FROM record_time) * 1000)::bigint,
    kafka_offset, lat, lon, score, model_version, source, details::text, schema_version,
    cluster_id, topic_id, topic_partition, epoch,
    round(extract(epoch FROM timestamp) * 1000)::bigint, feedback
"""

# Parameters are written into the statement, so the planner drops the conditions that are NULL.
_WHERE = """
    (%(source)s::text IS NULL OR source = %(source)s)
    AND (%(rule_name)s::text IS NULL OR rule_name = %(rule_name)s)
    AND (%(user_id)s::bigint IS NULL OR user_id = %(user_id)s)
    AND (%(transaction_id)s::text IS NULL OR transaction_id = %(transaction_id)s)
    AND (%(cluster_id)s::text IS NULL OR cluster_id = %(cluster_id)s
        AND topic_id = %(topic_id)s AND topic_partition = %(partition)s)
    AND (%(from_offset)s::bigint IS NULL OR kafka_offset >= %(from_offset)s)
    AND (%(feedback)s::text IS NULL OR feedback = %(feedback)s)
    AND (%(since_ms)s::bigint IS NULL OR record_time >= to_timestamp(%(since_ms)s / 1000.0))
    AND (%(until_ms)s::bigint IS NULL OR record_time < to_timestamp(%(until_ms)s / 1000.0))
    AND (%(stored_since_ms)s::bigint IS NULL OR timestamp >= to_timestamp(%(stored_since_ms)s / 1000.0))
    AND (%(event_until_ms)s::bigint IS NULL OR event_time < to_timestamp(%(event_until_ms)s / 1000.0))
"""

_FEEDBACK = """
    given.feedback_id, given.alert_id, given.verdict, given.reviewer, given.note,
    round(extract(epoch FROM given.given_at) * 1000)::bigint,
    round(extract(epoch FROM given.known_at) * 1000)::bigint,
    given.origin, given.transaction_id, given.user_id, given.merchant_id,
    round(extract(epoch FROM given.event_time) * 1000)::bigint
"""

_FEEDBACK_OF = f"""
SELECT {_FEEDBACK} FROM fraud_alerts AS alert JOIN alert_feedback AS given
    ON given.alert_id = alert.alert_id
    OR given.user_id = alert.user_id AND given.transaction_id = alert.transaction_id
        AND given.alert_id IS NULL AND is_of_one_transaction(alert.details)
WHERE alert.alert_id = %s ORDER BY given.known_at, given.feedback_id
"""

# One pass over an index each. A transaction's first verdict is the one that no other one was known before.
_VERDICT_RATES = """
WITH waited AS (
    SELECT count(*) AS alerts, count(*) FILTER (WHERE feedback IS NULL) AS without FROM fraud_alerts
    WHERE record_time >= to_timestamp((%(now_ms)s - %(late_ms)s - %(period_ms)s) / 1000.0)
        AND record_time < to_timestamp((%(now_ms)s - %(late_ms)s) / 1000.0)
), first AS (
    SELECT round(extract(epoch FROM given.known_at - given.event_time) * 1000) AS delay_ms
    FROM alert_feedback AS given
    WHERE given.known_at >= to_timestamp((%(now_ms)s - %(period_ms)s) / 1000.0)
        AND given.known_at < to_timestamp(%(now_ms)s / 1000.0)
        AND given.transaction_id IS NOT NULL AND given.verdict IS NOT NULL AND given.event_time IS NOT NULL
        AND NOT EXISTS (
            SELECT 1 FROM alert_feedback AS earlier
            WHERE earlier.user_id = given.user_id AND earlier.transaction_id = given.transaction_id
                AND (earlier.known_at, earlier.feedback_id) < (given.known_at, given.feedback_id)
                AND earlier.verdict IS NOT NULL
        )
)
SELECT alerts, without, count(delay_ms), count(*) FILTER (WHERE delay_ms > %(late_ms)s),
    percentile_cont(0.5) WITHIN GROUP (ORDER BY delay_ms) / 1000
FROM waited LEFT JOIN first ON true GROUP BY alerts, without
"""


class PostgresAlertFeed:
    """See `queries.AlertFeed`; a connection that listens and does nothing else."""

    def __init__(self, session: Session, where: PostgresConnection) -> None:
        """Listens from now on; `session` goes to `where`.

        Raises:
            StoreRefused: a pooler in between keeps no connection for us; the message names its setting.
        """
        self._session = session
        try:
            check_own_server(session, where, "feed of alerts")
            session.rows("feed", "LISTEN fraud_alerts")
        except BaseException:
            session.close()
            raise

    def poll(self, timeout_seconds: float) -> list[int]:
        payloads = self._session.notices("poll", timeout_seconds)
        return [int(alert_id) for payload in payloads for alert_id in payload.split(",")]

    def close(self) -> None:
        self._session.close()


class PostgresAlertQueries:
    """See `queries.AlertQueries`."""

    def __init__(
        self, where: PostgresConnection, *, name: str = "ray-fraud alerts", limits: Limits = PATIENT
    ) -> None:
        self._where = where
        self._name = name
        self._limits = limits
        self._session = Session(where, name=name, limits=limits)

    def list(
        self, where: AlertFilter | None = None, *, limit: int = 50, before_id: int | None = None
    ) -> Sequence[StoredAlert]:
        query = (
            f"SELECT {_COLUMNS} FROM fraud_alerts WHERE {_WHERE}"
            " AND (%(before_id)s::bigint IS NULL OR alert_id < %(before_id)s)"
            " ORDER BY alert_id DESC LIMIT %(limit)s"
        )
        values = _conditions(where) | {"before_id": before_id, "limit": limit}
        return [_stored(row) for row in self._session.rows("list alerts", query, values)]

    def get(self, key: int | UUID) -> StoredAlert | None:
        condition = "alert_uid = %s::uuid" if isinstance(key, UUID) else "alert_id = %s"
        query = f"SELECT {_COLUMNS} FROM fraud_alerts WHERE {condition}"
        rows = self._session.rows("get alert", query, (str(key) if isinstance(key, UUID) else key,))
        return _stored(rows[0]) if rows else None

    def by_ids(self, alert_ids: Sequence[int]) -> Sequence[StoredAlert]:
        query = f"SELECT {_COLUMNS} FROM fraud_alerts WHERE alert_id = ANY (%s::bigint[]) ORDER BY alert_id"
        return [_stored(row) for row in self._session.rows("get alerts", query, ([*alert_ids],))]

    def count(self, where: AlertFilter | None = None) -> int:
        query = f"SELECT count(*) FROM fraud_alerts WHERE {_WHERE}"
        return int(self._session.rows("count alerts", query, _conditions(where))[0][0])

    def count_by_rule(self, where: AlertFilter | None = None) -> dict[str, int]:
        query = f"SELECT rule_name, count(*) FROM fraud_alerts WHERE {_WHERE} GROUP BY 1 ORDER BY 1"
        return dict(self._session.rows("count alerts", query, _conditions(where)))

    def count_by_model(self, where: AlertFilter | None = None) -> dict[str, ModelAlerts]:
        query = (
            "SELECT model_version, count(*), count(*) FILTER (WHERE feedback = 'true_fraud'),"
            " count(*) FILTER (WHERE feedback = 'false_positive')"
            f" FROM fraud_alerts WHERE {_WHERE} AND model_version IS NOT NULL GROUP BY 1"
        )
        rows = self._session.rows("count alerts", query, _conditions(where))
        return {row[0]: ModelAlerts(*row) for row in rows}

    def verdict_rates(self, now_ms: int, *, late_ms: int, period_ms: int) -> VerdictRates:
        values = {"now_ms": now_ms, "late_ms": late_ms, "period_ms": period_ms}
        return VerdictRates(*self._session.rows("verdict rates", _VERDICT_RATES, values)[0])

    def uids(self, where: AlertFilter | None = None) -> set[UUID]:
        query = f"SELECT alert_uid::text FROM fraud_alerts WHERE {_WHERE}"
        return {UUID(uid) for (uid,) in self._session.rows("alert uids", query, _conditions(where))}

    def feed(self) -> PostgresAlertFeed:
        session = Session(self._where, name=f"{self._name}: feed", limits=self._limits)
        return PostgresAlertFeed(session, self._where)

    def tail(self, idle_seconds: float = 1.0) -> Iterator[Sequence[StoredAlert]]:
        return self._tail(self.feed(), idle_seconds)

    def add_feedback(
        self,
        alert_id: int,
        verdict: Verdict | None,
        reviewer: str,
        note: str = "",
        *,
        origin: Origin = Origin.ANALYST,
    ) -> Feedback:
        with self._session.transaction("add_feedback"):
            lock = "SELECT 1 FROM fraud_alerts WHERE alert_id = %s FOR NO KEY UPDATE"
            if not self._session.rows("add_feedback", lock, (alert_id,)):
                raise StoreRefused(STORE, f"there is no alert {alert_id}")
            given = self._feedback_of("add_feedback", alert_id)
            if given and (given[-1].verdict, given[-1].reviewer, given[-1].note) == (verdict, reviewer, note):
                return given[-1]
            query = (
                "INSERT INTO alert_feedback AS given (alert_id, verdict, reviewer, note, origin)"
                f" VALUES (%s, %s, %s, %s, %s) RETURNING {_FEEDBACK}"
            )
            values = (alert_id, None if verdict is None else verdict.value, reviewer, note, origin.value)
            return _feedback(self._session.rows("add_feedback", query, values)[0])

    def feedback_of(self, alert_id: int) -> Sequence[Feedback]:
        return self._feedback_of("feedback_of", alert_id)

    def close(self) -> None:
        self._session.close()

    def _tail(self, feed: PostgresAlertFeed, idle_seconds: float) -> Iterator[Sequence[StoredAlert]]:
        try:
            while True:
                alert_ids = feed.poll(idle_seconds)
                yield self.by_ids(alert_ids) if alert_ids else []
        finally:
            feed.close()

    def _feedback_of(self, operation: str, alert_id: int) -> Sequence[Feedback]:
        return [_feedback(row) for row in self._session.rows(operation, _FEEDBACK_OF, (alert_id,))]


def _conditions(where: AlertFilter | None) -> dict[str, Any]:
    wanted = where if where is not None else AlertFilter()
    cluster_id, topic_id, partition = wanted.partition or (None, None, None)
    return {
        "source": wanted.source and wanted.source.value,
        "rule_name": wanted.rule_name and wanted.rule_name.value,
        "user_id": wanted.user_id,
        "transaction_id": wanted.transaction_id,
        "cluster_id": cluster_id,
        "topic_id": topic_id,
        "partition": partition,
        "from_offset": wanted.from_offset,
        "feedback": wanted.feedback and wanted.feedback.value,
        "since_ms": wanted.since_ms,
        "until_ms": wanted.until_ms,
        "stored_since_ms": wanted.stored_since_ms,
        "event_until_ms": wanted.event_until_ms,
    }


def _stored(row: tuple[Any, ...]) -> StoredAlert:
    (alert_id, uid, transaction_id, user_id, rule_name, severity, reason, event_time, record_ms, *rest) = row
    offset, lat, lon, score, model_version, source, details, schema_version, *origin = rest
    cluster_id, topic_id, partition, epoch, stored_at_ms, feedback = origin
    alert = Alert(
        alert_uid=UUID(uid),
        transaction_id=transaction_id,
        user_id=user_id,
        rule_name=RuleName(rule_name),
        severity=Severity(severity),
        reason=reason,
        event_time=event_time,
        record_timestamp_ms=record_ms,
        partition=partition,
        offset=offset,
        lat=lat,
        lon=lon,
        score=score,
        model_version=model_version,
        source=Source(source),
        details=json.loads(details, parse_int=_whole_number),
        schema_version=schema_version,
    )
    verdict = None if feedback is None else Verdict(feedback)
    return StoredAlert(
        alert_id, alert, PartitionId(cluster_id, topic_id, partition), epoch, stored_at_ms, verdict
    )


def _whole_number(digits: str) -> int | float:
    """JSONB writes the float 1e26 as digits, which beyond 64 bits can be no integer of ours."""
    number = int(digits)
    return number if -(2**63) <= number < 2**63 else float(digits)


def _feedback(row: tuple[Any, ...]) -> Feedback:
    feedback_id, alert_id, verdict, reviewer, note, given_at_ms, known_at_ms, origin, *about = row
    transaction_id, user_id, merchant_id, event_ms = about
    return Feedback(
        feedback_id=feedback_id,
        alert_id=alert_id,
        verdict=None if verdict is None else Verdict(verdict),
        reviewer=reviewer,
        note=note,
        given_at_ms=given_at_ms,
        known_at_ms=known_at_ms,
        origin=Origin(origin),
        transaction=None if transaction_id is None else (transaction_id, user_id),
        merchant_id=merchant_id,
        event_ms=event_ms,
    )
