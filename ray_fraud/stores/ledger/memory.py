"""The ledger in memory, with the semantics of the real one, for tests and simulations.

One `MemoryDatabase` outlives its clients as a server does. There are no threads, so a call that would
wait for a lock fails at once, as the real one does after its lock limit. Faults are inputs.

Never: a thread, a clock of its own, a file.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from uuid import UUID

import msgspec

from ray_fraud.domain.alert import Alert, Source
from ray_fraud.domain.compaction import compacted
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.timeline import ControlEvent, last_seq
from ray_fraud.domain.verdicts import Origin
from ray_fraud.stores.errors import Fenced, StoreUnavailable
from ray_fraud.stores.ledger.errors import STORE
from ray_fraud.stores.ledger.model_events import ModelEvent
from ray_fraud.stores.ledger.port import (
    CutOff,
    DataGap,
    Decided,
    EpochRow,
    InsertResult,
    InvalidAlert,
    OwnerRow,
    Ownership,
    SinkProgress,
    SinkResult,
    TopicAlert,
    cut_off_gap,
    is_accepted,
)
from ray_fraud.stores.ledger.queries import Feedback, StoredAlert, Verdict
from ray_fraud.stores.ledger.registry import ModelVersion
from ray_fraud.stores.ledger.rules import check_appended, check_confirm, check_restored
from ray_fraud.stores.ledger.validity import why_invalid


class Fault(Enum):
    NONE = "none"
    FAIL_BEFORE = "fail_before"
    """The call does nothing and raises `StoreUnavailable`."""
    FAIL_AFTER_COMMIT = "fail_after_commit"
    """The call does everything and raises `StoreUnavailable`: the ambiguous commit."""


class FaultQueue(deque[Fault]):
    """The faults of the next calls, in order; when empty, calls work."""

    def __call__(self, _operation: str) -> Fault:
        """The fault of this call; the operation is a method's name (`confirm` for a take-over's end)."""
        return self.popleft() if self else Fault.NONE


class PartitionTables(msgspec.Struct):
    """All rows of one partition."""

    epochs: list[EpochRow] = []
    events: list[ControlEvent] = []
    decided: Decided | None = None
    attempts: dict[int, tuple[int, int]] = {}
    """offset → (attempts, epoch of the last one)."""
    locked: bool = False

    @property
    def decided_offset(self) -> int | None:
        return None if self.decided is None else self.decided.offset


class MemoryDatabase:
    """The tables; share one between all clients of a test."""

    def __init__(
        self, *, now_ms: Callable[[], int] = lambda: 0, faults: Callable[[str], Fault] | None = None
    ) -> None:
        self.now_ms = now_ms
        self.queue = FaultQueue()
        self.faults: Callable[[str], Fault] = faults if faults is not None else self.queue
        """Asked once per call; replace it to choose faults by operation."""
        self.partitions: dict[PartitionId, PartitionTables] = {}
        self.alerts: dict[UUID, StoredAlert] = {}
        self.last_alert_id = 0
        self.sunk: dict[PartitionId, SinkProgress] = {}
        self.gaps: dict[tuple[PartitionId, int, int], DataGap] = {}
        self.feedback: list[Feedback] = []
        self.import_keys: set[UUID] = set()
        self.models: list[ModelVersion] = []
        self.salts: dict[str, str] = {}
        self.registry_revisions: dict[str, int] = {}
        self.model_events: list[ModelEvent] = []
        self.feeds: list[list[int]] = []

    @contextmanager
    def call(self, operation: str) -> Iterator[None]:
        """Wraps one call with the fault that the plan has for it."""
        fault = self.faults(operation)
        if fault is Fault.FAIL_BEFORE:
            raise StoreUnavailable(STORE, f"{operation}: injected fault before the call")
        yield
        if fault is Fault.FAIL_AFTER_COMMIT:
            raise StoreUnavailable(STORE, f"{operation}: injected fault after the commit")

    def tables(self, partition: PartitionId) -> PartitionTables:
        return self.partitions.get(partition) or PartitionTables()

    def locked_tables(self, partition: PartitionId, operation: str) -> PartitionTables:
        """The partition's tables in share mode."""
        tables = self.tables(partition)
        if tables.locked:
            raise StoreUnavailable(STORE, f"{operation}: {partition} is locked by a take-over")
        return tables

    def fenced_tables(self, own: Ownership, operation: str) -> PartitionTables:
        tables = self.locked_tables(own.partition, operation)
        last = tables.epochs[-1] if tables.epochs else None
        if last is None or (last.epoch, last.token) != (own.epoch, own.token):
            raise Fenced(STORE, own.epoch, last.epoch if last else 0)
        return tables

    def store(self, alerts: Sequence[TopicAlert]) -> InsertResult:
        """Inserts what is new, turns cold rows hot, reports what can never be stored."""
        inserted: list[int] = []
        promoted: list[int] = []
        invalid: list[InvalidAlert] = []
        for item in alerts:
            uid = item.alert.alert_uid
            reason = why_invalid(item.alert)
            known = self.alerts.get(uid)
            if reason is not None:
                invalid.append(InvalidAlert(uid, reason))
            elif known is None:
                self.last_alert_id += 1
                self.alerts[uid] = StoredAlert(
                    self.last_alert_id, item.alert, item.partition_id, item.epoch, self.now_ms(), None
                )
                self._mirror(self.alerts[uid])
                inserted.append(self.last_alert_id)
            elif known.alert.source is Source.COLD and item.alert.source is Source.HOT:
                self.alerts[uid] = msgspec.structs.replace(
                    known, alert=item.alert, partition_id=item.partition_id, epoch=item.epoch
                )
                promoted.append(known.alert_id)
        for feed in self.feeds:
            feed += inserted + promoted
        return InsertResult(len(inserted), len(promoted), tuple(invalid))

    def give(
        self,
        verdict: Verdict | None,
        reviewer: str,
        note: str,
        *,
        origin: Origin,
        on: StoredAlert | None = None,
        transaction: tuple[str, int] | None = None,
        merchant_id: str | None = None,
        event_ms: int | None = None,
        known_ms: int | None = None,
    ) -> Feedback:
        """Appends a verdict on an alert or on a transaction, and mirrors it in its alerts."""
        alerts = [on] if on is not None else self._alerts_of(transaction)
        if on is not None:
            transaction = _transaction_of(on)
        if alerts:
            made = alerts[0].alert
            merchant_id = merchant_id or made.details.get("transaction", {}).get("merchant_id")
            event_ms = round(made.event_time * 1000) if event_ms is None else event_ms
        now_ms = self.now_ms()
        given = Feedback(
            feedback_id=len(self.feedback) + 1,
            alert_id=None if on is None else on.alert_id,
            verdict=verdict,
            reviewer=reviewer,
            note=note,
            given_at_ms=now_ms,
            known_at_ms=now_ms if known_ms is None else known_ms,
            origin=origin,
            transaction=transaction,
            merchant_id=merchant_id,
            event_ms=event_ms,
        )
        self.feedback.append(given)
        for stored in alerts:
            self._mirror(stored)
        return given

    def feedback_of(self, stored: StoredAlert) -> list[Feedback]:
        """All verdicts on it and on its transaction, that known last at the end."""
        transaction = _transaction_of(stored)
        rows = [
            row
            for row in self.feedback
            if row.alert_id == stored.alert_id
            or (row.alert_id is None and transaction is not None and row.transaction == transaction)
        ]
        return sorted(rows, key=lambda row: (row.known_at_ms, row.feedback_id))

    def _mirror(self, stored: StoredAlert) -> None:
        given = self.feedback_of(stored)
        verdict = given[-1].verdict if given else None
        self.alerts[stored.alert.alert_uid] = msgspec.structs.replace(stored, feedback=verdict)

    def _alerts_of(self, transaction: tuple[str, int] | None) -> list[StoredAlert]:
        return [row for row in self.alerts.values() if _transaction_of(row) == transaction]


