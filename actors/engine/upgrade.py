"""The first take-over by a release with another fold version: from the drained state of the one before.

    drained base → converted users → snapshot in the lake → generation in Redis → event in PostgreSQL

The order makes a crash at any point harmless: until the event (which snapshot and generation carry with them,
and which a take-over restores from there) nothing was decided by the new fold, and converting again gives the
same bytes. After it no replay starts below its offset: the snapshot serves if Redis is lost.

Never: a converted state of a partition in which something may have been decided above it.
"""

import logging

from actors.engine.ports import Ports
from actors.engine.recovery import Base
from actors.engine.take_over import TakenOver, timeline_of
from ray_fraud.domain.controls import FoldVersionError
from ray_fraud.domain.conversion import FoldState, version_at, version_events
from ray_fraud.domain.timeline import ControlEvent, fold_version_event, last_seq
from ray_fraud.domain.user_state import users_digest
from ray_fraud.stores.cuts.port import Cut, CutOutcome
from ray_fraud.stores.errors import Fenced, StoreUnavailable
from ray_fraud.stores.snapshots.port import SnapshotHeader

logger = logging.getLogger(__name__)


class UpgradeRefusedError(Exception):
    """This release cannot own the partition in the state in which it is; what to do is in the message."""


class NotDrainedError(UpgradeRefusedError):
    """A release with another fold version found a partition that was not drained."""

    def __init__(self, partition: object, recorded: int, wanted: int) -> None:
        super().__init__(
            f"partition {partition}: fold version {recorded} has decided it, and fold version {wanted} can "
            "only start from a drained partition; start the previous release, stop it with `ray-fraud down`, "
            "then start this one"
        )


class StateLostError(UpgradeRefusedError):
    """What an older version decided cannot be folded again, and no state above it is left."""

    def __init__(self, partition: object, recorded: int, wanted: int, from_offset: int) -> None:
        super().__init__(
            f"partition {partition}: records below offset {from_offset} were decided by fold version "
            f"{recorded}, which this release (fold version {wanted}) cannot fold again, and neither Redis "
            f"nor the lake has a usable state at or above that offset; make the lake answer, or restore its "
            f"folder `checkpoints` from a backup"
        )


def check_versions(ports: Ports, taken: TakenOver, events: list[ControlEvent]) -> None:
    """Refuses a partition that a newer release has decided, before anything of it is read.

    Raises:
        FoldVersionError: the timeline ends with a newer fold version than this release's.
    """
    timeline = timeline_of(events, () if taken.header is None else taken.header.events)
    last = version_events(timeline)[-1:]
    if last and last[0].version > ports.fold.version:
        raise FoldVersionError(*last[0], ports.fold.version)


def upgrade(ports: Ports, taken: TakenOver, base: Base, events: list[ControlEvent]) -> Base:
    """The base under this release's fold, durable and on record if it had to be converted.

    `events`: the whole timeline; the new event is added to it.

    Raises:
        NotDrainedError: something may have been decided above the base by the version before.
        StateLostError: the base lies below where this release's fold begins.
        NoConverterError: this release cannot take states of that version over.
        StoreUnavailable: a store does not answer; nothing was decided, try again.
        Fenced: a newer owner exists.
    """
    wanted, partition = ports.fold.version, taken.own.partition
    recorded = version_events(events)[-1:]
    if not recorded:
        return base
    from_offset, version = recorded[0]
    if version == wanted:
        if version_at(events, base.next_offset) != wanted:
            before = version_at(events, from_offset - 1) or 0
            raise StateLostError(partition, before, wanted, from_offset)
        return _converted(ports, base) if base.fold_version != wanted else base
    if not taken.redis_raised:
        raise StoreUnavailable("redis", "the state to upgrade from is there; the upgrade waits for it")
    beyond = [event.seq for event in events if event.from_offset > base.next_offset]
    if base.next_offset != taken.own.barrier or base.fold_version != version or beyond:
        raise NotDrainedError(partition, version, wanted)
    base = _converted(ports, base)
    event = fold_version_event(last_seq(events) + 1, base.next_offset, wanted)
    _keep(ports, taken, base, (*events, event))
    ports.ledger.append_event(taken.own, event)
    events.append(event)
    logger.warning(
        "partition %s: fold version %d holds from offset %d on; %d users were converted from version %d",
        partition,
        wanted,
        base.next_offset,
        len(base.users),
        version,
    )
    return base


def _converted(ports: Ports, base: Base) -> Base:
    state = ports.fold.convert(FoldState(base.users, base.watermark_ms, base.votes), base.fold_version)
    return Base(
        users=state.users,
        next_offset=base.next_offset,
        watermark_ms=state.watermark_ms,
        votes=state.votes,
        digest=users_digest(state.users.items()),
        events=base.events,
        cut=None,
        snapshot_offset=base.snapshot_offset,
        fold_version=ports.fold.version,
        leader_epoch=base.leader_epoch,
        snapshot_seq=base.snapshot_seq,
    )


def _keep(ports: Ports, taken: TakenOver, base: Base, events: tuple[ControlEvent, ...]) -> None:
    """Makes the converted base durable: in the lake, then in Redis as a closed cut."""
    own = taken.own
    cut = Cut(
        epoch=own.epoch,
        token=own.token,
        previous_offset=base.next_offset,
        next_offset=base.next_offset,
        # Nothing was decided above it: whoever comes next may start from here in the same way.
        drained=True,
        watermark_ms=base.watermark_ms,
        votes=base.votes,
        base_offset=base.next_offset,
        events=events,
        user_count=len(base.users),
        digest=base.digest,
        fold_version=base.fold_version,
        leader_epoch=base.leader_epoch,
    )
    header = SnapshotHeader(
        partition=own.partition,
        next_offset=cut.next_offset,
        epoch=cut.epoch,
        token=cut.token,
        watermark_ms=cut.watermark_ms,
        votes=cut.votes,
        base_offset=cut.base_offset,
        events=events,
        user_count=cut.user_count,
        digest=cut.digest,
        fold_version=cut.fold_version,
        leader_epoch=cut.leader_epoch,
    )
    ports.snapshots.write(own.partition, header, base.users.items())
    outcome = ports.cuts.write_generation(own.partition, cut, base.users.items())
    if outcome is not CutOutcome.WRITTEN:
        raise Fenced("redis", own.epoch, ports.cuts.epoch(own.partition))
