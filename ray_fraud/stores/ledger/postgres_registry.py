"""The model registry on PostgreSQL; the schema's triggers hold its rules for every writer.

Never: a retry; a split that is not checked at commit.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from ray_fraud.domain.split import Split
from ray_fraud.stores.connections import PostgresConnection
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.ledger.errors import STORE, RegistryConflict
from ray_fraud.stores.ledger.model_events import BY_PLATFORM, Cause, EventAction, ModelEvent
from ray_fraud.stores.ledger.postgres_errors import ValueRefused
from ray_fraud.stores.ledger.postgres_session import HOT_PATH, Limits, Rows, Session
from ray_fraud.stores.ledger.registry import (
    DEFAULT_SLOT,
    ModelStatus,
    ModelVersion,
    NewModel,
    Share,
    action_of,
    changed_ids,
    check_shares,
    check_withdrawn,
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

_RECORD = """
INSERT INTO model_event (slot, action, actor, models, production, split_before, split_after, reason, evidence)
SELECT %(slot)s, %(action)s, %(actor)s, %(models)s::bigint[],
    (SELECT id FROM model_registry WHERE slot = %(slot)s AND status = 'production'),
    %(split_before)s, %(split_after)s, %(reason)s, %(evidence)s::jsonb
"""
_HISTORY = """
SELECT event_id, slot, round(extract(epoch FROM at) * 1000)::bigint, action, actor, db_user, models,
    production, split_before, split_after, reason, evidence
FROM model_event WHERE slot = %s ORDER BY event_id
"""


class PostgresRegistry:
    """See `registry.Registry`."""

    def __init__(
        self, where: PostgresConnection, *, name: str = "ray-fraud registry", limits: Limits = HOT_PATH
    ) -> None:
        self._session = Session(where, name=name, limits=limits)

    def versions(self, slot: str = DEFAULT_SLOT) -> list[ModelVersion]:
        return self._rows_of("versions", slot)

    def register(
        self, model: NewModel, slot: str = DEFAULT_SLOT, *, cause: Cause = BY_PLATFORM
    ) -> ModelVersion:
        values = msgspec.structs.asdict(model) | {
            "slot": slot,
            "metrics": msgspec.json.encode(model.metrics).decode(),
        }
        with self._session.transaction("register"):
            self._lock_slot("register", slot)
            added = self._session.rows("register", _REGISTER, values)
            if added:
                models = (_versions(added)[0].id,)
                self._record("register", slot, EventAction.REGISTERED, models, cause)
            else:
                added = self._session.rows("register", _REGISTERED, values)
        return _versions(added)[0]

    def set_split(
        self,
        shares: Sequence[Share],
        *,
        slot: str = DEFAULT_SLOT,
        salt: str | None = None,
        expected_fingerprint: str | None = None,
        cause: Cause = BY_PLATFORM,
    ) -> Split:
        check_shares(shares)
        try:
            with self._session.transaction("set_split"):
                present, old_salt = self._lock_slot("set_split", slot)
                if expected_fingerprint not in (None, present):
                    raise RegistryConflict("it changed since it was read; read it again")
                before = self._rows_of("set_split", slot)
                self._session.rows(
                    "set_split",
                    "UPDATE scoring_slot SET salt = coalesce(%s, salt), fingerprint = gen_random_uuid()"
                    " WHERE slot = %s",
                    (salt, slot),
                )
                self._write_shares(slot, shares)
                after = self._rows_of("set_split", slot)
                split_before, split = split_of(before, old_salt), split_of(after, salt or old_salt)
                if split != split_before:
                    action, models = action_of(before, after), changed_ids(before, after)
                    digests = (split_before.digest, split.digest)
                    self._record("set_split", slot, action, models, cause, *digests)
        except ValueRefused as error:
            raise RegistryConflict(error.message) from error
        return split

    def withdraw(
        self, model_id: int, *, slot: str = DEFAULT_SLOT, cause: Cause = BY_PLATFORM
    ) -> ModelVersion:
        query = "UPDATE model_registry SET status = 'retired' WHERE id = %s"
        with self._session.transaction("withdraw"):
            self._lock_slot("withdraw", slot)
            row = check_withdrawn(self._rows_of("withdraw", slot), model_id, slot)
            if row.status is not ModelStatus.RETIRED:
                self._session.rows("withdraw", query, (model_id,))
                self._record("withdraw", slot, EventAction.RETIRED, (model_id,), cause)
            return check_withdrawn(self._rows_of("withdraw", slot), model_id, slot)

    def history(self, slot: str = DEFAULT_SLOT) -> list[ModelEvent]:
        rows = self._session.rows("history", _HISTORY, (slot,))
        names = ModelEvent.__struct_fields__
        return [msgspec.convert(dict(zip(names, row, strict=True)), ModelEvent) for row in rows]

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

    def _rows_of(self, operation: str, slot: str) -> list[ModelVersion]:
        return _versions(self._session.rows(operation, _SLOT_ROWS, (slot,)))

    def _record(
        self,
        operation: str,
        slot: str,
        action: EventAction,
        models: Sequence[int],
        cause: Cause,
        split_before: str | None = None,
        split_after: str | None = None,
    ) -> None:
        values: dict[str, Any] = {
            "slot": slot,
            "action": (cause.action or action).value,
            "actor": cause.by,
            "models": [*models],
            "split_before": split_before,
            "split_after": split_after,
            "reason": cause.why,
            "evidence": msgspec.json.encode(cause.evidence).decode(),
        }
        self._session.rows(operation, _RECORD, values)

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
