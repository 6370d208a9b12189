"""What an error of PostgreSQL means for the caller: try again, or never.

Codes: PostgreSQL manual, appendix A. Never: the values of a statement in a message: of what the server
says only the first line is kept, and of a refused value only the code.
"""

import psycopg2

from ray_fraud.stores.errors import StoreError, StoreRefused, StoreUnavailable
from ray_fraud.stores.ledger.errors import STORE

PASSING_CLASSES = ("08", "40", "53", "57", "58")
"""Connection, rollback by conflict, lack of resources, intervention of an operator, system error."""

PASSING_CODES = ("55P03", "55006", "25006", "25P03")
"""Lock not available in time, object in use, read-only (a fail-over), idle transaction ended."""

VALUE_CLASSES = ("22", "23", "54")
"""Data exception, constraint violated, program limit exceeded."""

REFUSED_LOGINS = (
    "authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "does not exist",
    "server does not support SSL",
    "certificate verify failed",
    "invalid connection option",
    "invalid dsn",
)
"""libpq gives no code for a failed login, only these words."""


class ValueRefused(StoreRefused):
    """The database cannot hold a value of the statement."""

    code = "value_refused"


def translated(operation: str, error: psycopg2.Error) -> StoreError:
    """The error of the port's vocabulary that says what the caller does next."""
    code = error.pgcode
    if code is None:
        return _without_code(operation, error)
    if code.startswith(VALUE_CLASSES):
        message = error.diag.message_primary if code == "23514" else None
        constraint = error.diag.constraint_name or error.diag.column_name
        reason = message or (f"breaks {constraint}" if constraint else "a value PostgreSQL cannot hold")
        return ValueRefused(STORE, f"{operation}: {reason} ({code})")
    message = f"{operation}: {error.diag.message_primary} ({code})"
    if code.startswith(PASSING_CLASSES) or code in PASSING_CODES:
        return StoreUnavailable(STORE, message)
    return StoreRefused(STORE, message)


def _without_code(operation: str, error: psycopg2.Error) -> StoreError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    message = f"{operation}: {lines[0]}"
    misused = isinstance(error, psycopg2.ProgrammingError | psycopg2.NotSupportedError)
    if misused or any(words in str(error) for words in REFUSED_LOGINS):
        return StoreRefused(STORE, message)
    return StoreUnavailable(STORE, message)
