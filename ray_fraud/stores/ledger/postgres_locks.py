"""Who holds the lock that a statement waits for, for the message of a wait that fails.

Never: the text of another session's statement, which may hold values of users.
"""

from collections.abc import Sequence
from typing import Any

HOLDERS = """
SELECT pid, application_name, usename, state, extract(epoch FROM clock_timestamp() - xact_start)::float8
FROM pg_stat_activity WHERE pid = ANY(pg_blocking_pids(%s)) ORDER BY xact_start NULLS LAST LIMIT 3
"""
"""Of a waiting server process; only while it waits."""
UNKNOWN = (
    "who holds the lock is not known: look at pg_locks (behind a pooler a session's process has no number)"
)


def held_by(rows: Sequence[Sequence[Any]]) -> str:
    """Rows of `HOLDERS` in words, with how to end them."""
    if not rows:
        return UNKNOWN
    told = ", ".join(_holder(*row) for row in rows)
    return f"the lock is held by {told}; if it was forgotten: SELECT pg_terminate_backend({rows[0][0]})"


def _holder(pid: int, application: str | None, user: str | None, state: str | None, age: float | None) -> str:
    """Of sessions of other users PostgreSQL may show neither state nor age."""
    doing = f", {state}" if state else ""
    since = "" if age is None else f", its transaction is open for {age:.1f} s"
    return f"process {pid} ({application or 'without a name'!r} of user {user!r}{doing}{since})"
