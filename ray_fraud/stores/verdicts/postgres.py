"""See `Verdicts`: table `alert_feedback` of PostgreSQL.

Never: a lock that the hot path waits for.
"""

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from ray_fraud.domain.verdicts import Origin, Verdict
from ray_fraud.stores.connections import PostgresConnection
from ray_fraud.stores.ledger.postgres_queries import PostgresAlertQueries
from ray_fraud.stores.ledger.postgres_session import PATIENT, Limits, Session
from ray_fraud.stores.ledger.queries import Verdict as Word
from ray_fraud.stores.verdicts.port import NewVerdict, check

ROWS_PER_STATEMENT = 500
"""A statement holds the rows of the alerts that it judges."""

# By user and transaction, so that two writers at once take keys and alerts in one order.
_ADD = """
WITH stored AS (
    INSERT INTO alert_feedback (transaction_id, user_id, merchant_id, event_time, verdict, origin, known_at,
        reviewer, note, import_key)
    SELECT transaction_id, user_id, merchant_id, to_timestamp(event_ms / 1000.0), verdict, origin,
        to_timestamp(known_ms / 1000.0), reviewer, note, import_key
    FROM jsonb_to_recordset(%s::jsonb) AS row (place integer, transaction_id text, user_id bigint,
        merchant_id text, event_ms bigint, verdict text, origin text, known_ms bigint, reviewer text,
        note text, import_key uuid)
    ORDER BY user_id, transaction_id, place
    ON CONFLICT (import_key) DO NOTHING RETURNING 1
)
SELECT count(*) FROM stored
"""
_COLUMNS = """
    feedback_id, transaction_id, user_id, merchant_id, round(extract(epoch FROM event_time) * 1000)::bigint,
    verdict, round(extract(epoch FROM known_at) * 1000)::bigint, origin
"""
_ANY_NEWER = "SELECT max(feedback_id) > %s FROM alert_feedback"
_SETTLED = "LOCK TABLE alert_feedback IN SHARE MODE"
_SINCE = f"""
SELECT {_COLUMNS} FROM alert_feedback WHERE feedback_id > %s AND transaction_id IS NOT NULL
ORDER BY feedback_id LIMIT %s
"""
_KNOWN = f"""
SELECT {_COLUMNS} FROM alert_feedback
WHERE known_at >= to_timestamp(%s / 1000.0) AND known_at < to_timestamp(%s / 1000.0)
    AND transaction_id IS NOT NULL
ORDER BY known_at DESC, feedback_id DESC LIMIT %s
"""
_OPERATION = "add verdicts"


class PostgresVerdicts:
    """See `Verdicts`."""

    def __init__(
        self, where: PostgresConnection, *, name: str = "ray-fraud verdicts", limits: Limits = PATIENT
    ) -> None:
        """Opens nothing yet."""
        self._session = Session(where, name=name, limits=limits)
        self._alerts = PostgresAlertQueries(where, name=name, limits=limits)

    def give(
        self,
        alert_id: int,
        fraud: bool | None,
        reviewer: str,
        note: str = "",
        *,
        origin: Origin = Origin.ANALYST,
    ) -> int:
        return self._alerts.add_feedback(alert_id, Word.of(fraud), reviewer, note, origin=origin).feedback_id

    def add(self, rows: Sequence[NewVerdict]) -> int:
        check(rows, round(time.time() * 1000))
        added = 0
        with self._session.transaction(_OPERATION):
            for start in range(0, len(rows), ROWS_PER_STATEMENT):
                content = [
                    _row(place, row) for place, row in enumerate(rows[start : start + ROWS_PER_STATEMENT])
                ]
                text = msgspec.json.encode(content).decode()
                added += self._session.rows(_OPERATION, _ADD, (text,))[0][0]
        return added

    def since(self, number: int, limit: int) -> Sequence[Verdict]:
        if not self._session.rows("verdicts since", _ANY_NEWER, (number,))[0][0]:
            return []
        with self._session.transaction("verdicts since"):
            # Numbers are drawn before they are committed: once nobody is writing, none below can follow.
            self._session.rows("verdicts since", _SETTLED)
            return [_verdict(row) for row in self._session.rows("verdicts since", _SINCE, (number, limit))]

    def known(self, from_ms: int, until_ms: int, *, newest: int | None = None) -> Sequence[Verdict]:
        rows = self._session.rows("known verdicts", _KNOWN, (from_ms, until_ms, newest))
        return [_verdict(row) for row in reversed(rows)]

    def close(self) -> None:
        self._session.close()
        self._alerts.close()


def _row(place: int, row: NewVerdict) -> dict[str, Any]:
    fields = msgspec.structs.asdict(row)
    return fields | {"place": place, "verdict": Word.of(row.fraud), "import_key": row.import_key}


def _verdict(row: tuple[Any, ...]) -> Verdict:
    number, transaction_id, user_id, merchant_id, event_ms, word, known_ms, origin = row
    fraud = None if word is None else word == Word.TRUE_FRAUD
    return Verdict(number, transaction_id, user_id, merchant_id, event_ms, fraud, known_ms, Origin(origin))
