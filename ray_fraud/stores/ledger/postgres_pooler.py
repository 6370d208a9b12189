"""Telling a pooler that gives each transaction another server process from one that keeps it for a session.

Only LISTEN needs the latter. All else is one statement or one transaction, whose limits travel with it.

Never: a setting by which the user would have to say it.
"""

from ray_fraud.stores.connections import PostgresConnection
from ray_fraud.stores.errors import StoreRefused, StoreUnavailable
from ray_fraud.stores.ledger.errors import STORE
from ray_fraud.stores.ledger.postgres_session import Limits, Session

LOOK = Limits(connect_seconds=2.0, statement_seconds=2.0)
"""A pool without a second process lets us wait."""


def check_own_server(session: Session, where: PostgresConnection, what: str) -> None:
    """Does nothing if `session`, which goes to `where`, has a server process of its own.

    Raises:
        StoreRefused: its process is given to others between two transactions; `what` cannot work.
        StoreUnavailable: the server does not answer.
    """
    before = _process(session)
    if before == session.announced_process:
        return
    other = Session(where, name="ray-fraud look for a pooler", limits=LOOK)
    try:
        other.begin("look for a pooler")
        held = _process(other)
    except StoreUnavailable:
        # The pool has no second process: with ours given back it would have had one.
        held = None
    finally:
        after = _process(session)
        other.close()
    if len({before, after}) > 1 or held in (before, after):
        raise StoreRefused(
            STORE,
            f"{what}: LISTEN needs a session, and the pooler gives one per transaction; "
            "set pool_mode = session for this database in PgBouncer, or name the server itself in the URL",
        )


def _process(session: Session) -> int:
    return int(session.rows("look for a pooler", "SELECT pg_backend_pid()")[0][0])
