"""What a cut is and what a store of cuts promises.

A cut holds one moment of one partition: the effect of all records below `next_offset` and of none above.
Writing one is a single atomic call that compares the owner (epoch, token) and the offset before it.

Never: a Redis client; a decision about alerts.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Protocol

import msgspec

from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.timeline import ControlEvent
from ray_fraud.domain.watermark import NO_VOTES, Votes
from ray_fraud.stores.errors import StoreDamaged


class CutHeader(msgspec.Struct, frozen=True):
    """All of a stored cut but its users."""

    epoch: int
    """The fence: writers of a lower epoch are refused. A take-over raises it without a new cut."""
    token: str
    """The random token of the owner that raised the epoch."""
    writer_epoch: int
    """The epoch that wrote this cut; the cut counts only up to the next epoch's barrier."""
    generation: str
    """Names the set of users' keys: `<epoch>.<n>` of the write that made it."""
    next_offset: int
    """The first offset that the state has not observed."""
    drained: bool
    """True if the writer closed the cut: nothing above it was decided."""
    watermark_ms: int
    base_offset: int
    """Offset of the base: the newest snapshot, or where the log begins."""
    events: tuple[ControlEvent, ...]
    """The control events since the base, by seq; those up to `base_seq` are in the base."""
    user_count: int
    digest: int
    """XOR over all users of `users_digest_term`; unsigned, 64 bits."""
    fold_version: int
    leader_epoch: int = -1
    """Of the log's record before `next_offset`; -1: not known."""
    base_seq: int = 0
    """Number of the last event that the base has; 0: there is no base with events."""
    votes: Votes = NO_VOTES
    """What stands behind the watermark."""

    @property
    def last_seq(self) -> int:
        """Number of the last event that was known when the cut was written."""
        return self.events[-1].seq if self.events else self.base_seq


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """What an owner wants stored; see `CutHeader` for the fields of the same name."""

    epoch: int
    token: str
    previous_offset: int
    """`next_offset` of the cut that this one follows; compared with the stored one."""
    next_offset: int
    drained: bool = False
    watermark_ms: int
    base_offset: int
    events: tuple[ControlEvent, ...] = ()
    """Those that the cut before does not have yet, or all since the base; a generation has all."""
    user_count: int
    """Of the whole partition after this cut, not of `changed`."""
    digest: int
    fold_version: int
    leader_epoch: int = -1
    base_seq: int = 0
    last_seq: int | None = None
    """None: that of the last of `events`."""
    votes: Votes = NO_VOTES
    changed: Mapping[int, bytes | None] = {}
    """User id to packed state, or to None for a user that was forgotten."""

    @property
    def known_seq(self) -> int:
        """Number of the last event that the header has after this cut."""
        if self.last_seq is not None:
            return self.last_seq
        return max((event.seq for event in self.events), default=self.base_seq)

    def header(self, generation: str, before: Sequence[ControlEvent] = ()) -> CutHeader:
        """The header after this cut, if the one before it had the events `before`."""
        last_seq = self.known_seq
        known = {event.seq: event for event in (*before, *self.events)}
        return CutHeader(
            epoch=self.epoch,
            token=self.token,
            writer_epoch=self.epoch,
            generation=generation,
            next_offset=self.next_offset,
            drained=self.drained,
            watermark_ms=self.watermark_ms,
            base_offset=self.base_offset,
            events=tuple(known[seq] for seq in sorted(known) if self.base_seq < seq <= last_seq),
            user_count=self.user_count,
            digest=self.digest,
            fold_version=self.fold_version,
            leader_epoch=self.leader_epoch,
            base_seq=self.base_seq,
            votes=self.votes,
        )


class CutOutcome(Enum):
    WRITTEN = "written"
    ALREADY_WRITTEN = "already_written"
    """An earlier call of ours did it and its reply was lost."""
    FENCED = "fenced"
    """A newer owner exists (a higher epoch, or our epoch under another token): stop and exit."""
    DIVERGED = "diverged"
    """Something else is stored (or nothing): write the whole partition as a new generation."""


class CutDamaged(StoreDamaged):
    """Users are missing or changed behind our back: recover from the next source of the ladder."""

    code = "cut_damaged"


class CutStore(Protocol):
    """Every call may raise StoreUnavailable and may then be repeated as it was."""

    def check_configuration(self) -> None:
        """Make the server ready for cuts and refuse one that would lose state silently.

        Raises:
            StoreRefused: a setting of the server is wrong; the message says what to set.
        """

    def epoch(self, partition: PartitionId) -> int:
        """The stored fence; 0 if there is none."""

    def raise_epoch(self, partition: PartitionId, epoch: int, token: str) -> CutHeader | None:
        """Atomically fence all lower epochs; repeating it with the same token is harmless.

        Returns:
            The header of the stored cut under its new fence, None if there is no cut.

        Raises:
            Fenced: the stored epoch is not below `epoch`.
        """

    def write(self, partition: PartitionId, cut: Cut) -> CutOutcome:
        """Store the changes since `previous_offset` in one atomic call, or nothing at all."""

    def write_generation(
        self, partition: PartitionId, cut: Cut, users: Iterable[tuple[int, bytes]]
    ) -> CutOutcome:
        """Store `users` as the whole partition and swap to them atomically; `cut.changed` is not looked at.

        Returns:
            WRITTEN or FENCED. Readers see the old cut until the swap, and leftovers of an attempt that
            was cut short are removed by the next one or by the next take-over.
        """

    def header(self, partition: PartitionId) -> CutHeader | None:
        """The header of the stored cut, None if there is none."""

    def read_users(self, partition: PartitionId, header: CutHeader) -> Iterator[tuple[int, bytes]]:
        """All users of the cut, in no order; only an owner whose epoch is stored reads a stable set.

        Raises:
            CutDamaged: at the end, if count or digest differ from the header: discard what was read.
        """

    def read_user(self, partition: PartitionId, user_id: int) -> bytes | None:
        """One user's packed state in the newest cut, None if unknown."""

    def close(self) -> None:
        """Close the connections; no call may follow."""
