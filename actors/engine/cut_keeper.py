"""Bringing settled state into Redis, off the latency path: one atomic cut after another.

A cut holds one moment: the effect of all records below its `next_offset` and of none at or above it.
States are immutable values, so a cut may be written while later batches are already observed.

Never: putting an offset into a cut before its effects are acknowledged.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from threading import RLock

from actors.engine.ports import Ports
from actors.engine.recovery import Base
from ray_fraud.domain.partition import Observed
from ray_fraud.domain.timeline import ControlEvent
from ray_fraud.domain.user_state import users_digest
from ray_fraud.domain.watermark import Votes
from ray_fraud.stores.cuts.port import Cut, CutDamaged, CutOutcome
from ray_fraud.stores.errors import Fenced
from ray_fraud.stores.ledger.port import Ownership

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Settled:
    """What has settled since the last cut."""

    changed: dict[int, bytes | None] = field(default_factory=dict)
    before: dict[int, bytes | None] = field(default_factory=dict)

    def add(self, observed: Observed) -> None:
        self.changed.update(observed.changed)
        for user_id, state in observed.before.items():
            self.before.setdefault(user_id, state)


@dataclass(frozen=True, slots=True)
class Frozen:
    """The whole partition at one settled offset."""

    users: dict[int, bytes]
    next_offset: int
    watermark_ms: int
    votes: Votes


class CutKeeper:
    """Writes the cuts of one ownership. `add` and `write` may be called from different threads.

    `lock` is the owner's: it holds while users change, while a batch settles and while all users are
    frozen, so that a frozen partition and the settled offset always belong to one moment.
    """

    def __init__(
        self,
        ports: Ports,
        own: Ownership,
        base: Base,
        *,
        redis_raised: bool,
        lock: RLock,
        events_after: Callable[[int], Sequence[ControlEvent]],
        complete_above: int,
        leader_epoch: Callable[[int], int],
        freeze: Callable[[], Frozen],
    ) -> None:
        """Keeps what settles.

        Args:
            events_after: the control events above a number.
            complete_above: no number above is missing there.
            leader_epoch: of the log's record before an offset.
        """
        self._ports = ports
        self._own = own
        self._lock = lock
        self._settled = Settled()
        self._next_offset = base.next_offset
        self._watermark_ms, self._votes = base.watermark_ms, base.votes
        self._written_offset = base.next_offset
        self._base_offset = base.snapshot_offset
        self._digest = base.digest
        self._user_count = len(base.users)
        self._complete = base.cut is not None
        self._raised = redis_raised
        self._unconfirmed: Cut | None = None
        self._events_after = events_after
        # Without a snapshot for so long that the log has gone on, a lost database waits for the lake.
        self._base_seq = self._sent_seq = max(base.snapshot_seq, complete_above)
        self._leader_epoch = leader_epoch
        self._freeze = freeze

    @property
    def written_offset(self) -> int:
        """The next offset of the newest confirmed cut."""
        return self._written_offset

    @property
    def next_offset(self) -> int:
        """The first offset that has not settled."""
        return self._next_offset

    @property
    def watermark_ms(self) -> int:
        return self._watermark_ms

    @property
    def base_seq(self) -> int:
        """Cuts carry the events above this number."""
        return self._base_seq

    def rebase(self, offset: int, seq: int) -> None:
        """A snapshot at `offset` with the events up to `seq` is durable: cuts carry those above only."""
        with self._lock:
            self._base_offset, self._base_seq = offset, seq

    @property
    def votes(self) -> Votes:
        return self._votes

    def add(self, observed: Observed) -> None:
        """Takes over a settled batch; batches come in the order of their offsets."""
        with self._lock:
            if observed.from_offset < self._next_offset:
                raise AssertionError(
                    f"partition {self._own.partition}: batch from {observed.from_offset} settled "
                    f"after offset {self._next_offset}"
                )
            self._settled.add(observed)
            self._next_offset = observed.next_offset
            self._watermark_ms, self._votes = observed.watermark_ms, observed.votes

    def write(self, *, drained: bool = False) -> bool:
        """Writes one cut if anything settled since the last; whether Redis is up to date now.

        Raises:
            StoreUnavailable: the cut is kept and repeated by the next call.
            Fenced: a newer owner exists.
        """
        if not self._raised:
            # A header that cannot be read is replaced whole; the fence is up before it is read.
            with suppress(CutDamaged):
                self._ports.cuts.raise_epoch(self._own.partition, self._own.epoch, self._own.token)
            self._raised, self._complete = True, False
        if not self._complete:
            return self._write_generation(drained=drained)
        if self._unconfirmed is not None and not self._send(self._unconfirmed):
            return self._write_generation(drained=drained)
        cut = self._take(drained=drained)
        if cut is None:
            return True
        return self._send(cut) or self._write_generation(drained=drained)

    def _take(self, *, drained: bool) -> Cut | None:
        with self._lock:
            if self._next_offset == self._written_offset and not drained:
                return None
            settled, self._settled = self._settled, Settled()
            next_offset, watermark_ms, votes = self._next_offset, self._watermark_ms, self._votes
        came = [(user_id, state) for user_id, state in settled.changed.items() if state is not None]
        went = [(user_id, state) for user_id, state in settled.before.items() if state is not None]
        self._user_count += len(came) - len(went)
        self._digest ^= users_digest(came) ^ users_digest(went)
        return self._cut(
            self._written_offset, settled.changed, next_offset, watermark_ms, votes, drained=drained
        )

    def _cut(
        self,
        previous_offset: int,
        changed: dict[int, bytes | None],
        next_offset: int,
        watermark_ms: int,
        votes: Votes,
        *,
        drained: bool,
    ) -> Cut:
        base_seq = self._base_seq
        events = tuple(self._events_after(max(self._sent_seq, base_seq)))
        return Cut(
            epoch=self._own.epoch,
            token=self._own.token,
            previous_offset=previous_offset,
            next_offset=next_offset,
            drained=drained,
            watermark_ms=watermark_ms,
            votes=votes,
            base_offset=self._base_offset,
            events=events,
            base_seq=base_seq,
            last_seq=events[-1].seq if events else max(self._sent_seq, base_seq),
            user_count=self._user_count,
            digest=self._digest,
            fold_version=self._ports.fold.version,
            leader_epoch=self._leader_epoch(next_offset),
            changed=changed,
        )

    def _send(self, cut: Cut) -> bool:
        """Whether the cut is in Redis; False: it diverged. Repeating the same cut finds a lost reply."""
        self._unconfirmed = cut
        outcome = self._ports.cuts.write(self._own.partition, cut)
        self._unconfirmed = None
        if outcome is CutOutcome.FENCED:
            raise self._fenced()
        if outcome is CutOutcome.DIVERGED:
            logger.error(
                "partition %s: Redis holds something else; writing all of it anew", self._own.partition
            )
            return False
        self._written_offset = cut.next_offset
        self._sent_seq = cut.known_seq
        return True

    def _write_generation(self, *, drained: bool) -> bool:
        """Writes the whole partition under a new generation and swaps it in."""
        self._complete = False
        self._unconfirmed = None
        with self._lock:
            frozen = self._freeze()
            self._settled = Settled()
        self._user_count = len(frozen.users)
        self._digest = users_digest(frozen.users.items())
        self._sent_seq = 0
        cut = self._cut(
            frozen.next_offset, {}, frozen.next_offset, frozen.watermark_ms, frozen.votes, drained=drained
        )
        outcome = self._ports.cuts.write_generation(self._own.partition, cut, frozen.users.items())
        if outcome is CutOutcome.FENCED:
            raise self._fenced()
        if outcome is CutOutcome.DIVERGED:
            return False
        self._complete = True
        self._sent_seq = cut.known_seq
        self._written_offset = frozen.next_offset
        return True

    def _fenced(self) -> Fenced:
        stored = self._ports.cuts.epoch(self._own.partition)
        return Fenced("redis", self._own.epoch, stored)
