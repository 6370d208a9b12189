"""The model registry: versions, their status, and the traffic split of a scoring slot.

Never: model files (the registry names them by digest), a default that changes a live split.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from ray_fraud.domain.split import BASIS_POINTS, RULES_ONLY, Arm, Split
from ray_fraud.stores.ledger.errors import RegistryConflict
from ray_fraud.stores.ledger.model_events import BY_PLATFORM, Cause, EventAction, ModelEvent

DEFAULT_SLOT = "transaction"
"""The one scoring slot of the hot path."""


FIRST_SALT = "split-1"
"""The draw of users until a split names another."""


class ModelStatus(StrEnum):
    TRAINING = "training"
    TESTING = "testing"
    PRODUCTION = "production"
    RETIRED = "retired"


LIVE = frozenset({ModelStatus.TESTING, ModelStatus.PRODUCTION})
"""The statuses that receive traffic."""

TRANSITIONS: dict[ModelStatus, frozenset[ModelStatus]] = {
    ModelStatus.TRAINING: frozenset({ModelStatus.TESTING, ModelStatus.PRODUCTION, ModelStatus.RETIRED}),
    ModelStatus.TESTING: frozenset({ModelStatus.PRODUCTION, ModelStatus.RETIRED}),
    ModelStatus.PRODUCTION: frozenset({ModelStatus.TESTING, ModelStatus.RETIRED}),
    ModelStatus.RETIRED: frozenset({ModelStatus.TESTING, ModelStatus.PRODUCTION}),
}
"""Legal moves; `retired` to a live status is a rollback. The database holds the same table."""


class NewModel(msgspec.Struct, frozen=True):
    """A model to be registered; the registry gives it a version."""

    model_name: str
    model_path: str
    """Where the lake holds it, relative to `models/`."""
    model_digest: str
    """SHA-256 of the manifest."""
    threshold: float
    metrics: dict[str, Any] = {}


class ModelVersion(msgspec.Struct, frozen=True):
    """One row of the registry."""

    id: int
    slot: str
    model_name: str
    version: int
    model_path: str
    model_digest: str
    threshold: float
    metrics: dict[str, Any]
    status: ModelStatus
    share_bp: int
    """Traffic in basis points; 0 unless the status is live."""
    created_at_ms: int
    deployed_at_ms: int | None
    """When it last began to receive traffic."""

    @property
    def label(self) -> str:
        return f"{self.model_name}:{self.version}"


class Share(msgspec.Struct, frozen=True):
    """What a version shall be in the next split."""

    model_id: int
    status: ModelStatus
    share_bp: int


class Registry(Protocol):
    """Raises `StoreUnavailable` as the ledger does; every call may be repeated after it."""

    def versions(self, slot: str = DEFAULT_SLOT) -> list[ModelVersion]:
        """All versions, by id."""

    def register(
        self, model: NewModel, slot: str = DEFAULT_SLOT, *, cause: Cause = BY_PLATFORM
    ) -> ModelVersion:
        """Adds a version in status `training`; the same name and digest again returns the first row.

        Raises:
            StoreRefused: there is no such slot.
        """

    def set_split(
        self,
        shares: Sequence[Share],
        *,
        slot: str = DEFAULT_SLOT,
        salt: str | None = None,
        expected_fingerprint: str | None = None,
        cause: Cause = BY_PLATFORM,
    ) -> Split:
        """Makes exactly these versions live, in one step; live versions not named are retired.

        The event of it is written in the same step. A call that changes nothing, such as a repetition after
        a lost reply, is no event.

        Args:
            shares: one production version, any number of testing ones, adding up to 10,000.
            salt: starts another draw of the users; None keeps the draw.
            expected_fingerprint: refuse if the registry has changed since this value was read.
            cause: who and why; an action of its own is kept, else it is what the change amounts to.

        Raises:
            RegistryConflict: the rules forbid it, or the fingerprint differs. Nothing was changed.
        """

    def current_split(self, slot: str = DEFAULT_SLOT) -> Split:
        """Production first, then testing by label; `RULES_ONLY` while no version is live."""

    def fingerprint(self, slot: str = DEFAULT_SLOT) -> str:
        """Changes whenever a version, a share or the salt does; one cheap read."""

    def withdraw(
        self, model_id: int, *, slot: str = DEFAULT_SLOT, cause: Cause = BY_PLATFORM
    ) -> ModelVersion:
        """Retires a version in status `training`; one that is retired already stays as it is.

        Raises:
            RegistryConflict: there is no such version, or it is live (leave it out of the next split).
        """

    def history(self, slot: str = DEFAULT_SLOT) -> list[ModelEvent]:
        """Every change and refusal, oldest first."""

    def close(self) -> None: ...


def check_shares(shares: Sequence[Share]) -> None:
    """Raises `RegistryConflict` if the shares cannot be a split, whatever the registry holds."""
    production = sum(share.status is ModelStatus.PRODUCTION for share in shares)
    total = sum(share.share_bp for share in shares)
    dead = [share.model_id for share in shares if share.status not in LIVE]
    if production != 1:
        raise RegistryConflict(f"{production} production versions, must be exactly 1")
    if dead:
        raise RegistryConflict(f"models {dead}: status must be testing or production")
    if total != BASIS_POINTS or any(share.share_bp < 0 for share in shares):
        raise RegistryConflict(f"shares add up to {total} basis points, must be {BASIS_POINTS}")
    if len({share.model_id for share in shares}) != len(shares):
        raise RegistryConflict("a model is named twice")


def split_of(versions: Sequence[ModelVersion], salt: str) -> Split:
    """The split that these rows describe."""
    live = [row for row in versions if row.status in LIVE]
    if not live:
        return RULES_ONLY
    live.sort(key=lambda row: (row.status is not ModelStatus.PRODUCTION, row.model_name, row.version))
    arms = tuple(
        Arm(row.model_name, row.version, row.model_digest, row.threshold, row.share_bp) for row in live
    )
    return Split(arms=arms, salt=salt)


def action_of(before: Sequence[ModelVersion], after: Sequence[ModelVersion]) -> EventAction:
    """What a change of the split amounts to; the rows of one slot in the same order."""
    moves = {(old.status, new.status) for old, new in zip(before, after, strict=True)}
    if any(new is ModelStatus.PRODUCTION is not old for old, new in moves):
        return EventAction.PROMOTED
    if any(new is ModelStatus.TESTING and old not in LIVE for old, new in moves):
        return EventAction.TESTING
    if any(new is ModelStatus.RETIRED is not old for old, new in moves):
        return EventAction.RETIRED
    return EventAction.SPLIT


def changed_ids(before: Sequence[ModelVersion], after: Sequence[ModelVersion]) -> tuple[int, ...]:
    """Ids of the versions whose status or share differ; the rows of one slot in the same order."""
    pairs = zip(before, after, strict=True)
    return tuple(new.id for old, new in pairs if (old.status, old.share_bp) != (new.status, new.share_bp))


def production_of(versions: Sequence[ModelVersion]) -> ModelVersion | None:
    return next((row for row in versions if row.status is ModelStatus.PRODUCTION), None)


def check_withdrawn(versions: Sequence[ModelVersion], model_id: int, slot: str) -> ModelVersion:
    """The version, if it may be withdrawn; raises `RegistryConflict` if not."""
    row = next((row for row in versions if row.id == model_id), None)
    if row is None:
        raise RegistryConflict(f"slot {slot!r} has no models [{model_id}]")
    if row.status in LIVE:
        raise RegistryConflict(f"model {row.label} is live ({row.status}); leave it out of the next split")
    return row
