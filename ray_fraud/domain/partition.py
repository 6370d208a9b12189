"""The state of one partition: a pure fold over its log and its control timeline.

    observe(records)          → state, features, rule hits, dead letters     moves the state
    decide(observed, scores)  → alerts, dead letters                         changes nothing

Two instances that are given the same log and the same timeline hold equal bytes and make equal effects, in
whatever batches the records come. `docs/semantics.md` says what a record does, step by step.

Never: I/O, a clock, a thread; the engine moves records in and effects out.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ray_fraud.domain.accept import accept
from ray_fraud.domain.controls import Controls, FoldVersionError, TablesMissingError
from ray_fraud.domain.decisions import ScoresMismatchError, decide
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.explanation import Explain
from ray_fraud.domain.feature_tables import FeatureTables, looked_up
from ray_fraud.domain.features import FEATURE_NAMES, FOLDED_COUNT
from ray_fraud.domain.fold import fold
from ray_fraud.domain.fold_version import FOLD_VERSION
from ray_fraud.domain.observed import Counts, Effects, Observed, Row
from ray_fraud.domain.payload import id_hash
from ray_fraud.domain.record import DecodedRecord, Record
from ray_fraud.domain.rejection import DeadLetter, Rejection
from ray_fraud.domain.rules import hits_without_model
from ray_fraud.domain.scores import Scores
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.domain.split import Split
from ray_fraud.domain.text_users import UnclaimedUserError
from ray_fraud.domain.timeline import ControlEvent, TimelineError
from ray_fraud.domain.transaction import Transaction
from ray_fraud.domain.user_state import EMPTY_STATE, last_seen_ms, with_last_seen
from ray_fraud.domain.watermark import NO_VOTES, STEP_MS, Votes, Watermark
from ray_fraud.domain.windows import HOUR_MS

__all__ = [
    "FOLD_VERSION",
    "Counts",
    "Effects",
    "FoldVersionError",
    "Observed",
    "OffsetOrderError",
    "PartitionState",
    "Row",
    "ScoresMismatchError",
    "TablesMissingError",
]

R = TypeVar("R", Record, DecodedRecord)

_FEATURE_ROW = struct.Struct(f"<{FOLDED_COUNT}d")
_LAT = FEATURE_NAMES.index("lat")


class OffsetOrderError(Exception):
    """A record that does not lie behind the last one: the reader went back. Nothing was observed."""

    def __init__(self, lowest_allowed: int, offset: int) -> None:
        super().__init__(lowest_allowed, offset)
        self.lowest_allowed = lowest_allowed
        self.offset = offset

    def __str__(self) -> str:
        return f"offset {self.offset} was given, {self.lowest_allowed} is the lowest that may follow"


class _Batch:
    """What `observe` gathers on its way."""

    __slots__ = ("before", "counts", "dead_letters", "duplicate_users", "feature_rows", "rows", "user_texts")

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.feature_rows: list[bytes] = []
        self.dead_letters: list[DeadLetter] = []
        self.before: dict[int, bytes | None] = {}
        self.duplicate_users: list[int] = []
        self.user_texts: dict[int, str] = {}
        self.counts = Counts()

    def reject(self, record: Record, rejection: Rejection) -> None:
        self.counts.rejected += 1
        self.dead_letters.append(DeadLetter(record, rejection))


class PartitionState:
    """State and timeline of one partition.

    `next_offset` is the lowest offset not yet observed, `watermark_ms` how far the log has come and `votes`
    what stands behind that (`ray_fraud.domain.watermark`), `users` the packed state per user. States are
    immutable: a copy of the dictionary is a snapshot.
    """

    def __init__(
        self,
        partition: int,
        decoder: Decoder,
        *,
        next_offset: int = 0,
        watermark_ms: int = 0,
        votes: Votes = NO_VOTES,
        users: dict[int, bytes] | None = None,
        timeline: Sequence[ControlEvent] = (),
        tables: Mapping[str, FeatureTables] = MappingProxyType({}),
        fold_version: int = FOLD_VERSION,
    ) -> None:
        """State restored from a base, or empty; of `timeline` the part due at `next_offset` is applied.

        `users` is taken over, not copied. `tables` is asked for the feature tables of a digest when an event
        that names them is due (`timeline.tables_needed`); its owner may add to it. `fold_version` is this
        release's; only tests have another one.

        Raises:
            TimelineError: the timeline is damaged or has a hole.
            FoldVersionError: another fold version holds at `next_offset`.
            TablesMissingError: tables that hold at `next_offset` are not in `tables`.
        """
        self.partition = partition
        self.next_offset = next_offset
        self._watermark = Watermark(watermark_ms, votes)
        self.users: dict[int, bytes] = {} if users is None else users
        self._decode = decoder.decode
        self._controls = Controls(timeline, next_offset, tables, fold_version)
        self._lowest_allowed = next_offset
        self._oldest_seen_hour: int | None = None
        self._apply_due(next_offset)

    @property
    def watermark_ms(self) -> int:
        """How far the log has come, unix milliseconds; 0 before the first record."""
        return self._watermark.ms

    @property
    def votes(self) -> Votes:
        """What stands behind the watermark."""
        return self._watermark.votes

    @property
    def split(self) -> Split:
        """The split that holds at the last offset reached."""
        return self._controls.split

    @property
    def settings(self) -> DetectionSettings:
        """The settings that hold at the last offset reached."""
        return self._controls.settings

    @property
    def tables_digest(self) -> str | None:
        """Of the feature tables that hold at the last offset reached; None before the first."""
        return self._controls.tables_digest

    def extend_timeline(self, event: ControlEvent) -> None:
        """Registers an event; `observe` applies it before the first record at or after its offset.

        Raises:
            TimelineError: the event lies below an observed offset or (a quarantine apart) below an event
                before it, or its number does not follow.
        """
        if event.from_offset < self.next_offset:
            raise TimelineError(
                f"event {event.seq} ({event.kind}) from offset {event.from_offset}: "
                f"records below {self.next_offset} are observed already"
            )
        self._controls.append(event)

    def apply(self, event: ControlEvent) -> None:
        """Registers an event that is due at the offset reached, and applies it at once.

        Raises:
            TimelineError: the event is not due yet, is damaged, or its number does not follow.
            FoldVersionError: it asks for another fold version.
            TablesMissingError: it names feature tables that are not loaded.
        """
        if event.from_offset > self.next_offset:
            raise TimelineError(
                f"event {event.seq} ({event.kind}) from offset {event.from_offset} "
                f"is not due at {self.next_offset}"
            )
        self._controls.add(event)
        self._apply_due(self.next_offset)

    def observe(self, records: Sequence[Record]) -> Observed:
        """Folds records in; stops early before one at which a control event is due.

        The caller passes the records at or above `Observed.next_offset` again: all rows of a batch stand
        under one split and one set of settings. Offsets ascend; holes (compaction, transaction markers) are
        allowed. At least one record is taken if there is any.

        Raises:
            OffsetOrderError: offsets go back; nothing was observed.
            FoldVersionError: from the first record on another fold version holds; nothing was observed.
            TablesMissingError: from the first record on feature tables hold that are not loaded; nothing was
                observed.
            UnclaimedUserError: the decoder wants the first record's user to be claimed; nothing was observed.
                Before a later record of that kind it stops early.
        """
        return self._observe(records, self._take)

    def observe_decoded(self, records: Sequence[DecodedRecord]) -> Observed:
        """The same for records that a decoder has accepted and the lake has kept.

        What the decoder refused moves no state, so the lake's rows of a log give the state of the log.
        """
        return self._observe(records, self._fold_in)

    def pass_over(self, to_offset: int) -> Observed:
        """Goes on to `to_offset`, below which no record is left: a batch without rows.

        What lies between are transaction markers, records of aborted transactions, what compaction took, and
        what is quarantined because it cannot be read. The events due within are applied.

        Raises:
            FoldVersionError, TablesMissingError: as `observe`; nothing was passed over.
        """
        from_offset = self.next_offset
        batch = _Batch()
        if to_offset > from_offset:
            self._apply_due(to_offset - 1)
            batch.counts.quarantined = self._controls.unreadable_between(from_offset, to_offset)
            self.next_offset = max(self.next_offset, to_offset)
            self._lowest_allowed = max(self._lowest_allowed, to_offset)
        return self._observed(from_offset, batch)

    def _observe(self, records: Sequence[R], take: "Callable[[R, _Batch], None]") -> Observed:
        self._check_order(records)
        from_offset = self.next_offset
        batch = _Batch()
        controls = self._controls
        for index, record in enumerate(records):
            offset = record.offset
            if offset >= controls.next_due:
                if index:
                    break
                self._apply_due(offset)
            self._lowest_allowed = offset + 1
            if offset < self.next_offset:
                batch.counts.in_gap += 1
                continue
            before, self.next_offset = self.next_offset, offset + 1
            if offset in controls.quarantined or (controls.unreadable and controls.is_unreadable(offset)):
                batch.counts.quarantined += 1
            else:
                try:
                    take(record, batch)
                except UnclaimedUserError:
                    self.next_offset, self._lowest_allowed = before, offset
                    if not index:
                        raise
                    break
        return self._observed(from_offset, batch)

    def decide(self, observed: Observed, scores: Scores | None, explain: Explain | None = None) -> Effects:
        """The effects of one batch; `scores` may be None only if its split has no arms.

        `explain` is asked for each alert of a model; see `ray_fraud.domain.decisions.decide`.

        Raises:
            ScoresMismatchError: the scores do not fit the batch.
        """
        return decide(self.partition, observed, scores, explain)

    def _check_order(self, records: Sequence[Record] | Sequence[DecodedRecord]) -> None:
        # Not `next_offset`: a declared gap moves that ahead of records that are still to be passed over.
        lowest = self._lowest_allowed
        for record in records:
            if record.offset < lowest:
                raise OffsetOrderError(lowest, record.offset)
            lowest = record.offset + 1

    def _apply_due(self, offset: int) -> None:
        if offset >= self._controls.next_due:
            self.next_offset = max(self.next_offset, self._controls.apply_due(offset))

    def _take(self, record: Record, batch: _Batch) -> None:
        """Steps 2 to 4 of one record, then the others."""
        accepted = accept(record, self._decode, self._controls.settings)
        if isinstance(accepted, DecodedRecord):
            self._fold_in(accepted, batch)
        else:
            batch.reject(record, accepted)

    def _fold_in(self, record: DecodedRecord, batch: _Batch) -> None:
        """Steps 5 to 8 of one accepted record."""
        timestamp_ms, transaction, digest = record.timestamp_ms, record.transaction, record.digest
        settings = self._controls.settings
        user_id = transaction.user_id
        watermark = self._watermark
        reached_ms = watermark.ms
        far = False
        # Nearly every record; a call more would be paid by each.
        if watermark.steady and 0 <= timestamp_ms - reached_ms <= STEP_MS:
            watermark.ms = timestamp_ms
        else:
            far = watermark.take(timestamp_ms, user_id)
        if watermark.ms != reached_ms:
            self._moved(reached_ms, batch, far=far)
            reached_ms = watermark.ms
        before = self.users.get(user_id)
        seen_ms = reached_ms
        if timestamp_ms > reached_ms:
            seen_ms = self._seen_ms(timestamp_ms, before)
        step = fold(
            EMPTY_STATE if before is None else before,
            transaction,
            record.event_ms,
            digest,
            id_hash(transaction.transaction_id),
            seen_ms,
            settings.state.max_events,
        )
        counts = batch.counts
        if transaction.user_text is not None:
            batch.user_texts[user_id] = transaction.user_text
        if step is None:
            counts.duplicates += 1
            batch.duplicate_users.append(user_id)
            return
        if step.late_beyond_state:
            counts.late_beyond_state += 1
        if step.id_reused:
            counts.id_reused += 1
        batch.before.setdefault(user_id, before)
        self.users[user_id] = step.state
        hits = hits_without_model(transaction.amount, step.previous, step.next, settings)
        batch.rows.append(Row(record.offset, timestamp_ms, transaction, digest, step.state, hits))
        batch.feature_rows.append(_FEATURE_ROW.pack(*step.features))

    def _moved(self, before_ms: int, batch: _Batch, *, far: bool) -> None:
        """What a moved watermark means for the users; `far`: it has jumped or fallen."""
        watermark_ms = self._watermark.ms
        if watermark_ms < before_ms:
            self._lower_last_seen(batch)
            return
        hour = watermark_ms // HOUR_MS
        if hour > before_ms // HOUR_MS:
            self._expire(hour, batch, spared_from_ms=before_ms if far else None)

    def _seen_ms(self, timestamp_ms: int, state: bytes | None) -> int:
        """The `last_seen_ms` of a record above the watermark: its own time, within limits."""
        longest_ms = self._watermark.ms + self._controls.settings.state.idle_hours * HOUR_MS
        if state is not None:
            longest_ms = max(longest_ms, last_seen_ms(state))
        return min(timestamp_ms, longest_ms)

    def _change(self, user_id: int, state: bytes, batch: _Batch) -> None:
        batch.before.setdefault(user_id, self.users[user_id])
        self.users[user_id] = state

    def _lower_last_seen(self, batch: _Batch) -> None:
        """Behind a fall: nobody counts as seen later than the watermark allows."""
        limit_ms = self._watermark.last_seen_limit_ms
        later = [user_id for user_id, state in self.users.items() if last_seen_ms(state) > limit_ms]
        for user_id in later:
            self._change(user_id, with_last_seen(self.users[user_id], limit_ms), batch)
        self._oldest_seen_hour = None

    def _expire(self, hour: int, batch: _Batch, spared_from_ms: int | None) -> None:
        """Forgets users unseen for longer than `idle_hours`; looks at all users only if there may be one.

        `spared_from_ms`: the watermark before a jump; who was seen later than that counts as seen now.
        """
        idle_hours = self._controls.settings.state.idle_hours
        if self._oldest_seen_hour is not None and hour - self._oldest_seen_hour <= idle_hours:
            return
        # Last seen before the start of this hour is too long ago.
        horizon_ms = (hour - idle_hours) * HOUR_MS
        oldest_ms = hour * HOUR_MS
        expired: list[int] = []
        spared: list[int] = []
        for user_id, state in self.users.items():
            seen_ms = last_seen_ms(state)
            if seen_ms < horizon_ms:
                (expired if spared_from_ms is None or seen_ms <= spared_from_ms else spared).append(user_id)
            elif seen_ms < oldest_ms:
                oldest_ms = seen_ms
        for user_id in spared:
            self._change(user_id, with_last_seen(self.users[user_id], self._watermark.ms), batch)
        for user_id in expired:
            batch.before.setdefault(user_id, self.users.pop(user_id))
        batch.counts.expired_users += len(expired)
        self._oldest_seen_hour = oldest_ms // HOUR_MS

    def _observed(self, from_offset: int, batch: _Batch) -> Observed:
        transactions = [row.transaction for row in batch.rows]
        user_ids = np.array([each.user_id for each in transactions], dtype=np.int64)
        folded = np.frombuffer(b"".join(batch.feature_rows)).reshape(-1, FOLDED_COUNT)
        batch.counts.processed = len(transactions)
        batch.counts.placeholder_locations = _placeholders(transactions, folded[:, _LAT])
        wide = np.hstack((folded, looked_up(self._controls.tables, transactions, user_ids)))
        with np.errstate(over="ignore"):  # A ratio beyond float32 is infinite, which is what it means.
            features = wide.astype(np.float32)
        return Observed(
            from_offset=from_offset,
            next_offset=self.next_offset,
            rows=batch.rows,
            features=features,
            user_ids=user_ids,
            dead_letters=batch.dead_letters,
            changed={user_id: self.users.get(user_id) for user_id in batch.before},
            before=batch.before,
            watermark_ms=self._watermark.ms,
            votes=self._watermark.votes,
            split=self._controls.split,
            settings=self._controls.settings,
            counts=batch.counts,
            duplicate_users=batch.duplicate_users,
            user_texts=batch.user_texts,
        )


def _placeholders(transactions: Sequence[Transaction], lats: NDArray[np.float64]) -> int:
    """How many have a location and no place; `lats`: the feature of each, shape (n,), NaN without a place."""
    placeless = np.flatnonzero(np.isnan(lats)).tolist()
    return sum(transactions[index].location is not None for index in placeless)
