"""Which feature tables are the newest: PostgreSQL, table `feature_refresh`.

Never: the tables themselves.
"""

from ray_fraud.stores.connections import PostgresConnection
from ray_fraud.stores.ledger.postgres_session import HOT_PATH, Limits, Session

_NEWEST = "SELECT digest FROM feature_refresh ORDER BY refresh_id DESC LIMIT 1"
_PUBLISH = """
INSERT INTO feature_refresh (digest)
SELECT %(digest)s WHERE %(digest)s IS DISTINCT FROM (
    SELECT digest FROM feature_refresh ORDER BY refresh_id DESC LIMIT 1
) RETURNING 1
"""


class PostgresFeatureRefreshes:
    """See `FeatureRefreshes`."""

    def __init__(
        self,
        where: PostgresConnection,
        *,
        name: str = "ray-fraud feature refreshes",
        limits: Limits = HOT_PATH,
    ) -> None:
        """Opens nothing yet."""
        self._session = Session(where, name=name, limits=limits)

    def publish(self, digest: str) -> None:
        self._session.rows("publish feature tables", _PUBLISH, {"digest": digest})

    def newest(self) -> str | None:
        rows = self._session.rows("newest feature tables", _NEWEST, ())
        return rows[0][0] if rows else None

    def close(self) -> None:
        self._session.close()
