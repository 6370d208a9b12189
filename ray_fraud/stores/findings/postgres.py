"""Findings in PostgreSQL: tables `pattern_findings` and `pattern_finding_members`, one cold alert for each.

Never: a change of a hot alert; two writers at once (a lock of its own makes the second wait).
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from ray_fraud.domain.alert import Alert, RuleName
from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.connections import PostgresConnection
from ray_fraud.stores.findings.alerts import alert_of, check_alert
from ray_fraud.stores.findings.merge import Held, Outcome, outcome_of
from ray_fraud.stores.findings.port import Known, Member, Pattern, Place, Saved
from ray_fraud.stores.ledger.postgres_alerts import row_of
from ray_fraud.stores.ledger.postgres_session import PATIENT, Limits, Session

NO_EPOCH = 0
"""Cold alerts have no owner."""
OPERATION = "save findings"

_LOCK = "SELECT pg_advisory_xact_lock(hashtext('ray-fraud pattern findings'))"
_TAKEN = """
SELECT m.cluster_id, m.topic_id, m.partition, m.kafka_offset, m.finding_uid::text
FROM pattern_finding_members AS m
JOIN jsonb_to_recordset(%(places)s::jsonb) AS place (c text, t text, p integer, o bigint)
    ON m.cluster_id = place.c AND m.topic_id = place.t AND m.partition = place.p AND m.kafka_offset = place.o
WHERE m.rule_name = %(rule)s
"""
_HELD = """
SELECT f.finding_uid::text, f.alert_id, a.feedback IS NOT NULL
FROM pattern_findings AS f JOIN fraud_alerts AS a USING (alert_id) WHERE f.finding_uid = ANY (%s::uuid[])
"""
_INSERT_ALERT = """
INSERT INTO fraud_alerts (alert_uid, transaction_id, user_id, reason, details, lat, lon, rule_name, severity,
    score, model_version, source, event_time, schema_version, cluster_id, topic_id, topic_partition,
    kafka_offset, record_time, epoch)
SELECT alert_uid, transaction_id, user_id, reason, details, lat, lon, rule_name, severity, score,
    model_version, source, to_timestamp(event_time), schema_version, cluster_id, topic_id, partition,
    "offset", to_timestamp(record_timestamp_ms / 1000.0), epoch
FROM jsonb_to_record(%s::jsonb) AS row (
    alert_uid uuid, transaction_id text, user_id bigint, reason text, details jsonb, lat double precision,
    lon double precision, rule_name text, severity text, score double precision, model_version text,
    source text, event_time double precision, schema_version integer, cluster_id text, topic_id text,
    partition integer, "offset" bigint, record_timestamp_ms bigint, epoch bigint)
RETURNING alert_id
"""
_INSERT_FINDING = """
INSERT INTO pattern_findings
    (finding_uid, rule_name, subject, window_start, first_at, last_at, severity, reason, alert_id)
VALUES (%s, %s, %s, to_timestamp(%s / 1000.0), to_timestamp(%s / 1000.0), to_timestamp(%s / 1000.0),
    %s, %s, %s)
"""
_GROW_FINDING = """
UPDATE pattern_findings SET
    first_at = least(first_at, to_timestamp(%s / 1000.0)),
    last_at = greatest(last_at, to_timestamp(%s / 1000.0)),
    reason = %s, updated_at = clock_timestamp()
WHERE finding_uid = %s
"""
_INSERT_MEMBERS = """
INSERT INTO pattern_finding_members
    (rule_name, cluster_id, topic_id, partition, kafka_offset, finding_uid, transaction_id, user_id)
SELECT %(rule)s, c, t, p, o, %(uid)s::uuid, tx, u
FROM jsonb_to_recordset(%(members)s::jsonb)
    AS member (c text, t text, p integer, o bigint, tx text, u bigint)
