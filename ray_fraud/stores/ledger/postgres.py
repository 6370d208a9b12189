"""The ledger on PostgreSQL (15 or newer, schema by `migrate`).

Every call is one short transaction on one connection, so a second thread of the process waits for the
first one's call: give the hot path a ledger of its own.

Never: a retry; a lock held after a call, except in `take_over`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ray_fraud.domain.alert import Alert
from ray_fraud.domain.compaction import REPLACED, compacted
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.timeline import ControlEvent, EventKind
from ray_fraud.stores.connections import PostgresConnection
from ray_fraud.stores.errors import Fenced
from ray_fraud.stores.ledger.errors import STORE
from ray_fraud.stores.ledger.port import (
    CutOff,
    DataGap,
    Decided,
    EpochRow,
    InsertResult,
    OwnerRow,
    Ownership,
    SinkProgress,
    SinkResult,
    TopicAlert,
    cut_off_gap,
)
from ray_fraud.stores.ledger.postgres_alerts import batch_of, insert_accepted, insert_fenced
from ray_fraud.stores.ledger.postgres_session import HOT_PATH, Limits, Session
from ray_fraud.stores.ledger.rules import check_appended, check_confirm, check_restored

_TAKEN_MS = "round(extract(epoch FROM taken_at) * 1000)::bigint"
_PARTITION = "cluster_id = %s AND topic_id = %s AND partition = %s"
_INSERT_GAP = (
    "INSERT INTO data_gap (cluster_id, topic_id, partition, from_offset, to_offset, reason, epoch)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"
)
_ADVANCE_SINK = (
    "INSERT INTO sink_progress AS present (cluster_id, topic_id, partition, next_offset, leader_epoch)"
    " VALUES (%s, %s, %s, %s, %s) ON CONFLICT (cluster_id, topic_id, partition) DO UPDATE SET"
    " next_offset = excluded.next_offset, leader_epoch = excluded.leader_epoch, updated_at = now()"
    " WHERE present.next_offset <= excluded.next_offset"
)
_OWNER = f"{_PARTITION} AND epoch = %s AND owner_token = %s"


class PostgresTurn:
    """See `port.Turn`; it has a connection of its own, with the partition's row locked."""

    def __init__(self, session: Session, partition: PartitionId) -> None:
        """Within an open transaction of `session`: locks the row, made first if there is none."""
        self._session = session
        self._partition = partition
        self._open = True
        session.rows(
            "take_over",
            "INSERT INTO partition_owner (cluster_id, topic_id, partition) VALUES (%s, %s, %s)"
            " ON CONFLICT DO NOTHING",
            partition,
        )
        query = f"SELECT epoch, barrier FROM partition_owner WHERE {_PARTITION} FOR UPDATE"
        self._last_epoch, self._last_barrier = session.rows("take_over", query, partition)[0]

    @property
    def last_epoch(self) -> int:
        return int(self._last_epoch)

    @property
    def last_barrier(self) -> int | None:
        return None if self._last_barrier is None else int(self._last_barrier)

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
        self._open = False
        self._session.rows(
            "confirm",
            "UPDATE partition_owner SET epoch = %s, owner_token = %s, barrier = %s, taken_at = now()"
            f" WHERE {_PARTITION}",
            (epoch, token, barrier, *self._partition),
        )
        self._session.rows(
            "confirm",
            "INSERT INTO partition_epoch"
            " (cluster_id, topic_id, partition, epoch, owner_token, barrier, fold_version, cut_off)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            (*self._partition, epoch, token, barrier, fold_version, cut_off and cut_off.offset),
        )
        if cut_off is not None:
            self._forget_lost(epoch, cut_off)
        self._session.commit("confirm")
        return Ownership(self._partition, epoch, token, barrier)

    def _forget_lost(self, epoch: int, cut_off: CutOff) -> None:
        self._session.rows(
            "confirm",
            "UPDATE partition_owner SET decided_offset = %s, decided_leader_epoch = %s"
            f" WHERE {_PARTITION} AND decided_offset > %s",
            (cut_off.offset, cut_off.leader_epoch, *self._partition, cut_off.offset),
        )
        query = f"DELETE FROM record_attempt WHERE {_PARTITION} AND kafka_offset >= %s"
        self._session.rows("confirm", query, (*self._partition, cut_off.offset))
        gap = cut_off_gap(self._partition, cut_off)
        values = (*gap.partition, gap.from_offset, gap.to_offset, gap.reason, epoch)
        self._session.rows("confirm", _INSERT_GAP, values)


_REACHABLE_EVENTS = f"""
WITH in_force AS (
    SELECT DISTINCT ON (kind) kind, seq AS last_seq
    FROM control_event WHERE {_PARTITION} AND kind = ANY(%s) AND from_offset <= %s
    ORDER BY kind, from_offset DESC, seq DESC
)
SELECT seq, from_offset, kind, digest, reference
FROM control_event LEFT JOIN in_force USING (kind)
WHERE {_PARTITION} AND (seq = 1 OR last_seq IS NULL OR from_offset > %s OR seq >= last_seq)
ORDER BY seq
"""


