"""The ledger: who owns a partition, its control timeline, its alerts.

Every write of a partition's owner is fenced: it works only while epoch and token are those of the
last take-over. Every call either works, raises `StoreUnavailable` within its time limit, or refuses
for good (`Fenced`, `StoreRefused`); every call may be repeated after `StoreUnavailable`, even when
the first attempt did commit.

Never: a retry (the caller's), a clock or chance of its own: tokens and epochs come from the caller.
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol
from uuid import UUID

import msgspec

from ray_fraud.domain.alert import Alert
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.timeline import ControlEvent


class Ownership(msgspec.Struct, frozen=True):
    """The right to write for a partition, until a higher epoch is confirmed."""

    partition: PartitionId
    epoch: int
    token: str
    barrier: int
    """First offset that this epoch decides under new timeline events."""


class EpochRow(msgspec.Struct, frozen=True):
    """One confirmed take-over."""

    epoch: int
    token: str
    barrier: int
    taken_at_ms: int
    """Unix milliseconds of the database's clock; for people only."""
    fold_version: int | None = None
    """Of the release that took over; None: a release that did not say."""
    cut_off: int | None = None
    """The take-over found that the log had lost its records from here on."""


class CutOff(msgspec.Struct, frozen=True):
    """Records of the log that an earlier owner had observed are lost; others take, or took, their offsets."""

    offset: int
    """The first that is lost."""
    lost_to: int
    """Up to here an earlier owner is known to have observed the log, exclusive."""
    leader_epoch: int
    """Of the last record that is left; -1: not known."""


class Decided(NamedTuple):
    """How far the effects are."""

    offset: int
    """Below it all effects were acknowledged."""
    leader_epoch: int
    """Of the record before; with it, a log that was cut off and has grown again is noticed. -1: not known."""


class OwnerRow(msgspec.Struct, frozen=True):
    """The present owner of a partition."""

    partition: PartitionId
    epoch: int
    barrier: int
    decided_offset: int | None
    taken_at_ms: int


class InvalidAlert(msgspec.Struct, frozen=True):
    """An alert whose values the database can never hold; its neighbours were stored."""

    alert_uid: UUID
    reason: str


class InsertResult(msgspec.Struct, frozen=True):
    """What became of the alerts; all others were there already."""

    inserted: int
    promoted: int
    """Rows of the cold path that became hot."""
    invalid: tuple[InvalidAlert, ...] = ()


class TopicAlert(msgspec.Struct, frozen=True):
    """An alert as read back from topic `fraud_alerts`, with what its headers say."""

    alert: Alert
    partition_id: PartitionId
    """The partition of the transaction, not of the alert."""
    epoch: int


class SinkProgress(msgspec.Struct, frozen=True):
    """How far the sink has read one partition of topic `fraud_alerts`."""

    partition: PartitionId
    next_offset: int
    leader_epoch: int = -1
    """Of the record before, as with `Decided`."""


class SinkResult(msgspec.Struct, frozen=True):
    inserted: int
    promoted: int
    refused: int
    """Alerts at or above the barrier of a later epoch: written by an owner that was replaced."""
    invalid: tuple[InvalidAlert, ...] = ()


END_OF_LOG = 2**63 - 1
"""`to_offset` of a gap that reaches to the end of a log which nobody can ask any more."""


class DataGap(msgspec.Struct, frozen=True):
    """Records that were lost before they could be decided: `from_offset` <= offset < `to_offset`."""

    partition: PartitionId
    from_offset: int
    to_offset: int
    reason: str


def valid_until(epochs: Iterable[EpochRow], epoch: int) -> int | None:
    """First offset at which `epoch` no longer counts: the lowest barrier of a later one; None: no end.

    An alert at offset `o` counts if `o < valid_until`, a cut or snapshot if `next_offset <= valid_until`.
    """
    return min((row.barrier for row in epochs if row.epoch > epoch), default=None)


def cut_off_gap(partition: PartitionId, cut_off: CutOff) -> DataGap:
    """The loss as a declared gap."""
    reason = f"the log was cut off at {cut_off.offset}: other records have these offsets, or will have them"
    return DataGap(partition, cut_off.offset, cut_off.lost_to, reason)


def is_accepted(epochs: Iterable[EpochRow], epoch: int, offset: int) -> bool:
    """Whether an alert that `epoch` made of the record at `offset` counts.

    One that does not, and stands in PostgreSQL all the same, is of a record that the log has lost since.
    """
    limit = valid_until(epochs, epoch)
    return limit is None or offset < limit


