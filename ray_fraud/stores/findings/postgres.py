"""Findings in PostgreSQL: tables `pattern_findings` and `pattern_finding_members`, one cold alert for each.

Never: a change of a hot alert; two writers at once (a lock of its own makes the second wait).
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import msgspec

from ray_fraud.domain.alert import RuleName
from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.connections import PostgresConnection
from ray_fraud.stores.findings.alerts import SHOWN_MEMBERS, alert_of, check_alert, details_of
from ray_fraud.stores.findings.merge import Change, Held, Key, changes_of
from ray_fraud.stores.findings.port import Known, Member, Pattern, Place, Saved
from ray_fraud.stores.ledger.postgres_alerts import row_of
from ray_fraud.stores.ledger.postgres_session import PATIENT, Limits, Session

NO_EPOCH = 0
"""Cold alerts have no owner."""
OPERATION = "save findings"

_LOCK = "SELECT pg_advisory_xact_lock(hashtext('ray-fraud pattern findings'))"
_TAKEN = """
SELECT finding_uid::text, array_agg(kafka_offset) FROM pattern_finding_members
WHERE rule_name = %s AND cluster_id = %s AND topic_id = %s AND partition = %s
    AND kafka_offset = ANY (%s::bigint[])
GROUP BY finding_uid
"""
_HELD = """
SELECT f.finding_uid::text, f.alert_id, a.feedback IS NOT NULL
FROM pattern_findings AS f JOIN fraud_alerts AS a USING (alert_id) WHERE f.finding_uid = ANY (%s::uuid[])
"""
_INSERT_ALERTS = """
INSERT INTO fraud_alerts (alert_uid, transaction_id, user_id, reason, details, lat, lon, rule_name, severity,
    score, model_version, source, event_time, schema_version, cluster_id, topic_id, topic_partition,
    kafka_offset, record_time, epoch)
SELECT alert_uid, transaction_id, user_id, reason, details, lat, lon, rule_name, severity, score,
    model_version, source, to_timestamp(event_time), schema_version, cluster_id, topic_id, partition,
    "offset", to_timestamp(record_timestamp_ms / 1000.0), epoch
FROM jsonb_to_recordset(%s::jsonb) AS row (
    alert_uid uuid, transaction_id text, user_id bigint, reason text, details jsonb, lat double precision,
    lon double precision, rule_name text, severity text, score double precision, model_version text,
    source text, event_time double precision, schema_version integer, cluster_id text, topic_id text,
    partition integer, "offset" bigint, record_timestamp_ms bigint, epoch bigint)
"""
_INSERT_FINDINGS = """
INSERT INTO pattern_findings
    (finding_uid, rule_name, subject, window_start, first_at, last_at, severity, reason, alert_id)
SELECT row.uid, row.rule, row.subject, to_timestamp(row.win / 1000.0), to_timestamp(row.first / 1000.0),
    to_timestamp(row.last / 1000.0), row.severity, row.reason, alert.alert_id
FROM jsonb_to_recordset(%s::jsonb) AS row
    (uid uuid, rule text, subject text, win bigint, first bigint, last bigint, severity text, reason text)
JOIN fraud_alerts AS alert ON alert.alert_uid = row.uid
"""
_GROW_FINDINGS = """
UPDATE pattern_findings AS known SET
    first_at = least(known.first_at, to_timestamp(row.first / 1000.0)),
    last_at = greatest(known.last_at, to_timestamp(row.last / 1000.0)),
    reason = row.reason, updated_at = clock_timestamp()
FROM jsonb_to_recordset(%s::jsonb) AS row (uid uuid, first bigint, last bigint, reason text)
WHERE known.finding_uid = row.uid
"""
_GROW_ALERTS = """
UPDATE fraud_alerts AS known SET reason = row.reason, details = known.details || jsonb_build_object(
    'users', (
        SELECT jsonb_agg(DISTINCT id ORDER BY id)
        FROM jsonb_array_elements(known.details->'users' || row.users) AS id),
    'transactions', jsonb_path_query_array(known.details->'transactions' || row.transactions, %s::jsonpath),
    'members', (known.details->>'members')::integer + row.members)
FROM jsonb_to_recordset(%s::jsonb)
    AS row (uid uuid, reason text, users jsonb, transactions jsonb, members integer)
