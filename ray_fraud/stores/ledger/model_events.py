"""The history of the model registry: who changed what, when and why, and what a rollback goes back to.

Never: a change of an event; a database (see `registry.Registry`, which writes and reads them).
"""

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import msgspec

from ray_fraud.stores.ledger.errors import RegistryConflict

PLATFORM = "ray-fraud"
"""The actor of what the platform does by itself."""
_ACTOR = re.compile(r"[^\x00-\x1f\x7f]{1,200}")


class EventAction(StrEnum):
    REGISTERED = "registered"
    TESTING = "testing"
    """Versions began to be tested."""
    PROMOTED = "promoted"
    """Another version is in production."""
    ROLLED_BACK = "rolled_back"
    """An earlier version is in production again."""
    SPLIT = "split"
    """Shares or the draw of users changed, and no status did."""
    RETIRED = "retired"
    """Versions went out of the split, and nothing else did."""
    REFUSED = "refused"
    """A candidate did not pass; nothing changed."""
    DIRECT = "direct"
    """A row was changed by hand, past the platform."""


class Cause(msgspec.Struct, frozen=True):
    """Who asks for a change, and why."""

    by: str = PLATFORM
    why: str = ""
    action: EventAction | None = None
    """None: what the change amounts to."""
    evidence: dict[str, Any] = {}
    """The figures that decided, if a rule did."""

    def __post_init__(self) -> None:
        if not _ACTOR.fullmatch(self.by) or not self.by.strip():
            raise RegistryConflict(f"by: {self.by!r}, must be 1 to 200 printable characters")


BY_PLATFORM = Cause()


class ModelEvent(msgspec.Struct, frozen=True):
    """One change, or one refusal."""

    event_id: int
    slot: str
    at_ms: int
    action: EventAction
    actor: str
    db_user: str
    """Who was logged in to the database."""
    models: tuple[int, ...]
    """Ids of the versions that it is about."""
    production: int | None
    """Id of the production version afterwards."""
    split_before: str | None
    """Digests of the split; None where the split is not known (changes by hand) or was not touched."""
    split_after: str | None
    reason: str
    evidence: dict[str, Any]


def previous_production(events: Sequence[ModelEvent], present: int) -> int | None:
    """Id of the version that was in production before `present`; None if there was none.

    A rollback takes the version it leaves off the history: after A, B, C and a rollback to B, the version
    before B is A, and not C.

    Args:
        events: of one slot, oldest first.
        present: id of the production version now.
    """
    line: list[int] = []
    for event in events:
        found = event.production
        if found is None or (line and line[-1] == found):
            continue
        if event.action is EventAction.ROLLED_BACK and found in line:
            del line[_last(line, found) + 1 :]
        else:
            line.append(found)
    if line and line[-1] == present:
        line.pop()
    earlier = [each for each in line if each != present]
    return earlier[-1] if earlier else None


def _last(line: list[int], wanted: int) -> int:
    return len(line) - 1 - line[::-1].index(wanted)
