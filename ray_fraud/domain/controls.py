"""What the control timeline says at the offset that a partition has reached.

Never: an event applied before its offset, or before one of a lower offset, or of the same offset and a
lower number.
"""

import sys
from bisect import bisect_right, insort
from collections.abc import Mapping, Sequence

from ray_fraud.domain.compaction import last_missing, may_be_compacted
from ray_fraud.domain.feature_tables import NO_TABLES, FeatureTables
from ray_fraud.domain.fold_version import FOLD_VERSION
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.domain.split import RULES_ONLY, Split
from ray_fraud.domain.timeline import (
    Content,
    ControlEvent,
    EventKind,
    FeatureRefresh,
    FoldVersion,
    Gap,
    Quarantine,
    TimelineError,
    Truncation,
    content_of,
    in_force_order,
)

NEVER = sys.maxsize


class FoldVersionError(Exception):
    """The log from here on is folded by another version; the release of that version can go on."""

    def __init__(self, from_offset: int, version: int, own_version: int = FOLD_VERSION) -> None:
        super().__init__(from_offset, version, own_version)
        self.from_offset = from_offset
        self.version = version
        self.own_version = own_version

    def __str__(self) -> str:
        return (
            f"offset {self.from_offset}: the timeline asks for fold version {self.version}, this release has "
            f"{self.own_version}; start the release with that version, or begin with a state above"
        )


class TablesMissingError(Exception):
    """The timeline names feature tables that were not given; whoever folds has to load them first."""

    def __init__(self, digest: str) -> None:
        super().__init__(digest)
        self.digest = digest

    def __str__(self) -> str:
        return f"feature tables {self.digest} are not loaded"


