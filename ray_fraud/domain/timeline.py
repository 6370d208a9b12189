"""The control timeline: all that changes decisions without being a transaction.

Never: appending by anyone but the partition's owner; an event below an observed offset.
"""

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from ray_fraud.domain.canonical import canonical_json, content_digest
from ray_fraud.domain.recorded_settings import RecordedSettingsError, decode_recorded
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.domain.split import Split


class EventKind(StrEnum):
    FOLD_VERSION = "fold_version"
    SETTINGS = "settings"
    SPLIT = "split"
    QUARANTINE = "quarantine"
    GAP = "gap"
    FEATURES = "features"
    TRUNCATION = "truncation"


class ControlEvent(msgspec.Struct, frozen=True):
    """One numbered event; it holds for every record at or after `from_offset`."""

    seq: int
    """1, 2, 3 … without holes within a partition."""
    from_offset: int
    kind: EventKind
    digest: str
    """SHA-256 of the content, hex."""
    reference: str
    """The content itself when small (JSON), else the name of an immutable file."""

    def __post_init__(self) -> None:
        if self.seq < 1 or self.from_offset < 0:
            raise ValueError(f"seq {self.seq} must be >= 1, from_offset {self.from_offset} >= 0")


class FoldVersion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From here on the fold of this version computes the state."""

    version: int


class Quarantine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The records from `offset` on are passed over: they kept killing their process, or cannot be read."""

    offset: int
    to_offset: int | None = None
    """One past the last; None: the one at `offset` alone."""
    cause: str = ""
    """Why they cannot be read; empty for what killed its process."""

    def __post_init__(self) -> None:
        if self.to_offset is not None and self.to_offset <= self.offset:
            raise ValueError(f"offset < to_offset must hold, got {self.offset}, {self.to_offset}")

    @property
    def end(self) -> int:
        """One past the last offset."""
        return self.offset + 1 if self.to_offset is None else self.to_offset

    def below(self, end: int) -> "Quarantine | None":
        """What is left of it in a log that was cut off at `end`."""
        if self.offset >= end:
            return None
        return self if self.end <= end else msgspec.structs.replace(self, to_offset=end)


_GAP_NAMES = {"from_offset": "from", "to_offset": "to"}


class Gap(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename=_GAP_NAMES):
    """The offsets `from_offset` <= o < `to_offset` are lost, for the named reason."""

    from_offset: int
    to_offset: int
    reason: str

    def __post_init__(self) -> None:
        if not 0 <= self.from_offset < self.to_offset:
            raise ValueError(f"0 <= from < to must hold, got from {self.from_offset}, to {self.to_offset}")


class Truncation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The log lost its records from `offset` on; other records have those offsets, or will have them.

    Holds at once wherever the event stands: what events before it say of single records at or above `offset`
    concerned the lost ones.
    """

    offset: int
    epoch: int
    """The ownership that found it: a log may be cut off at one offset twice."""


class FeatureRefresh(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From here on features are looked up in the tables of this digest."""

    tables: str
    """SHA-256 of the tables' file, hex."""

    def canonical(self) -> bytes:
        return canonical_json(self)


Content = Split | DetectionSettings | FoldVersion | Quarantine | Gap | FeatureRefresh | Truncation

CONTENT_TYPES: dict[EventKind, type[Content]] = {
    EventKind.FOLD_VERSION: FoldVersion,
    EventKind.SETTINGS: DetectionSettings,
    EventKind.SPLIT: Split,
    EventKind.QUARANTINE: Quarantine,
    EventKind.GAP: Gap,
    EventKind.FEATURES: FeatureRefresh,
    EventKind.TRUNCATION: Truncation,
}


class TimelineError(Exception):
    """An event that cannot be applied: the timeline is damaged or its writer broke a rule."""


def content_of(event: ControlEvent) -> Content:
    """The decoded inline content of an event, of the type that its kind says.

    Raises:
        TimelineError: the content does not have the event's digest, is not of that type, or not complete:
            what an event does not say is not filled in.
    """
    content = event.reference.encode()
    if content_digest(content) != event.digest:
        raise TimelineError(
            f"event {event.seq} ({event.kind}): its content has SHA-256 {content_digest(content)}, "
            f"the event says {event.digest}; restore the timeline from a cut or snapshot"
        )
    kind = CONTENT_TYPES[event.kind]
    try:
        if issubclass(kind, DetectionSettings):
            return decode_recorded(content, kind)
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, RecordedSettingsError) as error:
        raise TimelineError(f"event {event.seq} ({event.kind}): content not understood: {error}") from error


