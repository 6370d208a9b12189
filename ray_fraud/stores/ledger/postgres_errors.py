"""What an error of PostgreSQL (or of a pooler before it) means: a new session, the same one later, or never.

Codes: PostgreSQL manual, appendix A; the words of PgBouncer: its `src/client.c` and `src/objects.c`.
Never: the values of a statement in a message: of what the server says only the first line is kept, and of
a refused value only the code.
"""

from enum import Enum

import psycopg2

from ray_fraud.stores.errors import StoreError, StoreRefused, StoreUnavailable
from ray_fraud.stores.ledger.errors import STORE


class Next(Enum):
    """What the caller does about an error."""

    NEW_SESSION = "new_session"
    """Try again on a new connection: this one leads to the wrong server, or its state is in doubt."""
    SAME_SESSION = "same_session"
    """Try again as it is."""
    NEVER = "never"
    """It can never work."""


BY_CLASS = {
    "08": Next.NEW_SESSION,  # connection exception; whatever a pooler says at an end, too
    "25": Next.NEW_SESSION,  # another state of the transaction than we believe (a pooler's other server)
    "3B": Next.NEW_SESSION,  # a savepoint of ours is not there: as 25
    "40": Next.SAME_SESSION,  # rolled back by a conflict
    "53": Next.SAME_SESSION,  # lack of memory, disk, …
    "57": Next.NEW_SESSION,  # intervention of an operator: shut down, crashed, ended by a fail-over
    "58": Next.NEW_SESSION,  # system error: its disk may be what the fail-over is about
    "72": Next.SAME_SESSION,  # snapshot too old
}
"""By the first two characters of the SQLSTATE; all other classes are `NEVER`."""

BY_CODE = {
    "26000": Next.NEW_SESSION,  # a prepared statement is missing: made on another server behind a pooler
    "34000": Next.NEW_SESSION,  # a cursor is missing: likewise
    "40003": Next.NEW_SESSION,  # it is not known what became of the statement
    "42P05": Next.NEW_SESSION,  # a prepared statement is there already: another client's, behind a pooler
    "53300": Next.NEW_SESSION,  # too many connections: another host may have room
    "55006": Next.SAME_SESSION,  # object in use
    "55P03": Next.SAME_SESSION,  # a lock was not given in time
    "57014": Next.SAME_SESSION,  # the statement took too long
    "XX000": Next.NEW_SESSION,  # internal error; some proxies say it when their server is gone
}
"""Before `BY_CLASS`. 25006 (read-only: a replica, or one that was the primary) has its class's answer, and so
have 25P02 and 25P03 (aborted, or ended for idleness), 25P04, and 57P01 to 57P05."""

LOCK_NOT_GIVEN = "55P03"

STALE_PLAN = "cached plan must not change result type"
"""Has the code of every unsupported feature, and is gone in a new session."""

VALUE_CLASSES = ("22", "23", "54")
"""Data exception, constraint violated, program limit exceeded."""

REFUSED_LOGINS = (
    "authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "does not exist",
    "no such database",
    "no such user",
    "server does not support SSL",
    "certificate verify failed",
    "invalid connection option",
    "invalid dsn",
)
"""libpq gives no code for a failed login, only these words."""

POOLER_SETTINGS = {
    "unsupported startup parameter": (
        "the pooler refuses a start-up parameter; take it out of the URL and of PGOPTIONS, "
        "or add it to PgBouncer's ignore_startup_parameters"
    ),
    "statement pooling mode": (
        "the pooler allows no transactions; set pool_mode = transaction (or session) for this database"
    ),
}
"""What a pooler says to something that it can never do, and the setting that it is about."""


class ValueRefused(StoreRefused):
    """The database cannot hold a value of the statement."""

    code = "value_refused"


def next_step(error: psycopg2.Error) -> Next:
    """What the tables above say; an error without a code came from the client or the connection."""
    code = error.pgcode
    if _pooler_setting(error) is not None:
        return Next.NEVER
    if code is None:
        misused = isinstance(error, psycopg2.ProgrammingError | psycopg2.NotSupportedError)
        refused = misused or any(words in str(error) for words in REFUSED_LOGINS)
        return Next.NEVER if refused else Next.NEW_SESSION
    if code == "0A000" and STALE_PLAN in (error.diag.message_primary or ""):
        return Next.NEW_SESSION
    return BY_CODE.get(code) or BY_CLASS.get(code[:2], Next.NEVER)


def translated(operation: str, error: psycopg2.Error) -> StoreError:
    """The error of the port's vocabulary that says what the caller does next."""
    code = error.pgcode
    setting = _pooler_setting(error)
    if code is None or setting is not None:
        message = f"{operation}: {_said(error)}" + (f": {setting}" if setting else "")
    elif code.startswith(VALUE_CLASSES):
        said = error.diag.message_primary if code == "23514" else None
        constraint = error.diag.constraint_name or error.diag.column_name
        reason = said or (f"breaks {constraint}" if constraint else "a value PostgreSQL cannot hold")
        return ValueRefused(STORE, f"{operation}: {reason} ({code})")
    else:
        message = f"{operation}: {error.diag.message_primary} ({code})"
    if next_step(error) is Next.NEVER:
        return StoreRefused(STORE, message)
    return StoreUnavailable(STORE, message)


def _said(error: psycopg2.Error) -> str:
    """Its first line; of a URL with several hosts the first line for each."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return "; ".join([lines[0], *(line for line in lines[1:] if line.startswith("connection to server at"))])


def _pooler_setting(error: psycopg2.Error) -> str | None:
    return next((setting for words, setting in POOLER_SETTINGS.items() if words in str(error)), None)
