"""Wrong engines: one rule of the commit or of a take-over broken in each, as a wrong release would have it.

Never: two defects in one mutant; a change of the harness instead of the engine.
"""

# ruff: noqa: ARG005 (what replaces a method takes its arguments)

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from actors.engine import take_over as take_over_module
from actors.engine.cut_keeper import CutKeeper, Frozen, Settled
from actors.engine.owner import PartitionOwner
from actors.engine.ports import Ports
from actors.engine.publisher import Publisher
from actors.engine.recovery import find_base
from actors.engine.sink import Sink
from actors.engine.timeline_keeper import TimelineKeeper
from ray_fraud.domain.alert import Alert
from ray_fraud.domain.partition import Observed, PartitionState
from ray_fraud.domain.record import PartitionId, Record
from ray_fraud.domain.split import Split
from ray_fraud.domain.timeline import ControlEvent, content_of
from ray_fraud.stores.cut_offs import LogHistory
from ray_fraud.stores.cuts.port import Cut
from ray_fraud.stores.log.port import Pending

Mutant = Callable[[pytest.MonkeyPatch], None]


def state_before_effects(patch: pytest.MonkeyPatch) -> None:
    """A batch enters the next cut as soon as it is observed, before its alerts are acknowledged."""
    observe = PartitionOwner.observe

    def eager(self: PartitionOwner, records: Sequence[Record]) -> list[Observed]:
        batches = observe(self, records)
        for observed in batches:
            self._unsettled.popleft()
            self.cuts.add(observed)
        return batches

    patch.setattr(PartitionOwner, "observe", eager)
    patch.setattr(PartitionOwner, "settle", lambda self, observed: None)


def progress_before_effects(patch: pytest.MonkeyPatch) -> None:
    """PostgreSQL is told that everything observed is decided."""

    def record_progress(self: PartitionOwner) -> int:
        self._ports.ledger.set_decided_offset(self.own, self.state.next_offset)
        return self.state.next_offset

    patch.setattr(PartitionOwner, "record_progress", record_progress)


def alerts_not_published_again(patch: pytest.MonkeyPatch) -> None:
    """A new owner takes everything below its barrier as decided."""
    init = PartitionOwner.__init__

    def trusting(self: PartitionOwner, *args: Any, **named: Any) -> None:
        init(self, *args, **named)
        self._decided_offset = self.own.barrier

    patch.setattr(PartitionOwner, "__init__", trusting)


def acknowledgements_not_awaited(patch: pytest.MonkeyPatch) -> None:
    def hurried(self: Publisher, alerts: Sequence[Alert], pending: Sequence[Pending]) -> None:
        del self, alerts, pending

    patch.setattr(Publisher, "_wait", hurried)


def cut_of_a_later_moment(patch: pytest.MonkeyPatch) -> None:
    """A cut carries its users as they are in memory, with what later batches made of them."""
    init, take = PartitionOwner.__init__, CutKeeper._take
    states: dict[int, PartitionOwner] = {}

    def remembering(self: PartitionOwner, *args: Any, **named: Any) -> None:
        init(self, *args, **named)
        states[id(self.cuts)] = self

    def later(self: CutKeeper, *, drained: bool) -> Cut | None:
        users = states[id(self)].state.users
        changed = {user_id: users.get(user_id) for user_id in self._settled.changed}
        self._settled = Settled(changed, self._settled.before)
        return take(self, drained=drained)

    patch.setattr(PartitionOwner, "__init__", remembering)
    patch.setattr(CutKeeper, "_take", later)


def freeze_of_a_later_moment(patch: pytest.MonkeyPatch) -> None:
    """A snapshot or generation holds what unsettled batches changed."""

    def freeze(self: PartitionOwner) -> Frozen:
        return Frozen(dict(self.state.users), self.cuts.next_offset, self.cuts.watermark_ms, self.cuts.votes)

    patch.setattr(PartitionOwner, "freeze", freeze)


