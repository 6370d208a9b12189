"""What becomes of a pattern, given the findings that hold members of it: both stores ask here.

Never: I/O.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple
from uuid import UUID

from ray_fraud.stores.findings.port import Member, Pattern, Place


class Held(NamedTuple):
    """A stored finding of the same rule that holds some member of the pattern, or has its uid."""

    uid: UUID
    order: int
    """Findings ascend in the order in which they were stored."""
    judged: bool
    """An analyst has given a verdict on its alert."""


class Outcome(NamedTuple):
    joins: UUID | None
    """The finding that gets the members; None: a new one."""
    members: tuple[Member, ...]
    """Those that no finding of this rule holds yet."""


def outcome_of(pattern: Pattern, taken: Mapping[Place, UUID], held: Iterable[Held]) -> Outcome | None:
    """None: nothing is to be done.

    Args:
        pattern: what was found.
        taken: which finding of the rule holds a member already.
        held: the findings among them, and the one of the pattern's own uid if it is stored.
    """
    findings = sorted(held, key=lambda finding: finding.order)
    left = tuple(member for member in pattern.members if member.place not in taken)
    if not left:
        return None
    for finding in findings:
        if not finding.judged:
            return Outcome(finding.uid, left)
    if any(finding.uid == pattern.uid for finding in findings):
        # Judged, and what is new has the same rule, subject and window: more of the same.
        return Outcome(pattern.uid, left)
    return Outcome(None, left)