def _event_of(row: tuple[Any, ...]) -> ControlEvent:
    seq, from_offset, kind, digest, reference = row
    return ControlEvent(seq, from_offset, EventKind(kind), digest, reference)


class PostgresLedger:
    """See `port.Ledger`."""

    def __init__(
        self,
        where: PostgresConnection,
        *,
        name: str = "ray-fraud ledger",
        limits: Limits = HOT_PATH,
        on_lock_refused: Callable[[], None] = lambda: None,
    ) -> None:
        """Opens nothing yet; `name` is shown in `pg_stat_activity`."""
        self._where = where
        self._name = name
        self._limits = limits
        self._on_lock_refused = on_lock_refused
        self._session = Session(where, name=name, limits=limits, on_lock_refused=on_lock_refused)

    @contextmanager
    def take_over(self, partition: PartitionId) -> Iterator[PostgresTurn]:
        session = Session(
            self._where,
            name=f"{self._name}: take-over",
            limits=self._limits,
            on_lock_refused=self._on_lock_refused,
        )
        try:
            session.begin("take_over")
            yield PostgresTurn(session, partition)
        finally:
            session.close()

    def epochs(self, partition: PartitionId) -> list[EpochRow]:
        query = (
            f"SELECT epoch, owner_token, barrier, {_TAKEN_MS}, fold_version, cut_off"
            f" FROM partition_epoch WHERE {_PARTITION} ORDER BY epoch"
        )
        return [EpochRow(*row) for row in self._session.rows("epochs", query, partition)]

    def owners(self) -> list[OwnerRow]:
        query = (
            f"SELECT cluster_id, topic_id, partition, epoch, barrier, decided_offset, {_TAKEN_MS}"
            " FROM partition_owner WHERE epoch > 0 ORDER BY cluster_id, topic_id, partition"
        )
        return [OwnerRow(PartitionId(*row[:3]), *row[3:]) for row in self._session.rows("owners", query)]

    def append_event(self, own: Ownership, event: ControlEvent) -> None:
        with self._fenced("append_event", own):
            stored = self._events("append_event", own.partition, "seq = %s", event.seq)
            query = f"SELECT coalesce(max(seq), 0) FROM control_event WHERE {_PARTITION}"
            ((last_seq,),) = self._session.rows("append_event", query, own.partition)
            if check_appended(last_seq, stored, event):
                self._add_events("append_event", own, [event])

    def restore_events(
        self, own: Ownership, events: Sequence[ControlEvent], *, complete_above: int = 0
    ) -> int:
        with self._fenced("restore_events", own):
            missing = check_restored(self._events("restore_events", own.partition), events, complete_above)
            self._add_events("restore_events", own, missing)
        return len(missing)

    def events(self, partition: PartitionId) -> list[ControlEvent]:
        return self._events("events", partition)

    def reachable_events(self, partition: PartitionId, floor: int) -> list[ControlEvent]:
        # The rows are many, what is left of them is few: the database sorts them out as `compacted` does.
        rows = self._session.rows(
            "reachable_events",
            _REACHABLE_EVENTS,
            (*partition, sorted(REPLACED), floor, *partition, floor),
        )
        return compacted([_event_of(row) for row in rows], floor)

    def insert_hot_alerts(self, own: Ownership, alerts: Sequence[Alert]) -> InsertResult:
        fence = own.partition._asdict() | {"epoch": own.epoch, "token": own.token}
        batch = batch_of(TopicAlert(alert, own.partition, own.epoch) for alert in alerts)
        result = insert_fenced(self._session, fence, batch)
        if result is None:
            raise self._fenced_by("insert_hot_alerts", own)
        return result

    def insert_from_topic(self, alerts: Sequence[TopicAlert], progress: SinkProgress) -> SinkResult:
        with self._session.transaction("insert_from_topic"):
            result = insert_accepted(self._session, batch_of(alerts))
            if not result.invalid:
                self._session.rows(
                    "insert_from_topic",
                    _ADVANCE_SINK,
                    (*progress.partition, progress.next_offset, progress.leader_epoch),
                )
        return result

    def sink_progress(self, partition: PartitionId) -> SinkProgress | None:
        query = f"SELECT next_offset, leader_epoch FROM sink_progress WHERE {_PARTITION}"
        rows = self._session.rows("sink_progress", query, partition)
        return SinkProgress(partition, *rows[0]) if rows else None

    def decided(self, partition: PartitionId) -> Decided | None:
        query = f"SELECT decided_offset, decided_leader_epoch FROM partition_owner WHERE {_PARTITION}"
        rows = self._session.rows("decided", query, partition)
        return Decided(*rows[0]) if rows and rows[0][0] is not None else None

    def decided_offset(self, partition: PartitionId) -> int | None:
        decided = self.decided(partition)
        return None if decided is None else decided.offset

    def set_decided_offset(self, own: Ownership, offset: int, leader_epoch: int = -1) -> None:
        query = (
            "UPDATE partition_owner SET decided_offset = greatest(decided_offset, %s), decided_leader_epoch ="
            " CASE WHEN decided_offset > %s THEN decided_leader_epoch ELSE %s END"
            f" WHERE {_OWNER} RETURNING 1"
        )
        values = (offset, offset, leader_epoch, *own.partition, own.epoch, own.token)
        if not self._session.rows("set_decided_offset", query, values):
            raise self._fenced_by("set_decided_offset", own)

    def record_attempts(self, own: Ownership, offsets: Sequence[int]) -> dict[int, int]:
        tried = sorted(set(offsets))
        with self._fenced("record_attempts", own):
            self._session.rows(
                "record_attempts",
                "INSERT INTO record_attempt AS present"
                " (cluster_id, topic_id, partition, kafka_offset, attempts, epoch)"
                " SELECT %s, %s, %s, tried, 1, %s FROM unnest(%s::bigint[]) AS tried"
                " ON CONFLICT (cluster_id, topic_id, partition, kafka_offset) DO UPDATE"
                " SET attempts = present.attempts + 1, epoch = excluded.epoch"
                " WHERE present.epoch < excluded.epoch",
                (*own.partition, own.epoch, tried),
            )
            recorded = self._attempts("record_attempts", own.partition)
        return {offset: recorded[offset] for offset in tried}

    def attempts(self, partition: PartitionId) -> dict[int, int]:
        return self._attempts("attempts", partition)

    def clear_attempts(self, own: Ownership, below_offset: int, from_offset: int = 0) -> None:
        query = f"DELETE FROM record_attempt WHERE {_PARTITION} AND kafka_offset < %s AND kafka_offset >= %s"
        with self._fenced("clear_attempts", own):
            self._session.rows("clear_attempts", query, (*own.partition, below_offset, from_offset))

    def record_gap(self, own: Ownership, gap: DataGap) -> None:
        with self._fenced("record_gap", own):
            self._add_gap("record_gap", gap, own.epoch)

    def record_sink_gap(self, gap: DataGap, back_to: SinkProgress | None = None) -> None:
        with self._session.transaction("record_sink_gap"):
            self._add_gap("record_sink_gap", gap, epoch=0)
            if back_to is not None:
                query = (
                    "UPDATE sink_progress SET next_offset = %s, leader_epoch = %s, updated_at = now()"
                    f" WHERE {_PARTITION} AND next_offset > %s"
                )
                values = (back_to.next_offset, back_to.leader_epoch, *gap.partition, back_to.next_offset)
                self._session.rows("record_sink_gap", query, values)

    def gaps(self, partition: PartitionId) -> list[DataGap]:
        query = f"SELECT from_offset, to_offset, reason FROM data_gap WHERE {_PARTITION} ORDER BY 1, 2"
        return [DataGap(partition, *row) for row in self._session.rows("gaps", query, partition)]

    def close(self) -> None:
        self._session.close()

    def _add_gap(self, operation: str, gap: DataGap, epoch: int) -> None:
        self._session.rows(
            operation,
            _INSERT_GAP,
            (*gap.partition, gap.from_offset, gap.to_offset, gap.reason, epoch),
        )

    @contextmanager
    def _fenced(self, operation: str, own: Ownership) -> Iterator[None]:
        """A transaction that holds the partition's row in share mode."""
        query = f"SELECT 1 FROM partition_owner WHERE {_OWNER} FOR SHARE"
        with self._session.transaction(operation):
            if not self._session.rows(operation, query, (*own.partition, own.epoch, own.token)):
                raise self._fenced_by(operation, own)
            yield

    def _fenced_by(self, operation: str, own: Ownership) -> Fenced:
        query = f"SELECT epoch FROM partition_owner WHERE {_PARTITION}"
        rows = self._session.rows(operation, query, own.partition)
        return Fenced(STORE, own.epoch, rows[0][0] if rows else 0)

    def _events(
        self, operation: str, partition: PartitionId, condition: str = "TRUE", *values: int
    ) -> list[ControlEvent]:
        query = (
            "SELECT seq, from_offset, kind, digest, reference"
            f" FROM control_event WHERE {_PARTITION} AND {condition} ORDER BY seq"
        )
        rows = self._session.rows(operation, query, (*partition, *values))
        return [_event_of(row) for row in rows]

    def _add_events(self, operation: str, own: Ownership, events: Sequence[ControlEvent]) -> None:
        for event in events:
            self._session.rows(
                operation,
                "INSERT INTO control_event"
                " (cluster_id, topic_id, partition, seq, from_offset, kind, digest, reference, epoch)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
                (
                    *own.partition,
                    event.seq,
                    event.from_offset,
                    event.kind.value,
                    event.digest,
                    event.reference,
                    own.epoch,
                ),
            )

    def _attempts(self, operation: str, partition: PartitionId) -> dict[int, int]:
        query = f"SELECT kafka_offset, attempts FROM record_attempt WHERE {_PARTITION} ORDER BY kafka_offset"
        return dict(self._session.rows(operation, query, partition))