def split_below_the_barrier(patch: pytest.MonkeyPatch) -> None:
    """A new split holds from the first replayed offset, although an earlier owner may have decided it."""
    patch.setattr(TimelineKeeper, "_from", lambda self, state: state.next_offset)


def barrier_at_the_cut(patch: pytest.MonkeyPatch) -> None:
    """The barrier is taken from the cut even if its writer went on after it."""
    barrier = take_over_module._barrier

    def low(turn: Any, header: Any, end: int) -> int:
        return min(header.next_offset, end) if header is not None else barrier(turn, header, end)

    patch.setattr(take_over_module, "_barrier", low)


def barrier_of_the_last_owner_alone(patch: pytest.MonkeyPatch) -> None:
    """A cut closed in the middle of a replay takes the barrier back to below what others decided."""

    def low(last: Any, header: Any, end: int) -> int:
        closed = header is not None and header.drained and header.writer_epoch == last.epoch
        return min(header.next_offset, end) if closed else end

    patch.setattr(take_over_module, "_barrier", low)


def _believing(self: LogHistory, leader_epoch: int) -> tuple[int, int]:
    return self._bounds.end, -1


def offsets_without_leader_epochs(patch: pytest.MonkeyPatch) -> None:
    """A log that is long enough is taken for the one that was observed."""
    patch.setattr(LogHistory, "common_end", _believing)


def decided_offset_of_a_lost_log(patch: pytest.MonkeyPatch) -> None:
    """The effects of what has the lost records' offsets now are taken as sent."""
    init = PartitionOwner.__init__

    def trusting(self: PartitionOwner, ports: Ports, partition: PartitionId, *args: Any) -> None:
        before = ports.ledger.decided_offset(partition) or 0
        init(self, ports, partition, *args)
        self._decided_offset = before

    patch.setattr(PartitionOwner, "__init__", trusting)


def event_not_applied(patch: pytest.MonkeyPatch) -> None:
    """The table says that the new split holds, the owner decides by the old one."""

    def append(self: TimelineKeeper, state: PartitionState, event: ControlEvent) -> None:
        del state
        self._ports.ledger.append_event(self._own, event)
        self.events.append(event)

    patch.setattr(TimelineKeeper, "_append", append)


def event_not_recorded(patch: pytest.MonkeyPatch) -> None:
    """The first events are recorded; a later split is applied without."""
    append = TimelineKeeper._append

    def silent(self: TimelineKeeper, state: PartitionState, event: ControlEvent) -> None:
        content = content_of(event)
        if len(self.events) < 3 or not isinstance(content, Split):
            append(self, state, event)
        else:
            state._controls.split = content

    patch.setattr(TimelineKeeper, "_append", silent)


def base_after_its_offset(patch: pytest.MonkeyPatch) -> None:
    """The first record after the cut is passed over."""
    find = find_base

    def late(*args: Any) -> Any:
        found = find(*args)
        later = found.next_offset + 1 if found.cut is not None else found.next_offset
        return type(found)(
            found.users,
            later,
            found.watermark_ms,
            found.votes,
            found.digest,
            found.events,
            found.cut,
            found.snapshot_offset,
            found.fold_version,
            found.leader_epoch,
        )

    patch.setattr("actors.engine.owner.find_base", late)


def sink_repairs_nothing(patch: pytest.MonkeyPatch) -> None:
    """The sink moves on without storing what PostgreSQL lacks."""
    patch.setattr(Sink, "_read", lambda self, records: [])


MUTANTS: list[Mutant] = [
    state_before_effects,
    progress_before_effects,
    alerts_not_published_again,
    acknowledgements_not_awaited,
    cut_of_a_later_moment,
    freeze_of_a_later_moment,
    split_below_the_barrier,
    barrier_at_the_cut,
    barrier_of_the_last_owner_alone,
    offsets_without_leader_epochs,
    decided_offset_of_a_lost_log,
    event_not_applied,
    event_not_recorded,
    base_after_its_offset,
    sink_repairs_nothing,
]