class Controls:
    """Split, settings, feature tables and quarantined offsets that hold now; the events still to come."""

    def __init__(
        self,
        timeline: Sequence[ControlEvent],
        next_offset: int,
        tables: Mapping[str, FeatureTables],
        fold_version: int = FOLD_VERSION,
    ) -> None:
        """All events wait. Of the fold versions due at `next_offset` only the last one counts.

        Args:
            timeline: whole, or compacted at `next_offset` or below.
            next_offset: of the record that comes first.
            tables: feature tables by digest; whatever it raises for one, nothing has been applied.
            fold_version: of whoever folds.

        Raises:
            TimelineError: an event is damaged, or one that may hold at `next_offset` or later is missing.
        """
        if not may_be_compacted(timeline, next_offset):
            missing = last_missing(timeline)
            raise TimelineError(
                f"event {missing} is missing, and nothing behind it replaces it at {next_offset}"
            )
        self.split: Split = RULES_ONLY
        self.settings = DetectionSettings()
        self.tables: FeatureTables = NO_TABLES
        self.tables_digest: str | None = None
        self.quarantined: set[int] = set()
        self.unreadable: list[tuple[int, int]] = []
        """Quarantined ranges `[from, to)` besides."""
        self.next_due: int = NEVER
        """The lowest offset at which a waiting event has to be applied."""
        self._known_tables = tables
        self._fold_version = fold_version
        self._waiting: list[tuple[ControlEvent, Content]] = []
        """In the order in which they are applied; a day of refreshes makes thousands."""
        self._last_seq: int | None = None
        self._last_from = 0
        for event in timeline:
            self._put(event)
        versions = [event for event, _ in self._due(next_offset) if event.kind is EventKind.FOLD_VERSION]
        self._waiting = [(event, content) for event, content in self._waiting if event not in versions[:-1]]

    def add(self, event: ControlEvent) -> None:
        """Puts an event on the waiting list.

        Raises:
            TimelineError: it is damaged, or its number does not follow on the last one's.
        """
        if self._last_seq is not None and event.seq != self._last_seq + 1:
            raise TimelineError(f"event {event.seq} ({event.kind}) follows event {self._last_seq}")
        self._put(event)

    def _put(self, event: ControlEvent) -> None:
        if self._last_seq is not None and event.seq <= self._last_seq:
            raise TimelineError(f"event {event.seq} ({event.kind}) follows event {self._last_seq}")
        content = content_of(event)
        if isinstance(content, Truncation):
            self._forget_lost(content.offset)
        insort(self._waiting, (event, content), key=_order)
        self._last_seq = event.seq
        if event.kind is not EventKind.QUARANTINE:
            self._last_from = max(self._last_from, event.from_offset)
        self.next_due = min(self.next_due, event.from_offset)

    def _forget_lost(self, offset: int) -> None:
        """Quarantined records at or above the offset are lost: others have their offsets now."""
        self.quarantined = {quarantined for quarantined in self.quarantined if quarantined < offset}
        self.unreadable = [(begin, min(end, offset)) for begin, end in self.unreadable if begin < offset]
        waiting, self._waiting = self._waiting, []
        for event, content in waiting:
            left = content.below(offset) if isinstance(content, Quarantine) else content
            if left is not None:
                self._waiting.append((event, left))

    def append(self, event: ControlEvent) -> None:
        """Puts a new event on the waiting list; of what is stored, older releases left some out of order.

        Raises:
            TimelineError: it lies below an event before it and is no quarantine; or as `add`.
        """
        if event.kind is not EventKind.QUARANTINE and event.from_offset < self._last_from:
            raise TimelineError(
                f"event {event.seq} ({event.kind}) from offset {event.from_offset}: an event before it holds "
                f"from {self._last_from} and would win from there on; append it from there or above"
            )
        self.add(event)

    def apply_due(self, offset: int) -> int:
        """Applies the events with `from_offset <= offset`, in their order; the end of the farthest gap, or 0.

        Raises:
            FoldVersionError: one of them asks for another version; none was applied.
            TablesMissingError: feature tables are not at hand; none was applied.
        """
        due = self._due(offset)
        tables, digest = self.tables, self.tables_digest
        for event, content in due:
            if isinstance(content, FoldVersion) and content.version != self._fold_version:
                raise FoldVersionError(event.from_offset, content.version, self._fold_version)
        # Only the last refresh holds; the tables of those before it may be gone.
        for content in [each for _, each in due if isinstance(each, FeatureRefresh)][-1:]:
            digest = content.tables
            tables = self._find(digest)
        self.tables, self.tables_digest = tables, digest
        del self._waiting[: len(due)]
        self.next_due = self._waiting[0][0].from_offset if self._waiting else NEVER
        return max((self._apply(content) for _, content in due), default=0)

    def is_unreadable(self, offset: int) -> bool:
        """Whether it lies in a quarantined range: it may have become readable again."""
        return any(begin <= offset < end for begin, end in self.unreadable)

    def unreadable_between(self, from_offset: int, to_offset: int) -> int:
        """How many offsets of `[from_offset, to_offset)` lie in quarantined ranges."""
        reached, total = from_offset, 0
        for begin, end in sorted(self.unreadable):
            begin, end = max(begin, reached), min(end, to_offset)
            if begin < end:
                total += end - begin
                reached = end
        return total

    def _find(self, digest: str) -> FeatureTables:
        try:
            return self._known_tables[digest]
        except KeyError:
            raise TablesMissingError(digest) from None

    def _due(self, offset: int) -> list[tuple[ControlEvent, Content]]:
        """In the order in which a replay from the log's start meets them, wherever this one begins."""
        return self._waiting[: bisect_right(self._waiting, offset, key=_from_offset)]

    def _apply(self, content: Content) -> int:
        match content:
            case Split():
                self.split = content
            case DetectionSettings():
                self.settings = content
            case Quarantine(offset=offset, to_offset=None):
                self.quarantined.add(offset)
            case Quarantine(offset=offset, end=end):
                self.unreadable.append((offset, end))
            case Gap(to_offset=to_offset):
                return to_offset
            case FoldVersion() | FeatureRefresh() | Truncation():
                pass
        return 0


def _order(waiting: tuple[ControlEvent, Content]) -> tuple[int, int]:
    return in_force_order(waiting[0])


def _from_offset(waiting: tuple[ControlEvent, Content]) -> int:
    return waiting[0].from_offset
