"""Whether PostgreSQL takes writes: a SELECT is answered by a replica and by a full disk, too.

Never: a table (a database without a schema has a health as well); a lock.
"""

from ray_fraud.stores.errors import StoreUnavailable
from ray_fraud.stores.ledger.errors import STORE
from ray_fraud.stores.ledger.postgres_session import Session

# The message goes through the write-ahead log and its flush as a row would, and leaves nothing in a table;
# only a consumer of logical decoding that asks for messages sees it.
_WRITE = """
SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on',
    CASE WHEN NOT pg_is_in_recovery() THEN pg_logical_emit_message(true, 'ray-fraud', 'health')::text END
"""


def check_writes(session: Session) -> None:
    """Commits a few bytes; the session is closed if it leads to a server that does not take them.

    Raises:
        StoreUnavailable: it is a replica or read-only, or does not answer in time.
        StoreRefused: it does not let us in.
    """
    replica, read_only, _ = session.rows("health", _WRITE)[0]
    if replica or read_only:
        session.close()
        why = "a replica" if replica else "read-only"
        raise StoreUnavailable(
            STORE, f"health: the server is {why}: writes go to another one, or wait for it"
        )
