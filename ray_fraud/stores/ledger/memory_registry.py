"""The model registry in memory, on the same `MemoryDatabase` as the ledger.

Never: a thread, a clock of its own.
"""

from collections.abc import Sequence

import msgspec

from ray_fraud.domain.split import Split
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.ledger.errors import STORE, RegistryConflict
from ray_fraud.stores.ledger.memory import MemoryDatabase
from ray_fraud.stores.ledger.model_events import BY_PLATFORM, Cause, EventAction, ModelEvent
from ray_fraud.stores.ledger.registry import (
    DEFAULT_SLOT,
    FIRST_SALT,
    LIVE,
    TRANSITIONS,
    ModelStatus,
    ModelVersion,
    NewModel,
    Share,
    action_of,
    changed_ids,
    check_shares,
    check_withdrawn,
    production_of,
    split_of,
)


class MemoryRegistry:
    """See `registry.Registry`."""

    def __init__(self, database: MemoryDatabase | None = None) -> None:
        self.database = database if database is not None else MemoryDatabase()

    def versions(self, slot: str = DEFAULT_SLOT) -> list[ModelVersion]:
        with self.database.call("versions"):
            return self._rows(slot)

    def register(
        self, model: NewModel, slot: str = DEFAULT_SLOT, *, cause: Cause = BY_PLATFORM
    ) -> ModelVersion:
        with self.database.call("register"):
            self._check_slot(slot)
            same_name = [row for row in self._rows(slot) if row.model_name == model.model_name]
            for row in same_name:
                if row.model_digest == model.model_digest:
                    return row
            added = ModelVersion(
                id=len(self.database.models) + 1,
                slot=slot,
                model_name=model.model_name,
                version=max((row.version for row in same_name), default=0) + 1,
                model_path=model.model_path,
                model_digest=model.model_digest,
                threshold=model.threshold,
                metrics=model.metrics,
                status=ModelStatus.TRAINING,
                share_bp=0,
                created_at_ms=self.database.now_ms(),
                deployed_at_ms=None,
            )
            self.database.models.append(added)
            self._touch(slot)
            self._record(slot, EventAction.REGISTERED, (added.id,), cause)
            return added

    def set_split(
        self,
        shares: Sequence[Share],
        *,
        slot: str = DEFAULT_SLOT,
        salt: str | None = None,
        expected_fingerprint: str | None = None,
        cause: Cause = BY_PLATFORM,
    ) -> Split:
        with self.database.call("set_split"):
            check_shares(shares)
            self._check_slot(slot)
            if expected_fingerprint not in (None, self._fingerprint(slot)):
                raise RegistryConflict("it changed since it was read; read it again")
            before, split_before = self._rows(slot), self._split(slot)
            changed = self._changed(slot, {share.model_id: share for share in shares})
            for row in changed:
                self.database.models[row.id - 1] = row
            if salt is not None:
                self.database.salts[slot] = salt
            self._touch(slot)
            after, split = self._rows(slot), self._split(slot)
            if split != split_before:
                action = action_of(before, after)
                digests = (split_before.digest, split.digest)
                self._record(slot, action, changed_ids(before, after), cause, *digests)
            return split

    def withdraw(
        self, model_id: int, *, slot: str = DEFAULT_SLOT, cause: Cause = BY_PLATFORM
    ) -> ModelVersion:
        with self.database.call("withdraw"):
            self._check_slot(slot)
            row = check_withdrawn(self._rows(slot), model_id, slot)
            if row.status is ModelStatus.RETIRED:
                return row
            retired = msgspec.structs.replace(row, status=ModelStatus.RETIRED)
            self.database.models[row.id - 1] = retired
            self._touch(slot)
            self._record(slot, EventAction.RETIRED, (row.id,), cause)
            return retired

    def history(self, slot: str = DEFAULT_SLOT) -> list[ModelEvent]:
        with self.database.call("history"):
            return [event for event in self.database.model_events if event.slot == slot]

    def current_split(self, slot: str = DEFAULT_SLOT) -> Split:
        with self.database.call("current_split"):
            return self._split(slot)

    def fingerprint(self, slot: str = DEFAULT_SLOT) -> str:
        with self.database.call("fingerprint"):
            self._check_slot(slot)
            return self._fingerprint(slot)

    def close(self) -> None:
        """Nothing to end."""

    def _changed(self, slot: str, shares: dict[int, Share]) -> list[ModelVersion]:
        rows = {row.id: row for row in self._rows(slot)}
        unknown = sorted(set(shares) - set(rows))
        if unknown:
            raise RegistryConflict(f"slot {slot!r} has no models {unknown}")
        changed = []
        for row in rows.values():
            if row.id not in shares and row.status not in LIVE:
                continue
            share = shares.get(row.id, Share(row.id, ModelStatus.RETIRED, 0))
            if share.status is not row.status and share.status not in TRANSITIONS[row.status]:
                raise RegistryConflict(f"model {row.label} cannot go from {row.status} to {share.status}")
            starts = share.status in LIVE and row.status not in LIVE
            deployed = self.database.now_ms() if starts else row.deployed_at_ms
            changed.append(
                msgspec.structs.replace(
                    row, status=share.status, share_bp=share.share_bp, deployed_at_ms=deployed
                )
            )
        return changed

    def _record(
        self,
        slot: str,
        action: EventAction,
        models: tuple[int, ...],
        cause: Cause,
        split_before: str | None = None,
        split_after: str | None = None,
    ) -> None:
        production = production_of(self._rows(slot))
        self.database.model_events.append(
            ModelEvent(
                event_id=len(self.database.model_events) + 1,
                slot=slot,
                at_ms=self.database.now_ms(),
                action=cause.action or action,
                actor=cause.by,
                db_user="memory",
                models=models,
                production=None if production is None else production.id,
                split_before=split_before,
                split_after=split_after,
                reason=cause.why,
                evidence=cause.evidence,
            )
        )

    def _rows(self, slot: str) -> list[ModelVersion]:
        return [row for row in self.database.models if row.slot == slot]

    def _split(self, slot: str) -> Split:
        return split_of(self._rows(slot), self.database.salts.get(slot, FIRST_SALT))

    def _touch(self, slot: str) -> None:
        revisions = self.database.registry_revisions
        revisions[slot] = revisions.get(slot, 0) + 1

    def _fingerprint(self, slot: str) -> str:
        return str(self.database.registry_revisions.get(slot, 0))

    def _check_slot(self, slot: str) -> None:
        if slot != DEFAULT_SLOT:
            raise StoreRefused(STORE, f"there is no scoring slot {slot!r}")