def _transaction_of(stored: StoredAlert) -> tuple[str, int] | None:
    """None for a pattern's alert, which is about all members that its details have."""
    alert = stored.alert
    return None if "members" in alert.details else (alert.transaction_id, alert.user_id)


class MemoryTurn:
    """See `port.Turn`."""

    def __init__(self, database: MemoryDatabase, partition: PartitionId) -> None:
        self._database = database
        self._partition = partition
        self._open = True
        epochs = database.tables(partition).epochs
        self._last = epochs[-1] if epochs else None

    @property
    def last_epoch(self) -> int:
        return self._last.epoch if self._last else 0

    @property
    def last_barrier(self) -> int | None:
        return self._last.barrier if self._last else None

    def confirm(
        self,
        epoch: int,
        token: str,
        barrier: int,
        *,
        fold_version: int | None = None,
        cut_off: CutOff | None = None,
    ) -> Ownership:
        check_confirm(self._open, self.last_epoch, epoch, barrier)
        self.close()
        with self._database.call("confirm"):
            tables = self._database.partitions[self._partition]
            at = None if cut_off is None else cut_off.offset
            row = EpochRow(epoch, token, barrier, self._database.now_ms(), fold_version, at)
            tables.epochs.append(row)
            if cut_off is not None:
                self._forget_lost(tables, cut_off)
        return Ownership(self._partition, epoch, token, barrier)

    def _forget_lost(self, tables: PartitionTables, cut_off: CutOff) -> None:
        if tables.decided is not None and tables.decided.offset > cut_off.offset:
            tables.decided = Decided(cut_off.offset, cut_off.leader_epoch)
        tables.attempts = {o: tried for o, tried in tables.attempts.items() if o < cut_off.offset}
        gap = cut_off_gap(self._partition, cut_off)
        self._database.gaps.setdefault((gap.partition, gap.from_offset, gap.to_offset), gap)

    def close(self) -> None:
        if self._open:
            self._database.partitions[self._partition].locked = False
        self._open = False


