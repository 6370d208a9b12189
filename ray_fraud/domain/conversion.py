"""From the states of one fold version to those of the next: what a release with another version starts from.

A converter is pure: equal states give equal states, whenever and how often it runs. It is written once, with
the version that it leads to, and stays as long as anybody may come from there.

Never: a record; a converter that leaves versions out.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from ray_fraud.domain.fold_state import Convert as Convert
from ray_fraud.domain.fold_state import FoldState as FoldState
from ray_fraud.domain.fold_version import FOLD_VERSION
from ray_fraud.domain.three_to_four import three_to_four
from ray_fraud.domain.timeline import ControlEvent, EventKind, FoldVersion, content_of, in_force_order

CONVERTERS: Mapping[int, Convert] = MappingProxyType({3: three_to_four})
"""By the version to convert from; each leads to the next one."""


class NoConverterError(Exception):
    """States of a version from which no way leads to this release's."""

    def __init__(self, version: int, wanted: int) -> None:
        super().__init__(version, wanted)
        self.version = version
        self.wanted = wanted

    def __str__(self) -> str:
        return (
            f"states of fold version {self.version} cannot be converted to version {self.wanted} by this "
            f"release: start a release in between that can, drain it, then start this one"
        )


class Fold(NamedTuple):
    """Which fold a release has, and from which it can take states over."""

    version: int = FOLD_VERSION
    converters: Mapping[int, Convert] = CONVERTERS

    def can_convert(self, version: int) -> bool:
        return version <= self.version and all(n in self.converters for n in range(version, self.version))

    def convert(self, state: FoldState, version: int) -> FoldState:
        """The state under this fold; one of its own version as it is.

        Raises:
            NoConverterError: a step is missing, or `version` is newer.
        """
        if not self.can_convert(version):
            raise NoConverterError(version, self.version)
        for step in range(version, self.version):
            state = self.converters[step](state)
        return state


PRESENT = Fold()
"""This release's."""


class VersionEvent(NamedTuple):
    """From this offset on, this version holds."""

    from_offset: int
    version: int


def version_events(timeline: Sequence[ControlEvent]) -> list[VersionEvent]:
    """The fold versions of a timeline, in the order in which they are applied.

    Raises:
        TimelineError: such an event is damaged.
    """
    found = []
    for event in sorted(timeline, key=in_force_order):
        if event.kind is EventKind.FOLD_VERSION:
            content = content_of(event)
            if isinstance(content, FoldVersion):
                found.append(VersionEvent(event.from_offset, content.version))
    return found


def version_at(timeline: Sequence[ControlEvent], offset: int) -> int | None:
    """The version that folds the record at `offset`; None before the first event that says one."""
    due = [event.version for event in version_events(timeline) if event.from_offset <= offset]
    return due[-1] if due else None


def fold_began(timeline: Sequence[ControlEvent], version: int) -> int | None:
    """The first offset from which on `version` folds to the timeline's end; None if another one holds there.

    What lies below was decided by another version: it can be looked at, not folded again. 0 if no other
    version ever held.
    """
    began: int | None = 0
    for event in version_events(timeline):
        if event.version != version:
            began = None
        elif began is None:
            began = event.from_offset
    return began