WHERE known.alert_uid = row.uid AND known.feedback IS NULL
"""
_SHOWN = f"$[0 to {SHOWN_MEMBERS - 1}]"
_INSERT_MEMBERS = """
INSERT INTO pattern_finding_members
    (rule_name, cluster_id, topic_id, partition, kafka_offset, finding_uid, transaction_id, user_id)
SELECT %s, %s, %s, %s, "offset", (%s::uuid[])[finding], transaction_id, user_id
FROM ROWS FROM (unnest(%s::bigint[]), unnest(%s::integer[]), json_array_elements_text(%s::json),
    unnest(%s::bigint[])) AS member ("offset", finding, transaction_id, user_id)
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


_Stretch = tuple[RuleName, tuple[str, str, int]]
"""Rule and partition: one statement for all members in it, as arrays; a row of JSON for each costs several
times as much."""


class PostgresFindings:
    """See `FindingStore`."""

    def __init__(self, where: PostgresConnection, *, limits: Limits = PATIENT) -> None:
        """Opens nothing yet."""
        self._session = Session(where, name="ray-fraud findings", limits=limits)

    def save(self, patterns: Sequence[Pattern]) -> Saved:
        if not patterns:
            return Saved((), 0)
        with self._session.transaction(OPERATION):
            self._rows(_LOCK)
            taken = self._taken(patterns)
            changes = changes_of(patterns, taken, self._held({*taken.values(), *(p.uid for p in patterns)}))
            new = [change for change in changes.findings if change.is_new]
            self._rows(_INSERT_ALERTS, (_json([_alert(change) for change in new]),))
            self._rows(_INSERT_FINDINGS, (_json([_finding(change) for change in new]),))
            grown = [change for change in changes.findings if not change.is_new]
            self._rows(_GROW_FINDINGS, (_json([_finding(change) for change in grown]),))
            self._rows(_GROW_ALERTS, (_SHOWN, _json([_growth(change) for change in grown])))
            self._insert_members(changes.findings)
        return changes.saved

    def _taken(self, patterns: Sequence[Pattern]) -> dict[Key, UUID]:
        offsets: defaultdict[_Stretch, list[int]] = defaultdict(list)
        for pattern in patterns:
            for member in pattern.members:
                offsets[pattern.rule, member.place[:3]].append(member.place.offset)
        return {
            (rule, Place(*partition, offset)): uid
            for (rule, partition), wanted in offsets.items()
            for text, found in self._rows(_TAKEN, (rule, *partition, _array(wanted)))
            for uid in (UUID(text),)
            for offset in found
        }

    def _insert_members(self, changes: Sequence[Change]) -> None:
        members: defaultdict[_Stretch, list[tuple[int, Member]]] = defaultdict(list)
        for number, change in enumerate(changes, start=1):
            for member in change.members:
                members[change.pattern.rule, member.place[:3]].append((number, member))
        uids = _array(change.uid for change in changes)
        for (rule, partition), numbered in members.items():
            columns = (
                _array(member.place.offset for _, member in numbered),
                _array(number for number, _ in numbered),
                _json([member.transaction_id for _, member in numbered]),
                _array(member.user_id for _, member in numbered),
            )
            self._rows(_INSERT_MEMBERS, (rule, *partition, uids, *columns))

    def _held(self, uids: set[UUID]) -> list[Held]:
        rows = self._rows(_HELD, (sorted(map(str, uids)),))
        return [Held(UUID(uid), alert_id, judged) for uid, alert_id, judged in rows]

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


def _alert(change: Change) -> dict[str, Any]:
    alert, place = alert_of(change.pattern, change.members), change.members[0].place
    check_alert(alert)
    return row_of(alert, PartitionId(place.cluster_id, place.topic_id, place.partition), NO_EPOCH)


def _finding(change: Change) -> dict[str, Any]:
    pattern, times = change.pattern, [member.event_ms for member in change.members]
    return {
        "uid": str(change.uid),
        "rule": pattern.rule,
        "subject": pattern.subject,
        "win": pattern.window_start_ms,
        "first": min(times),
        "last": max(times),
        "severity": pattern.severity,
        "reason": pattern.reason,
    }


def _growth(change: Change) -> dict[str, Any]:
    return {"uid": str(change.uid), "reason": change.pattern.reason, **details_of(change.members)}


def _array(values: Iterable[int | UUID]) -> str:
    """As PostgreSQL writes an array: one literal, where the client would write an expression per value."""
    return f"{{{','.join(map(str, values))}}}"


def _json(content: object) -> str:
    return msgspec.json.encode(content).decode()
