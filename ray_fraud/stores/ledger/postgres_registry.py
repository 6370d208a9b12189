"""The model registry on PostgreSQL; the schema's triggers hold its rules for every writer.

Never: a retry; a split that is not checked at commit.
"""

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from ray_fraud.domain.split import Split
from ray_fraud.stores.connections import PostgresConnection
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.ledger.errors import STORE, RegistryConflict
from ray_fraud.stores.ledger.postgres_errors import ValueRefused
from ray_fraud.stores.ledger.postgres_session import HOT_PATH, Limits, Rows, Session
from ray_fraud.stores.ledger.registry import (
    DEFAULT_SLOT,
    ModelVersion,
    NewModel,
    Share,
    check_shares,
    split_of,
)

_COLUMNS = """
    id, slot, model_name, version, model_path, model_digest, threshold, metrics, status,
    round(traffic_percentage * 100)::integer,
    round(extract(epoch FROM created_at) * 1000)::bigint,
    round(extract(epoch FROM deployed_at) * 1000)::bigint
"""
_SLOT_ROWS = f"SELECT {_COLUMNS} FROM model_registry WHERE slot = %s ORDER BY id"

_REGISTER = f"""
INSERT INTO model_registry (slot, model_name, version, model_path, model_digest, threshold, metrics)
SELECT %(slot)s, %(model_name)s, coalesce(max(version), 0) + 1, %(model_path)s, %(model_digest)s,
    %(threshold)s, %(metrics)s::jsonb
FROM model_registry WHERE slot = %(slot)s AND model_name = %(model_name)s
ON CONFLICT (slot, model_name, model_digest) DO NOTHING
RETURNING {_COLUMNS}
"""

_REGISTERED = f"""
SELECT {_COLUMNS} FROM model_registry
WHERE slot = %(slot)s AND model_name = %(model_name)s AND model_digest = %(model_digest)s
"""

_RETIRE_OTHERS = """
UPDATE model_registry SET status = 'retired', traffic_percentage = 0
WHERE slot = %s AND status IN ('testing', 'production') AND NOT id = ANY (%s::bigint[])
"""
_SET_SHARE = """
UPDATE model_registry SET status = %s, traffic_percentage = %s WHERE slot = %s AND id = %s RETURNING 1
"""


class PostgresRegistry:
    """See `registry.Registry`."""

    def __init__(
        self, where: PostgresConnection, *, name: str = "ray-fraud registry", limits: Limits = HOT_PATH
    ) -> None:
        self._session = Session(where, name=name, limits=limits)

    def versions(self, slot: str = DEFAULT_SLOT) -> list[ModelVersion]:
        return _versions(self._session.rows("versions", _SLOT_ROWS, (slot,)))

    def register(self, model: NewModel, slot: str = DEFAULT_SLOT) -> ModelVersion:
        values = msgspec.structs.asdict(model) | {
            "slot": slot,
            "metrics": msgspec.json.encode(model.metrics).decode(),
        }
        with self._session.transaction("register"):
            self._lock_slot("register", slot)
            added = self._session.rows("register", _REGISTER, values)
            if not added:
                added = self._session.rows("register", _REGISTERED, values)
        return _versions(added)[0]

    def set_split(
        self,
        shares: Sequence[Share],
        *,
        slot: str = DEFAULT_SLOT,
        salt: str | None = None,
        expected_fingerprint: str | None = None,
    ) -> Split:
        check_shares(shares)
        try:
            with self._session.transaction("set_split"):
                present, _ = self._lock_slot("set_split", slot)
                if expected_fingerprint not in (None, present):
                    raise RegistryConflict("it changed since it was read; read it again")
                self._session.rows(
                    "set_split",
                    "UPDATE scoring_slot SET salt = coalesce(%s, salt), fingerprint = gen_random_uuid()"
                    " WHERE slot = %s",
                    (salt, slot),
                )
                self._write_shares(slot, shares)
                split = self._split("set_split", slot)
        except ValueRefused as error:
            raise RegistryConflict(error.message) from error
        return split

    def current_split(self, slot: str = DEFAULT_SLOT) -> Split:
        return self._split("current_split", slot)

    def fingerprint(self, slot: str = DEFAULT_SLOT) -> str:
        query = "SELECT fingerprint::text FROM scoring_slot WHERE slot = %s"
        rows = self._session.rows("fingerprint", query, (slot,))
        if not rows:
            raise StoreRefused(STORE, f"there is no scoring slot {slot!r}")
        return str(rows[0][0])

    def close(self) -> None:
        self._session.close()

    def _lock_slot(self, operation: str, slot: str) -> tuple[str, str]:
        """(fingerprint, salt); until the end of the transaction no other writer of the slot gets in."""
        query = "SELECT fingerprint::text, salt FROM scoring_slot WHERE slot = %s FOR UPDATE"
        rows = self._session.rows(operation, query, (slot,))
        if not rows:
            raise StoreRefused(STORE, f"there is no scoring slot {slot!r}")
        fingerprint, salt = rows[0]
        return fingerprint, salt

    def _write_shares(self, slot: str, shares: Sequence[Share]) -> None:
        self._session.rows("set_split", _RETIRE_OTHERS, (slot, [share.model_id for share in shares]))
        for share in shares:
            percentage = Decimal(share.share_bp) / 100
            values = (share.status.value, percentage, slot, share.model_id)
            if not self._session.rows("set_split", _SET_SHARE, values):
                raise RegistryConflict(f"slot {slot!r} has no models [{share.model_id}]")

    def _split(self, operation: str, slot: str) -> Split:
        # One statement, so that salt and versions are of one moment.
        query = f"SELECT salt, {_COLUMNS} FROM model_registry JOIN scoring_slot USING (slot) WHERE slot = %s"
        rows = self._session.rows(operation, query, (slot,))
        salt = rows[0][0] if rows else ""
        return split_of(_versions([row[1:] for row in rows]), salt)


def _versions(rows: Rows) -> list[ModelVersion]:
    """Rows of `_COLUMNS`, whose order is that of the fields."""
    return [
        msgspec.convert(dict(zip(ModelVersion.__struct_fields__, row, strict=True)), ModelVersion)
        for row in rows
    ]