class MemoryLedger:
    """See `port.Ledger`."""

    def __init__(self, database: MemoryDatabase | None = None) -> None:
        self.database = database if database is not None else MemoryDatabase()

    @contextmanager
    def take_over(self, partition: PartitionId) -> Iterator[MemoryTurn]:
        with self.database.call("take_over"):
            self.database.locked_tables(partition, "take_over")
        self.database.partitions.setdefault(partition, PartitionTables()).locked = True
        turn = MemoryTurn(self.database, partition)
        try:
            yield turn
        finally:
            turn.close()

    def epochs(self, partition: PartitionId) -> list[EpochRow]:
        with self.database.call("epochs"):
            return list(self.database.tables(partition).epochs)

    def owners(self) -> list[OwnerRow]:
        with self.database.call("owners"):
            rows = []
            for partition, tables in sorted(self.database.partitions.items()):
                if tables.epochs:
                    last = tables.epochs[-1]
                    rows.append(
                        OwnerRow(partition, last.epoch, last.barrier, tables.decided_offset, last.taken_at_ms)
                    )
            return rows

    def append_event(self, own: Ownership, event: ControlEvent) -> None:
        with self.database.call("append_event"):
            stored = self.database.fenced_tables(own, "append_event").events
            same = [known for known in stored if known.seq == event.seq]
            if check_appended(last_seq(stored), same, event):
                stored.append(event)

    def restore_events(
        self, own: Ownership, events: Sequence[ControlEvent], *, complete_above: int = 0
    ) -> int:
        with self.database.call("restore_events"):
            stored = self.database.fenced_tables(own, "restore_events").events
            missing = check_restored(stored, events, complete_above)
            stored += missing
            stored.sort(key=lambda event: event.seq)
        return len(missing)

    def events(self, partition: PartitionId) -> list[ControlEvent]:
        with self.database.call("events"):
            return list(self.database.tables(partition).events)

    def reachable_events(self, partition: PartitionId, floor: int) -> list[ControlEvent]:
        with self.database.call("reachable_events"):
            return compacted(self.database.tables(partition).events, floor)

    def insert_hot_alerts(self, own: Ownership, alerts: Sequence[Alert]) -> InsertResult:
        with self.database.call("insert_hot_alerts"):
            self.database.fenced_tables(own, "insert_hot_alerts")
            return self.database.store([TopicAlert(alert, own.partition, own.epoch) for alert in alerts])

    def insert_from_topic(self, alerts: Sequence[TopicAlert], progress: SinkProgress) -> SinkResult:
        with self.database.call("insert_from_topic"):
            accepted = []
            for item in alerts:
                tables = self.database.locked_tables(item.partition_id, "insert_from_topic")
                if is_accepted(tables.epochs, item.epoch, item.alert.offset):
                    accepted.append(item)
            stored = self.database.store(accepted)
            if not stored.invalid:
                before = self.database.sunk.get(progress.partition)
                if before is None or progress.next_offset >= before.next_offset:
                    self.database.sunk[progress.partition] = progress
        return SinkResult(stored.inserted, stored.promoted, len(alerts) - len(accepted), stored.invalid)

    def sink_progress(self, partition: PartitionId) -> SinkProgress | None:
        with self.database.call("sink_progress"):
            return self.database.sunk.get(partition)

    def decided(self, partition: PartitionId) -> Decided | None:
        with self.database.call("decided"):
            return self.database.tables(partition).decided

    def decided_offset(self, partition: PartitionId) -> int | None:
        with self.database.call("decided_offset"):
            return self.database.tables(partition).decided_offset

    def set_decided_offset(self, own: Ownership, offset: int, leader_epoch: int = -1) -> None:
        with self.database.call("set_decided_offset"):
            tables = self.database.fenced_tables(own, "set_decided_offset")
            if tables.decided is None or offset >= tables.decided.offset:
                tables.decided = Decided(offset, leader_epoch)

    def record_attempts(self, own: Ownership, offsets: Sequence[int]) -> dict[int, int]:
        with self.database.call("record_attempts"):
            attempts = self.database.fenced_tables(own, "record_attempts").attempts
            for offset in offsets:
                count, epoch = attempts.get(offset, (0, 0))
                if epoch < own.epoch:
                    attempts[offset] = (count + 1, own.epoch)
            return {offset: attempts[offset][0] for offset in offsets}

    def attempts(self, partition: PartitionId) -> dict[int, int]:
        with self.database.call("attempts"):
            tables = self.database.tables(partition)
            return {offset: tables.attempts[offset][0] for offset in sorted(tables.attempts)}

    def clear_attempts(self, own: Ownership, below_offset: int, from_offset: int = 0) -> None:
        with self.database.call("clear_attempts"):
            attempts = self.database.fenced_tables(own, "clear_attempts").attempts
            for offset in [offset for offset in attempts if from_offset <= offset < below_offset]:
                del attempts[offset]

    def record_gap(self, own: Ownership, gap: DataGap) -> None:
        with self.database.call("record_gap"):
            self.database.fenced_tables(own, "record_gap")
            self.database.gaps.setdefault((gap.partition, gap.from_offset, gap.to_offset), gap)

    def record_sink_gap(self, gap: DataGap, back_to: SinkProgress | None = None) -> None:
        with self.database.call("record_sink_gap"):
            self.database.gaps.setdefault((gap.partition, gap.from_offset, gap.to_offset), gap)
            before = self.database.sunk.get(gap.partition)
            if back_to is not None and before is not None and back_to.next_offset < before.next_offset:
                self.database.sunk[gap.partition] = back_to

    def gaps(self, partition: PartitionId) -> list[DataGap]:
        with self.database.call("gaps"):
            return [row for _, row in sorted(self.database.gaps.items()) if row.partition == partition]

    def close(self) -> None:
        """Nothing to end."""