class Turn(Protocol):
    """An open take-over: nobody else can write for the partition or take it over."""

    @property
    def last_epoch(self) -> int:
        """The last confirmed epoch, 0 if the partition never had an owner."""

    @property
    def last_barrier(self) -> int | None: ...

    def confirm(
        self,
        epoch: int,
        token: str,
        barrier: int,
        *,
        fold_version: int | None = None,
        cut_off: CutOff | None = None,
    ) -> Ownership:
        """Writes epoch, token and barrier and commits; the former owner is fenced from here on.

        With `cut_off`, what is known of the lost records goes with it: the decided offset comes down to it,
        attempts at and above are forgotten, and the loss is a declared gap.

        Raises:
            StoreRefused: `epoch` is not above `last_epoch`, or the turn is over.
            StoreUnavailable: the fate of the commit may be unknown; take over again with a higher epoch.
        """


class Ledger(Protocol):
    """All methods with an `own` raise `Fenced` when it is no longer the partition's."""

    def take_over(self, partition: PartitionId) -> AbstractContextManager[Turn]:
        """Locks the partition's row. Leaving the context without `confirm` changes nothing.

        Fenced writes and the sink wait meanwhile, up to their lock limit: keep it short. Other calls on
        this ledger (`events`, `epochs`, …) are allowed inside.
        """

    def epochs(self, partition: PartitionId) -> list[EpochRow]:
        """All confirmed take-overs, oldest first."""

    def owners(self) -> list[OwnerRow]:
        """All partitions that ever had an owner, those of earlier lives of the topic included."""

    def append_event(self, own: Ownership, event: ControlEvent) -> None:
        """Adds the next event. An equal event under its number is success.

        Raises:
            TimelineConflict: another event has the number, or the number before it is missing.
        """

    def restore_events(
        self, own: Ownership, events: Sequence[ControlEvent], *, complete_above: int = 0
    ) -> int:
        """Adds the events, all or none, that a restored database lacks; returns how many it lacked.

        Numbers up to `complete_above` may stay missing: whoever carried the events had dropped what was
        replaced (see `ray_fraud.domain.compaction`).

        Raises:
            TimelineConflict: a stored event differs, or a number above would stay missing.
        """

    def events(self, partition: PartitionId) -> list[ControlEvent]:
        """All of the timeline that is stored, by `seq`."""

    def reachable_events(self, partition: PartitionId, floor: int) -> list[ControlEvent]:
        """The timeline by `seq`, compacted: all that a fold which begins at offset `floor` or above needs."""

    def insert_hot_alerts(self, own: Ownership, alerts: Sequence[Alert]) -> InsertResult:
        """Stores the alerts in one fenced statement; those already there stay as they are.

        Raises `Fenced` also when all alerts are there already, or `alerts` is empty.
        """

    def insert_from_topic(self, alerts: Sequence[TopicAlert], progress: SinkProgress) -> SinkResult:
        """Stores alerts of one partition of the topic together with the sink's progress.

        If some can never be stored, progress stays: keep them elsewhere, then repeat the call without them.
        Progress does not go back. An alert of an epoch that the ledger does not know (a restored
        database) is accepted.
        """

    def sink_progress(self, partition: PartitionId) -> SinkProgress | None:
        """Of a partition of topic `fraud_alerts`; None: never read."""

    def decided(self, partition: PartitionId) -> Decided | None:
        """How far the effects are; None: not known."""

    def decided_offset(self, partition: PartitionId) -> int | None:
        """The offset of `decided`."""

    def set_decided_offset(self, own: Ownership, offset: int, leader_epoch: int = -1) -> None:
        """Moves the decided offset forward; a lower value changes nothing."""

    def record_attempts(self, own: Ownership, offsets: Sequence[int]) -> dict[int, int]:
        """Counts that this epoch tries the offsets; returns attempts per offset, this epoch's included.

        An offset counts once per epoch, so a repeated call adds nothing.
        """

    def attempts(self, partition: PartitionId) -> dict[int, int]:
        """Number of epochs that tried each recorded offset."""

    def clear_attempts(self, own: Ownership, below_offset: int, from_offset: int = 0) -> None:
        """Forgets the attempts of `[from_offset, below_offset)`; below 0 are marks of another kind."""

    def record_gap(self, own: Ownership, gap: DataGap) -> None:
        """Declares a gap, in this partition or in an earlier life of it. Repeating changes nothing."""

    def record_sink_gap(self, gap: DataGap, back_to: SinkProgress | None = None) -> None:
        """Declares that the sink passed over a part of topic `fraud_alerts`. Repeating changes nothing.

        With `back_to` the topic was cut off there: in the same step progress above comes down to it.
        """

    def gaps(self, partition: PartitionId) -> list[DataGap]:
        """Declared gaps by `from_offset`."""

    def close(self) -> None:
        """Ends the connections; the next call opens them again."""
