"""Appending control events: what the operator wants against what the partition's timeline says.

Never: applying a wish without an event, or an event below an observed offset or, a quarantine apart, the
barrier.
"""

import logging
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

from actors.engine.known_tables import KnownTables
from actors.engine.ports import Ports
from ray_fraud.domain import metrics
from ray_fraud.domain.canonical import canonical_json, content_digest
from ray_fraud.domain.compaction import compacted
from ray_fraud.domain.model import ModelRefused
from ray_fraud.domain.partition import PartitionState
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.domain.split import RULES_ONLY, Split
from ray_fraud.domain.timeline import (
    ControlEvent,
    EventKind,
    Gap,
    Truncation,
    content_of,
    features_event,
    fold_version_event,
    in_force_order,
    inline_event,
    last_seq,
    quarantine_event,
    settings_event,
    split_event,
    truncation_event,
)
from ray_fraud.stores.errors import SlowDown, StoreRefused, StoreUnavailable
from ray_fraud.stores.ledger.port import EpochRow, Ownership

logger = logging.getLogger(__name__)

LOOSE_EVENTS = 256
"""So many new events are worth asking for the log's start, to see which of the old ones can go."""


@dataclass(frozen=True, slots=True)
class Desired:
    """What the platform wants the partition to decide by."""

    settings: DetectionSettings
    split: Split
    tables: str | None = None
    """Digest of the feature tables; None: whatever the timeline says."""


