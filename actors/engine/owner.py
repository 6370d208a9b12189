"""The owner of one partition: its steps, in the order in which a micro-batch passes through them.

    take_over → [reconcile → read → observe → score → publish → settle]* → write_cut → … → close

1. `observe` folds records into state and features; it may run ahead of the later steps.
2. `score` asks the scorer once per micro-batch.
3. `publish` makes dead letters and alerts durable (effects first).
4. `settle` counts the offset as done; only then may `write_cut` bring its state to Redis (state last).

Each step either succeeds, raises `StoreUnavailable` and may be repeated as it is, or raises `Fenced`:
then the process ends. Steps 1, 2 and 3–4 may run in a thread each; every step keeps batch order.

Never: waiting, sleeping, retrying (the shell does), deciding anything by a clock.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from threading import RLock

import numpy as np

from actors.engine.cut_keeper import CutKeeper, Frozen
from actors.engine.damage import Damage
from actors.engine.known_tables import KnownTables
from actors.engine.leader_epochs import LeaderEpochs
from actors.engine.ports import Ports
from actors.engine.publisher import Publisher
from actors.engine.recovery import Base, find_base, restored
from actors.engine.suspects import Suspects
from actors.engine.take_over import TakenOver, take_over
from actors.engine.timeline_keeper import Desired, TimelineKeeper
from actors.engine.upgrade import check_versions, upgrade
from ray_fraud.domain.alert import Alert
from ray_fraud.domain.compaction import last_missing
from ray_fraud.domain.conversion import fold_began
from ray_fraud.domain.partition import Effects, Observed, PartitionState
from ray_fraud.domain.record import PartitionId, Record
from ray_fraud.domain.replay import in_batches
from ray_fraud.domain.scores import Scores
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.domain.split import Split
from ray_fraud.domain.text_users import UnclaimedUserError
from ray_fraud.domain.timeline import Quarantine, damage_in, last_seq
from ray_fraud.domain.user_state import users_digest
from ray_fraud.scoring.scored_batch import ScoredBatch
from ray_fraud.stores.errors import SlowDown, StoreRefused, StoreUnavailable
from ray_fraud.stores.ledger.port import DataGap, Ownership
from ray_fraud.stores.log.port import LogDamaged, LogGap
from ray_fraud.stores.snapshots.port import SnapshotHeader
from ray_fraud.stores.text_users.claims import claim_users

logger = logging.getLogger(__name__)

KEPT_SNAPSHOTS = 3
"""More than one: the newest may turn out to be damaged, or written by an owner that was replaced."""

_NO_SCORES = Scores(np.empty(0), np.empty(0, np.uint8))


class PartitionOwner:
    """One ownership, from take-over to close; a new one needs a new object."""

    def __init__(
        self, ports: Ports, partition: PartitionId, token: str, desired: Desired, clock: Callable[[], float]
    ) -> None:
        self._ports = ports
        self._lock = RLock()
        self._unsettled: deque[Observed] = deque()
        self._unobserved: list[Record] = []
        self._reconciled: Desired | None = None
        self.desired = desired
        taken = take_over(ports, partition, token)
        self.own: Ownership = taken.own
        epochs = ports.ledger.epochs(partition)
        events = ports.ledger.reachable_events(partition, taken.bounds.start)
        life_start = min((event.from_offset for event in events), default=taken.own.barrier)
        check_versions(ports, taken, events)
        base = find_base(ports, taken, epochs, life_start, events)
        events = restored(ports, taken, base, events)
        base = upgrade(ports, taken, base, events)
        self.base = base
        self.drained = taken.undecided or base.next_offset == taken.own.barrier
        tables = KnownTables(ports.feature_tables)
        # What the log has lost is not folded: its tables may be gone from the lake, too.
        begin = max(base.next_offset, taken.bounds.start)
        self.state = PartitionState(
            partition.partition,
            ports.decoder,
            next_offset=begin,
            watermark_ms=base.watermark_ms,
            votes=base.votes,
            users=base.users,
            timeline=events,
            tables=tables,
            fold_version=ports.fold.version,
        )
        self._timeline = TimelineKeeper(ports, taken.own, events, tables)
        self._timeline.declare_cut_offs(self.state, epochs)
        self._decided_offset = ports.ledger.decided_offset(partition) or 0
        self._leader_epochs = LeaderEpochs(begin, base.leader_epoch)
        self._damage = Damage(
            partition,
            ports.meter,
            lambda: self._timeline.events,
            lambda begin, end, cause: self._timeline.quarantine(self.state, begin, end, cause),
            lambda: self.state.next_offset,
        )
        self._suspects = self._suspected(base, closed=taken.closed)
        self._publisher = Publisher(ports, taken.own, clock)
        self.cuts = CutKeeper(
            ports,
            taken.own,
            base,
            redis_raised=taken.redis_raised,
            lock=self._lock,
            events_after=self._timeline.after,
            complete_above=last_missing(events),
            leader_epoch=self._leader_epochs.before,
            freeze=self.freeze,
        )
        self._start_reading(taken, base)

    def _suspected(self, base: Base, *, closed: bool) -> Suspects:
        """What may have killed an earlier owner; nothing if none left a mark and the last closed its cut."""
        begin = max(base.next_offset, self._decided_offset)
        deaths = self._ports.ledger.attempts(self.own.partition)
        return Suspects(
            self._ports.ledger,
            self.own,
            begin=begin,
            end=begin if self.drained or (closed and not deaths) else self.own.barrier,
            deaths=deaths,
            quarantine=lambda offset: self._timeline.quarantine(self.state, offset),
        )

    def _why_not_to_unpack(self, from_offset: int, to_offset: int) -> str | None:
        """Asked for every batch of the log before it is unpacked."""
        known = self._damage.why_not_to_unpack(from_offset, to_offset)
        return known or self._suspects.about_to_unpack(from_offset, to_offset)

    def _start_reading(self, taken: TakenOver, base: Base) -> None:
        self._watches = True
        self._ports.reader.watch(self._why_not_to_unpack)
        if taken.bounds.start > base.next_offset:
            self.skip_gap(base.next_offset, taken.bounds.start, "the log starts above the newest state")
        else:
            self._ports.reader.seek(self.state.next_offset, base.leader_epoch)

    @property
    def needs_reconciling(self) -> bool:
        """The partition does not yet decide by what is desired."""
        return self.desired is not self._reconciled

    @property
    def partitions(self) -> int:
        """Of the topic; what the placement of users is computed with."""
        return self._ports.topics.partitions

    @property
    def timeline_length(self) -> int:
        """How many events are held: the timeline from the log's start on."""
        return len(self._timeline.events)

    @property
    def unreadable(self) -> list[Quarantine]:
        """What was passed over because it cannot be read."""
        return damage_in(self._timeline.events)

    @property
    def replaying(self) -> bool:
        """Below the barrier: an earlier owner may have decided these offsets."""
        return self.state.next_offset < self.own.barrier

    @property
    def awaits_settling(self) -> bool:
        """`read` returns nothing before all that was observed has settled."""
        return bool(self._unsettled) and not self._suspects.passed

    def desire(
        self,
        *,
        settings: DetectionSettings | None = None,
        split: Split | None = None,
        tables: str | None = None,
    ) -> None:
        """Asks for other settings, split or feature tables; `reconcile` makes an event of it."""
        with self._lock:
            old = self.desired
            self.desired = Desired(settings or old.settings, split or old.split, tables or old.tables)

    def reconcile(self) -> None:
        """Appends the control events that the desired settings and split need (reading thread only)."""
        desired = self.desired
        if desired is not self._reconciled and self._timeline.reconcile(self.state, desired):
            self._reconciled = desired
        if self._timeline.is_loose:
            with suppress(StoreUnavailable, StoreRefused):
                self._timeline.compact(self._ports.reader.bounds().start, self.cuts.base_seq)

    def read(self, max_records: int, timeout: timedelta) -> Sequence[Record]:
        """The next records; none if nothing arrives in time. A gap in the log is declared and skipped.

        Behind an unclean end a batch of its own, marked, once the one before has settled (`Suspects`).
        """
        if self._unobserved:
            rest, self._unobserved = self._unobserved, []
            return rest
        if self._suspects.passed:
            if self._watches and not self._damage.known:
                # A question for each batch of the log would cost what a batch of one record does.
                self._watches = False
                self._ports.reader.watch(None)
            return self._poll(max_records, timeout)
        return self._suspects.read(lambda: self._poll(max_records, timeout), settled=not self._unsettled)

    def _poll(self, max_records: int, timeout: timedelta) -> Sequence[Record]:
        try:
            records = self._ports.reader.poll(max_records, timeout)
            if records:
                self._leader_epochs.add(records[0].offset, self._ports.reader.leader_epoch())
            return records
        except LogGap as gap:
            if gap.to_offset < gap.from_offset:
                # State contains records that the log lost: only a new take-over can find an older base.
                # It notices the loss by what was decided, so that has to be known.
                with suppress(StoreUnavailable, SlowDown, StoreRefused):
                    self.record_progress()
                raise
            self.skip_gap(gap.from_offset, gap.to_offset, "the log lost these records")
            return []
        except LogDamaged as damage:
            self._ports.reader.seek(self._damage.end_of(damage))
            self._ports.reader.watch(self._why_not_to_unpack)
            return []

    def log_end(self) -> int | None:
        """The log's high watermark as last seen; None before the first fetch."""
        return self._ports.reader.end_offset()

    def skip_gap(self, lost_from: int, lost_to: int, reason: str) -> None:
        """Declares `[lost_from, lost_to)` as gone and goes on behind it."""
        self._timeline.declare_gap(self.state, lost_from, lost_to, reason)
        self.state.next_offset = max(self.state.next_offset, lost_to)
        gap = DataGap(self.own.partition, lost_from, lost_to, reason)
        self._ports.ledger.record_gap(self.own, gap)
        self._ports.reader.seek(self.state.next_offset)

    def observe_holes(self) -> list[Observed]:
        """A batch without rows if the reader has come past offsets without a record; for use after `read`.

        So positions decide where a partition is, not its last record: behind it may be transaction markers.
        """
        position = max(self._ports.reader.position(), self.state.next_offset)
        with self._lock:
            reached = self._unsettled[-1].next_offset if self._unsettled else self.cuts.next_offset
            if self._unobserved or self._suspects.holds_records or position <= reached:
                return []
            observed = self.state.pass_over(position)
            self._unsettled.append(observed)
        self._suspects.passed_over(position)
        return [observed]

    def observe(self, records: Sequence[Record]) -> list[Observed]:
        """Folds the records; several batches where a control event lies between them.

        If feature tables that are due in the middle cannot be read now, `read` gives the rest again.

        Raises:
            StoreUnavailable: those due at the first record cannot be read; nothing was observed, try again.
        """
        batches: list[Observed] = []
        try:
            for observed in in_batches(self._observe, records):
                batches.append(observed)  # noqa: PERF402 - what came before an error is kept
        except (StoreUnavailable, SlowDown):
            if not batches:
                raise
            self._unobserved = [each for each in records if each.offset >= batches[-1].next_offset]
        return batches

    def _observe(self, records: Sequence[Record]) -> Observed:
        try:
            return self._fold(records)
        except UnclaimedUserError:
            self._claim(records)
            return self._fold(records)

    def _fold(self, records: Sequence[Record]) -> Observed:
        with self._lock:
            observed = self.state.observe(records)
            self._unsettled.append(observed)
        return observed

    def _claim(self, records: Sequence[Record]) -> None:
        """Before the first effect of a user whose id is text, it is durable whose number that is."""
        if self._ports.text_users is None:
            raise AssertionError("the decoder wants users to be claimed, and there is no register")
        claim_users(self._ports.decoder, self._ports.text_users, records)

    def score(self, batches: Sequence[Observed]) -> tuple[list[Scores | None], ScoredBatch | None]:
        """One call for batches of one split; the scores of each, and the call's own figures."""
        split = batches[0].split
        if not split.arms:
            return [None for _ in batches], None
        if any(batch.split is not split for batch in batches):
            raise AssertionError("one scoring call for two splits")
        if len(batches) == 1:
            user_ids, features = batches[0].user_ids, batches[0].features
        else:
            user_ids = np.concatenate([batch.user_ids for batch in batches])
            features = np.concatenate([batch.features for batch in batches])
        if not len(user_ids):
            return [_NO_SCORES for _ in batches], None
        answer = self._ports.scorer.score(split, user_ids, features)
        ends = np.cumsum([len(batch.user_ids) for batch in batches])
        starts = np.concatenate(([0], ends[:-1]))
        values, arms = answer.scores.values, answer.scores.arms
        return [Scores(values[a:b], arms[a:b]) for a, b in zip(starts, ends, strict=True)], answer

    def decide(self, observed: Observed, scores: Scores | None) -> Effects:
        return self.state.decide(observed, scores, self._ports.scorer.explain)

    def publish(self, effects: Sequence[Effects]) -> list[Alert]:
        """Makes the effects of consecutive batches durable; the alerts that were published.

        What lies below the decided offset is durable already.
        """
        alerts = [a for one in effects for a in one.alerts if a.offset >= self._decided_offset]
        dead = [d for one in effects for d in one.dead_letters if d.record.offset >= self._decided_offset]
        if alerts or dead:
            self._suspects.acquit(effects[-1].next_offset)
        self._publisher.publish(alerts, dead)
        return alerts

    def settle(self, observed: Observed) -> None:
        """Counts a published batch as done."""
        with self._lock:
            oldest = self._unsettled.popleft()
            if oldest is not observed:
                raise AssertionError(f"settled offset {observed.from_offset} before {oldest.from_offset}")
            self.cuts.add(observed)

    def write_cut(self, *, drained: bool = False) -> bool:
        """Brings all settled state to Redis; whether it is there."""
        return self.cuts.write(drained=drained)

    def record_progress(self) -> int:
        """Tells PostgreSQL how far the effects are; returns that offset."""
        offset = self.cuts.next_offset
        self._ports.ledger.set_decided_offset(self.own, offset, self._leader_epochs.before(offset))
        self._suspects.forget(offset)
        return offset

    def commit_for_lag_tools(self) -> None:
        """Tells lag tools how far the cuts are (reading thread only)."""
        self._ports.reader.commit_for_lag_tools(self.cuts.written_offset)

    def write_snapshot(self) -> str:
        """Writes the settled state to the lake; returns the snapshot's name."""
        frozen = self.freeze()
        header = SnapshotHeader(
            partition=self.own.partition,
            next_offset=frozen.next_offset,
            epoch=self.own.epoch,
            token=self.own.token,
            watermark_ms=frozen.watermark_ms,
            votes=frozen.votes,
            base_offset=frozen.next_offset,
            events=tuple(self._timeline.events),
            user_count=len(frozen.users),
            digest=users_digest(frozen.users.items()),
            fold_version=self._ports.fold.version,
            leader_epoch=self._leader_epochs.before(frozen.next_offset),
        )
        name = self._ports.snapshots.write(self.own.partition, header, frozen.users.items())
        # What lies below the newest upgrade cannot be folded again: whoever looks back begins there.
        began = fold_began(self._timeline.events, self._ports.fold.version)
        # The events of cuts begin where this one ends, even if some of a longer, lost log lie above.
        spared = {frozen.next_offset} if began is None else {frozen.next_offset, began}
        self._ports.snapshots.prune(self.own.partition, KEPT_SNAPSHOTS, spared)
        self.cuts.rebase(frozen.next_offset, last_seq(header.events))
        return name

    def freeze(self) -> Frozen:
        """The users at the settled offset: today's, with what unsettled batches changed taken back."""
        with self._lock:
            users = dict(self.state.users)
            undone: set[int] = set()
            for observed in self._unsettled:
                for user_id, state in observed.before.items():
                    if user_id in undone:
                        continue
                    undone.add(user_id)
                    if state is None:
                        users.pop(user_id, None)
                    else:
                        users[user_id] = state
            return Frozen(users, self.cuts.next_offset, self.cuts.watermark_ms, self.cuts.votes)
