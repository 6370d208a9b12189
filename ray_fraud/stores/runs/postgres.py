"""The record of runs in PostgreSQL, table `batch_runs`.

Never: deleting a run.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from ray_fraud.domain.metrics import RunStatus
from ray_fraud.stores.connections import PostgresConnection
from ray_fraud.stores.ledger.postgres_session import HOT_PATH, Limits, Session
from ray_fraud.stores.runs.port import Run, RunKind

_SAVE = """
INSERT INTO batch_runs (run_id, kind, started_at, ended_at, cause, status, report, error)
VALUES (%s, %s, to_timestamp(%s), to_timestamp(%s), %s, %s, %s, %s)
ON CONFLICT (run_id) DO UPDATE SET
    ended_at = excluded.ended_at, status = excluded.status, report = excluded.report, error = excluded.error
"""
_LAST = """
SELECT run_id::text, extract(epoch FROM started_at)::float8, cause, status,
    extract(epoch FROM ended_at)::float8, report::text, error
FROM batch_runs WHERE kind = %s ORDER BY started_at DESC LIMIT %s
"""
_LAST_GOOD = """
SELECT extract(epoch FROM ended_at)::float8
FROM batch_runs WHERE kind = %s AND status = 'done' ORDER BY started_at DESC LIMIT 1
"""
_FAIL = """
UPDATE batch_runs SET status = 'failed', ended_at = to_timestamp(%s), error = %s
WHERE status = 'running' AND kind = %s
RETURNING 1
"""


class PostgresBatchRuns:
    """See `BatchRuns`."""

    def __init__(
        self, where: PostgresConnection, *, kind: RunKind = RunKind.BATCH, limits: Limits = HOT_PATH
    ) -> None:
        """Opens nothing yet."""
        self._session = Session(where, name=f"ray-fraud {kind} runs", limits=limits)
        self._kind = kind.value

    def save(self, run: Run) -> None:
        report = None if run.report is None else msgspec.json.encode(run.report).decode()
        times = run.started, run.ended
        values = (str(run.run_id), self._kind, *times, run.cause, run.status.value, report, run.error)
        self._session.rows("save a batch run", _SAVE, values)

    def last(self, count: int) -> Sequence[Run]:
        return [_run(row) for row in self._session.rows("read batch runs", _LAST, (self._kind, count))]

    def last_good(self) -> float | None:
        rows = self._session.rows("read the last good run", _LAST_GOOD, (self._kind,))
        return next((ended for (ended,) in rows), None)

    def fail_unfinished(self, ended: float, error: str) -> int:
        return len(self._session.rows("close unfinished batch runs", _FAIL, (ended, error, self._kind)))

    def close(self) -> None:
        self._session.close()


def _run(row: tuple[Any, ...]) -> Run:
    run_id, started, cause, status, ended, report, error = row
    content = None if report is None else msgspec.json.decode(report)
    return Run(UUID(run_id), started, cause, RunStatus(status), ended, content, error)