class TimelineKeeper:
    """The partition's timeline in memory, and the only writer of its table."""

    def __init__(self, ports: Ports, own: Ownership, events: list[ControlEvent], tables: KnownTables) -> None:
        self._ports = ports
        self._tables = tables
        self._own = own
        self.events = events
        self._compacted_length = len(events)

    @property
    def is_loose(self) -> bool:
        """It has more than doubled since it was compacted."""
        return len(self.events) > 2 * self._compacted_length + LOOSE_EVENTS

    def compact(self, floor: int, kept_above: int) -> None:
        """Forgets what no fold from `floor` on can reach and what is in a snapshot (reading thread only)."""
        self.events = compacted(self.events, floor, kept_above)
        self._compacted_length = len(self.events)

    def after(self, seq: int) -> Sequence[ControlEvent]:
        """The events above a number."""
        events = self.events
        return events[bisect_right(events, seq, key=attrgetter("seq")) :]

    def last(self, kind: EventKind) -> ControlEvent | None:
        """The event of this kind that holds once all are due."""
        return max((event for event in self.events if event.kind is kind), key=in_force_order, default=None)

    def reconcile(self, state: PartitionState, desired: Desired) -> bool:
        """Appends what is missing; each event holds from the first offset nobody has decided.

        Returns whether the timeline says what is desired; if not, a model or tables are not usable yet.

        Raises:
            StoreUnavailable: PostgreSQL does not answer; nothing changed, try again.
            Fenced: a newer owner exists.
        """
        self._fold_version(state)
        last_settings = self.last(EventKind.SETTINGS)
        if last_settings is None or last_settings.digest != desired.settings.digest:
            self._append(state, settings_event(self._seq(), self._from(state), desired.settings))
        tables_hold = self._feature_tables(state, desired.tables)
        return self._split(state, desired.split) and tables_hold

    def declare_gap(self, state: PartitionState, lost_from: int, lost_to: int, reason: str) -> None:
        """Records `[lost_from, lost_to)` as gone."""
        logger.error("partition %s: gap %d..%d: %s", self._own.partition, lost_from, lost_to, reason)
        # Nothing can be observed below `lost_to` any more, so the event need not lie there either:
        # events stay in the order of their offsets.
        content = canonical_json(Gap(lost_from, lost_to, reason))
        digest = content_digest(content)
        if any(event.kind is EventKind.GAP and event.digest == digest for event in self.events):
            return
        from_offset = max(self._from(state), lost_to)
        self._append(state, inline_event(self._seq(), from_offset, EventKind.GAP, content))

    def declare_cut_offs(self, state: PartitionState, epochs: Sequence[EpochRow]) -> None:
        """Records each loss that a take-over found and no event says yet.

        Raises:
            StoreUnavailable: PostgreSQL does not answer; try again.
            Fenced: a newer owner exists.
        """
        contents = [content_of(event) for event in self.events if event.kind is EventKind.TRUNCATION]
        declared = {each.epoch for each in contents if isinstance(each, Truncation)}
        for row in epochs:
            if row.cut_off is not None and row.epoch not in declared:
                truncation = Truncation(row.cut_off, row.epoch)
                self._append(state, truncation_event(self._seq(), self._from(state), truncation))

    def quarantine(
        self, state: PartitionState, offset: int, to_offset: int | None = None, cause: str = ""
    ) -> None:
        """Passes the record at `offset` (or all below `to_offset`) over.

        The only event that may name an offset below the barrier.

        Raises:
            StoreUnavailable: PostgreSQL does not answer; nothing changed, try again.
            Fenced: a newer owner exists.
        """
        event = quarantine_event(self._seq(), offset, to_offset, cause)
        # Before a truncation the same offset was another record's.
        since = max((known.seq for known in self.events if known.kind is EventKind.TRUNCATION), default=0)
        if not any(
            known.kind is event.kind and known.digest == event.digest and known.seq > since
            for known in self.events
        ):
            self._append(state, event)

    def _fold_version(self, state: PartitionState) -> None:
        """Of a new timeline; that of an upgrade is on record before there is a state (see `upgrade`)."""
        if self.last(EventKind.FOLD_VERSION) is None:
            version = self._ports.fold.version
            self._append(state, fold_version_event(self._seq(), self._from(state), version))

    def _split(self, state: PartitionState, split: Split) -> bool:
        last = self.last(EventKind.SPLIT)
        if last is not None and last.digest == split.digest:
            return True
        try:
            self._ports.scorer.prepare(split)
        except (StoreUnavailable, StoreRefused, ModelRefused) as error:
            # Without any split yet the partition runs on rules; else it keeps the one it has.
            logger.error("partition %s: split not usable: %s", self._own.partition, error)  # noqa: TRY400
            if last is None:
                self._append(state, split_event(self._seq(), self._from(state), RULES_ONLY))
            return False
        self._append(state, split_event(self._seq(), self._from(state), split))
        return True

    def _feature_tables(self, state: PartitionState, digest: str | None) -> bool:
        last = self.last(EventKind.FEATURES)
        if digest is None:
            return True
        event = features_event(self._seq(), self._from(state), digest)
        if last is not None and last.digest == event.digest:
            return True
        try:
            self._tables.load(digest)
        except (StoreUnavailable, SlowDown, StoreRefused) as error:
            # The partition goes on with the tables it has: features get older, nothing stops.
            self._ports.meter.count(metrics.ERRORS, component=metrics.LAKE)
            logger.error("partition %s: feature tables not usable: %s", self._own.partition, error)  # noqa: TRY400
            return False
        self._append(state, event)
        return True

    def _append(self, state: PartitionState, event: ControlEvent) -> None:
        self._ports.ledger.append_event(self._own, event)
        self.events.append(event)
        state.extend_timeline(event)
        logger.info(
            "partition %s: event %d %s from offset %d (%s)",
            self._own.partition,
            event.seq,
            event.kind,
            event.from_offset,
            event.digest[:12],
        )

    def _seq(self) -> int:
        return last_seq(self.events) + 1

    def _from(self, state: PartitionState) -> int:
        """The first offset that a new event may hold from: not observed, not decided, behind all others."""
        others = (event.from_offset for event in self.events if event.kind is not EventKind.QUARANTINE)
        return max(self._own.barrier, state.next_offset, *others)