"""
_KNOWN = """
SELECT finding_uid::text, rule_name, subject, reason, alert_id FROM pattern_findings
ORDER BY alert_id DESC LIMIT %s
"""
_MEMBERS = """
SELECT finding_uid::text, cluster_id, topic_id, partition, kafka_offset, transaction_id, user_id
FROM pattern_finding_members WHERE finding_uid = ANY (%s::uuid[])
ORDER BY cluster_id, topic_id, partition, kafka_offset
"""


class PostgresFindings:
    """See `FindingStore`."""

    def __init__(self, where: PostgresConnection, *, limits: Limits = PATIENT) -> None:
        """Opens nothing yet."""
        self._session = Session(where, name="ray-fraud findings", limits=limits)

    def save(self, patterns: Sequence[Pattern]) -> Saved:
        new: list[RuleName] = []
        grown = 0
        with self._session.transaction(OPERATION):
            self._rows(_LOCK)
            for pattern in patterns:
                outcome = self._outcome(pattern)
                if outcome is None:
                    continue
                if outcome.joins is None:
                    self._insert(pattern, outcome.members)
                    new.append(pattern.rule)
                else:
                    self._grow(pattern, outcome.joins)
                    grown += 1
                self._add(pattern.rule, outcome.joins or pattern.uid, outcome.members)
        return Saved(tuple(new), grown)

    def _outcome(self, pattern: Pattern) -> Outcome | None:
        places = [_place(member.place) for member in pattern.members]
        rows = self._rows(_TAKEN, {"places": _json(places), "rule": pattern.rule.value})
        taken = {Place(*row[:4]): UUID(row[4]) for row in rows}
        uids = sorted(str(uid) for uid in {*taken.values(), pattern.uid})
        held = [Held(UUID(uid), alert_id, judged) for uid, alert_id, judged in self._rows(_HELD, (uids,))]
        return outcome_of(pattern, taken, held)

    def _insert(self, pattern: Pattern, members: tuple[Member, ...]) -> None:
        alert_id = self._insert_alert(alert_of(pattern, members), members[0].place)
        values = (
            str(pattern.uid),
            pattern.rule.value,
            pattern.subject,
            pattern.window_start_ms,
            members[0].event_ms,
            members[-1].event_ms,
            pattern.severity.value,
            pattern.reason,
            alert_id,
        )
        self._rows(_INSERT_FINDING, values)

    def _insert_alert(self, alert: Alert, place: Place) -> int:
        check_alert(alert)
        row = row_of(alert, PartitionId(place.cluster_id, place.topic_id, place.partition), NO_EPOCH)
        return int(self._rows(_INSERT_ALERT, (_json(row),))[0][0])

    def _grow(self, pattern: Pattern, uid: UUID) -> None:
        first, last = pattern.members[0].event_ms, pattern.members[-1].event_ms
        self._rows(_GROW_FINDING, (first, last, pattern.reason, str(uid)))

    def _add(self, rule: RuleName, uid: UUID, members: tuple[Member, ...]) -> None:
        rows = [
            {**_place(member.place), "tx": member.transaction_id, "u": member.user_id} for member in members
        ]
        self._rows(_INSERT_MEMBERS, {"rule": rule.value, "uid": str(uid), "members": _json(rows)})

    def known(self, count: int) -> Sequence[Known]:
        findings = self._rows(_KNOWN, (count,))
        members: dict[str, list[tuple[Place, str, int]]] = {}
        for uid, *place, transaction_id, user_id in self._rows(_MEMBERS, ([row[0] for row in findings],)):
            members.setdefault(uid, []).append((Place(*place), transaction_id, user_id))
        return [
            Known(UUID(uid), RuleName(rule), subject, reason, alert_id, tuple(members.get(uid, ())))
            for uid, rule, subject, reason, alert_id in findings
        ]

    def _rows(self, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        return self._session.rows(OPERATION, sql, parameters)

    def close(self) -> None:
        self._session.close()


def _place(place: Place) -> dict[str, Any]:
    return {"c": place.cluster_id, "t": place.topic_id, "p": place.partition, "o": place.offset}


def _json(content: object) -> str:
    return msgspec.json.encode(content).decode()
