"""What becomes of patterns, given the findings that hold members of them: both stores ask here.

Never: I/O.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from ray_fraud.domain.alert import RuleName
from ray_fraud.stores.findings.port import Member, Pattern, Place, Saved

Key = tuple[RuleName, Place]
"""A record as a member: of one finding of each rule at most."""


class Held(NamedTuple):
    """A stored finding that holds some member of a pattern of its rule, or has its uid."""

    uid: UUID
    order: int
    """Findings ascend in the order in which they were stored."""
    judged: bool
    """An analyst has given a verdict on its alert."""


class Change(NamedTuple):
    """New members of one finding."""

    uid: UUID
    pattern: Pattern
    """The last pattern that brought members: its reason counts them all."""
    members: tuple[Member, ...]
    is_new: bool


class Changes(NamedTuple):
    findings: list[Change]
    saved: Saved


def changes_of(patterns: Sequence[Pattern], taken: Mapping[Key, UUID], held: Iterable[Held]) -> Changes:
    """What has to be written, one entry per finding, new ones in the order of their patterns.

    Args:
        patterns: what was found.
        taken: which finding holds a member of them already.
        held: those findings, and the stored ones that have a pattern's own uid.
    """
    owners = dict(taken)
    known = {finding.uid: finding for finding in held}
    changes: dict[UUID, Change] = {}
    order = max((finding.order for finding in known.values()), default=0)
    for pattern in patterns:
        left = tuple(member for member in pattern.members if (pattern.rule, member.place) not in owners)
        if not left:
            continue
        sharing = {owners.get((pattern.rule, member.place)) for member in pattern.members} - {None}
        uid = _joins(pattern, [known[uid] for uid in {*sharing, pattern.uid} if uid in known])
        is_new = uid is None
        if uid is None:
            uid, order = pattern.uid, order + 1
            known[uid] = Held(uid, order, False)
        before = changes.get(uid)
        members = left if before is None else (*before.members, *left)
        changes[uid] = Change(uid, pattern, members, is_new or (before is not None and before.is_new))
        owners.update(((pattern.rule, member.place), uid) for member in left)
    findings = list(changes.values())
    new = tuple(change.pattern.rule for change in findings if change.is_new)
    return Changes(findings, Saved(new, len(findings) - len(new)))


def _joins(pattern: Pattern, findings: Iterable[Held]) -> UUID | None:
    """The finding that the pattern's new members go to; None: a new one."""
    oldest_first = sorted(findings, key=lambda finding: finding.order)
    for finding in oldest_first:
        if not finding.judged:
            return finding.uid
    # Judged, and what is new has the same rule, subject and window: more of the same.
    return pattern.uid if any(finding.uid == pattern.uid for finding in oldest_first) else None