def inline_event(seq: int, from_offset: int, kind: EventKind, content: bytes) -> ControlEvent:
    """An event that carries its content with it."""
    return ControlEvent(seq, from_offset, kind, content_digest(content), content.decode())


def split_event(seq: int, from_offset: int, split: Split) -> ControlEvent:
    """From this offset on, `split` says which model scores which user."""
    return inline_event(seq, from_offset, EventKind.SPLIT, split.canonical())


def settings_event(seq: int, from_offset: int, settings: DetectionSettings) -> ControlEvent:
    """From this offset on, `settings` hold."""
    return inline_event(seq, from_offset, EventKind.SETTINGS, settings.canonical())


def fold_version_event(seq: int, from_offset: int, version: int) -> ControlEvent:
    """From this offset on, the fold of `version` computes the state."""
    return inline_event(seq, from_offset, EventKind.FOLD_VERSION, canonical_json(FoldVersion(version)))


def features_event(seq: int, from_offset: int, tables: str) -> ControlEvent:
    """From this offset on, the feature tables of this digest are looked up."""
    return inline_event(seq, from_offset, EventKind.FEATURES, FeatureRefresh(tables).canonical())


def quarantine_event(seq: int, offset: int, to_offset: int | None = None, cause: str = "") -> ControlEvent:
    """The record at `offset`, or all below `to_offset`, are not processed."""
    content = canonical_json(Quarantine(offset, to_offset, cause))
    return inline_event(seq, offset, EventKind.QUARANTINE, content)


def damage_in(timeline: Sequence[ControlEvent]) -> list[Quarantine]:
    """What was quarantined because it cannot be read, in the order of the events."""
    found: list[Quarantine] = []
    for event in timeline:
        if event.kind not in {EventKind.QUARANTINE, EventKind.TRUNCATION}:
            continue
        content = content_of(event)
        if isinstance(content, Quarantine) and content.to_offset is not None:
            found.append(content)
        elif isinstance(content, Truncation):
            found = [left for each in found if (left := each.below(content.offset)) is not None]
    return found


def gap_event(seq: int, from_offset: int, to_offset: int, reason: str) -> ControlEvent:
    """The offsets `from_offset` <= o < `to_offset` are not processed; the fold goes on at `to_offset`."""
    return inline_event(seq, from_offset, EventKind.GAP, canonical_json(Gap(from_offset, to_offset, reason)))


def truncation_event(seq: int, from_offset: int, truncation: Truncation) -> ControlEvent:
    """Quarantines before it no longer hold at or above `truncation.offset`."""
    return inline_event(seq, from_offset, EventKind.TRUNCATION, canonical_json(truncation))


def last_seq(events: Sequence[ControlEvent]) -> int:
    """The number of the last one; 0 if there are none."""
    return events[-1].seq if events else 0


def in_force_order(event: ControlEvent) -> tuple[int, int]:
    """Sorts events as they are applied: by offset, those of one offset by number."""
    return event.from_offset, event.seq


def refused_by(known: Sequence[Quarantine], from_offset: int, to_offset: int) -> str | None:
    """The cause of the range that covers all of `[from_offset, to_offset)`; None without one."""
    for each in known:
        if each.offset <= from_offset and to_offset <= each.end:
            return each.cause
    return None


def tables_needed(timeline: Sequence[ControlEvent], next_offset: int) -> list[str]:
    """Digests of the feature tables that hold at `next_offset` or later, in order; without repetition."""
    refreshes = sorted((event for event in timeline if event.kind is EventKind.FEATURES), key=in_force_order)
    later = [event for event in refreshes if event.from_offset > next_offset]
    due = [event for event in refreshes if event.from_offset <= next_offset][-1:]
    contents = [content_of(event) for event in (*due, *later)]
    return list(dict.fromkeys(each.tables for each in contents if isinstance(each, FeatureRefresh)))


def settings_at(timeline: Sequence[ControlEvent], offset: int) -> DetectionSettings | None:
    """The settings that hold for the record at `offset`; None before the first event that says some.

    Raises:
        TimelineError: that event is damaged.
    """
    due = [event for event in timeline if event.kind is EventKind.SETTINGS and event.from_offset <= offset]
    if not due:
        return None
    content = content_of(max(due, key=in_force_order))
    return content if isinstance(content, DetectionSettings) else None
