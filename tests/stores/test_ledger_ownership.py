"""Take-over, fencing and the control timeline: the same on both databases."""

import pickle
import uuid
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ray_fraud.domain.compaction import compacted
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.timeline import ControlEvent, EventKind, inline_event
from ray_fraud.stores.errors import Fenced, StoreError, StoreRefused, StoreUnavailable
from ray_fraud.stores.ledger.errors import RegistryConflict, TimelineConflict
from ray_fraud.stores.ledger.port import (
    CutOff,
    DataGap,
    Decided,
    EpochRow,
    Ledger,
    Ownership,
    valid_until,
)
from tests.stores.ledger_world import LedgerWorld, example_alert


def own(ledger: Ledger, partition: PartitionId, *, owner: str = "owner", barrier: int = 0) -> Ownership:
    with ledger.take_over(partition) as turn:
        return turn.confirm(turn.last_epoch + 1, owner, barrier)


def event(seq: int, from_offset: int = 0, content: bytes = b"{}") -> ControlEvent:
    return inline_event(seq, from_offset, EventKind.SETTINGS, content)


def test_first_take_over_finds_no_owner(ledger_world: LedgerWorld, partition: PartitionId) -> None:
    with ledger_world.ledger().take_over(partition) as turn:
        assert (turn.last_epoch, turn.last_barrier) == (0, None)


def test_confirm_is_seen_by_the_next_turn_and_in_the_history(
    ledger_world: LedgerWorld, partition: PartitionId
) -> None:
    ledger = ledger_world.ledger()
    first = own(ledger, partition, owner="a", barrier=10)
    with ledger_world.ledger().take_over(partition) as turn:
        assert (turn.last_epoch, turn.last_barrier) == (1, 10)
        second = turn.confirm(7, "b", 30)
    assert (first.epoch, second) == (1, Ownership(partition, 7, "b", 30))
    assert [(row.epoch, row.token, row.barrier) for row in ledger.epochs(partition)] == [
        (1, "a", 10),
        (7, "b", 30),
    ]
    (owner,) = ledger.owners()
    assert (owner.partition, owner.epoch, owner.barrier) == (partition, 7, 30)


def test_the_fold_version_of_an_owner_is_in_the_history(
    ledger_world: LedgerWorld, partition: PartitionId
) -> None:
    ledger = ledger_world.ledger()
    own(ledger, partition)
    with ledger.take_over(partition) as turn:
        turn.confirm(2, "b", 0, fold_version=4)
    assert [row.fold_version for row in ledger.epochs(partition)] == [None, 4]


def test_turn_without_confirm_changes_nothing(ledger_world: LedgerWorld, partition: PartitionId) -> None:
    ledger = ledger_world.ledger()
    held = own(ledger, partition)
    with pytest.raises(RuntimeError), ledger.take_over(partition):
        raise RuntimeError("the log's end could not be read")
    ledger.set_decided_offset(held, 5)
    assert [row.epoch for row in ledger.epochs(partition)] == [1]
    assert own(ledger, partition).epoch == 2


def test_only_one_turn_at_a_time(ledger_world: LedgerWorld, partition: PartitionId) -> None:
    with ledger_world.ledger().take_over(partition) as turn:
        other = ledger_world.ledger()
        with pytest.raises(StoreUnavailable), other.take_over(partition):
            pytest.fail("two turns are open")
        turn.confirm(1, "a", 0)
    assert own(other, partition).epoch == 2


def test_old_owner_waits_for_an_open_turn_and_is_not_fenced_by_it(
    ledger_world: LedgerWorld, partition: PartitionId
) -> None:
    ledger = ledger_world.ledger()
    held = own(ledger, partition)
    with ledger_world.ledger().take_over(partition):
        with pytest.raises(StoreUnavailable):
            ledger.insert_hot_alerts(held, [example_alert()])
        assert ledger.events(partition) == []
    assert ledger.insert_hot_alerts(held, [example_alert()]).inserted == 1


@pytest.mark.parametrize(("epoch", "barrier"), [(3, 0), (2, 0), (0, 0), (4, -1)])
def test_confirm_refuses_an_epoch_that_is_not_higher(
    ledger_world: LedgerWorld, partition: PartitionId, epoch: int, barrier: int
) -> None:
    ledger = ledger_world.ledger()
    with ledger.take_over(partition) as turn:
        turn.confirm(3, "a", 0)
    with pytest.raises(StoreRefused), ledger.take_over(partition) as turn:
        turn.confirm(epoch, "b", barrier)
    assert [row.epoch for row in ledger.epochs(partition)] == [3]


def test_turn_confirms_once(ledger_world: LedgerWorld, partition: PartitionId) -> None:
    with ledger_world.ledger().take_over(partition) as turn:
        turn.confirm(1, "a", 0)
        with pytest.raises(StoreRefused):
            turn.confirm(2, "a", 0)


@pytest.mark.parametrize("how", ["lower epoch", "other token", "never owned"])
def test_every_write_of_a_fenced_owner_is_refused(
    ledger_world: LedgerWorld, partition: PartitionId, how: str
) -> None:
    ledger = ledger_world.ledger()
    held = own(ledger, partition, owner="mine")
    ledger.append_event(held, event(1))
    if how == "lower epoch":
        own(ledger_world.ledger(), partition, owner="mine")
        zombie = held
    elif how == "other token":
        zombie = Ownership(partition, held.epoch, "not mine", 0)
    else:
        zombie = Ownership(partition._replace(partition=2), held.epoch, "mine", 0)
    writes: list[Callable[[], object]] = [
        lambda: ledger.append_event(zombie, event(1)),
        lambda: ledger.append_event(zombie, event(2)),
        lambda: ledger.restore_events(zombie, [event(1)]),
        lambda: ledger.insert_hot_alerts(zombie, [example_alert()]),
        lambda: ledger.insert_hot_alerts(zombie, []),
        lambda: ledger.set_decided_offset(zombie, 9),
        lambda: ledger.record_attempts(zombie, [1]),
        lambda: ledger.clear_attempts(zombie, 9),
        lambda: ledger.record_gap(zombie, DataGap(partition, 0, 4, "lost")),
    ]
    for write in writes:
        with pytest.raises(Fenced) as fenced:
            write()
        assert fenced.value.epoch == zombie.epoch
    assert ledger.events(partition) == [event(1)]
    assert ledger.decided_offset(partition) is None
    assert ledger.attempts(partition) == {}
    assert ledger.gaps(partition) == []
    assert ledger_world.queries().count() == 0


def test_fenced_names_both_epochs(ledger_world: LedgerWorld, partition: PartitionId) -> None:
    ledger = ledger_world.ledger()
    held = own(ledger, partition)
    with ledger.take_over(partition) as turn:
        turn.confirm(5, "b", 0)
    with pytest.raises(Fenced) as fenced:
        ledger.set_decided_offset(held, 1)
    assert (fenced.value.epoch, fenced.value.stored_epoch) == (1, 5)


def test_an_equal_event_is_success_and_another_one_a_conflict(
    ledger_world: LedgerWorld, partition: PartitionId
) -> None:
    ledger = ledger_world.ledger()
    held = own(ledger, partition)
    ledger.append_event(held, event(1, 0))
    ledger.append_event(held, event(2, 5))
    ledger.append_event(held, event(1, 0))
    for wrong in (event(2, 6), event(2, 5, b"[]"), event(4, 9)):
        with pytest.raises(TimelineConflict):
            ledger.append_event(held, wrong)
    assert ledger_world.ledger().events(partition) == [event(1, 0), event(2, 5)]


def test_the_next_owner_continues_the_timeline(ledger_world: LedgerWorld, partition: PartitionId) -> None:
    ledger = ledger_world.ledger()
    ledger.append_event(own(ledger, partition), event(1))
    second = own(ledger, partition)
    ledger.append_event(second, event(1))
    ledger.append_event(second, event(2, 3))
    assert [stored.seq for stored in ledger.events(partition)] == [1, 2]


def test_restore_adds_what_is_missing_all_or_nothing(
    ledger_world: LedgerWorld, partition: PartitionId
) -> None:
    ledger = ledger_world.ledger()
    held = own(ledger, partition)
    ledger.append_event(held, event(1))
    assert ledger.restore_events(held, [event(3, 7), event(1), event(2, 4)]) == 2
    assert ledger.restore_events(held, [event(2, 4), event(3, 7)]) == 0
    with pytest.raises(TimelineConflict):
        ledger.restore_events(held, [event(4, 9), event(6, 9)])
    with pytest.raises(TimelineConflict):
        ledger.restore_events(held, [event(4, 9), event(2, 5)])
    assert ledger.events(partition) == [event(1), event(2, 4), event(3, 7)]


def test_decided_offset_never_goes_back(ledger_world: LedgerWorld, partition: PartitionId) -> None:
    ledger = ledger_world.ledger()
    held = own(ledger, partition)
    assert ledger.decided_offset(partition) is None
    for offset in (4, 9, 7):
        ledger.set_decided_offset(held, offset)
    assert ledger.decided_offset(partition) == 9
    own(ledger, partition)
    assert ledger.decided_offset(partition) == 9
    assert ledger.owners()[0].decided_offset == 9


def test_an_epoch_counts_one_attempt_per_offset(ledger_world: LedgerWorld, partition: PartitionId) -> None:
    ledger = ledger_world.ledger()
    first = own(ledger, partition)
    assert ledger.record_attempts(first, [3, 4]) == {3: 1, 4: 1}
    assert ledger.record_attempts(first, [4, 3, 3]) == {3: 1, 4: 1}
    second = own(ledger, partition)
    assert ledger.record_attempts(second, [4, 5]) == {4: 2, 5: 1}
    ledger.clear_attempts(second, 4)
    assert ledger.attempts(partition) == {4: 2, 5: 1}
    ledger.record_attempts(second, [-(1 << 62), -(1 << 62) + 7])
    ledger.clear_attempts(second, 4)
    ledger.clear_attempts(second, -(1 << 62) + 7, -(1 << 62))
    assert ledger.attempts(partition) == {-(1 << 62) + 7: 1, 4: 2, 5: 1}
    ledger.clear_attempts(second, 0, -(1 << 62))
    ledger.clear_attempts(second, 6)
    assert ledger.attempts(partition) == {}
    assert ledger.record_attempts(second, []) == {}


def test_gaps_are_declared_once_also_of_an_earlier_life(
    ledger_world: LedgerWorld, partition: PartitionId
) -> None:
    ledger = ledger_world.ledger()
    held = own(ledger, partition)
    earlier = partition._replace(topic_id=partition.topic_id + "-deleted")
    late, early = DataGap(partition, 8, 12, "retention"), DataGap(partition, 0, 4, "retention")
    lost = DataGap(earlier, 100, 140, "the topic was made again")
    for gap in (late, early, lost, late):
        ledger.record_gap(held, gap)
    assert ledger.gaps(partition) == [early, late]
    assert ledger.gaps(earlier) == [lost]


def test_partitions_are_apart(ledger_world: LedgerWorld, partition: PartitionId) -> None:
    ledger = ledger_world.ledger()
    other = partition._replace(partition=2)
    held = own(ledger, partition)
    own(ledger, other)
    own(ledger, other)
    ledger.append_event(held, event(1))
    assert ledger.events(other) == []
    assert {row.partition: row.epoch for row in ledger.owners()} == {partition: 1, other: 2}


@pytest.mark.parametrize(("epoch", "until"), [(1, 10), (2, 20), (3, 20), (4, None), (9, None)])
def test_an_epoch_counts_up_to_the_lowest_later_barrier(epoch: int, until: int | None) -> None:
    rows = [EpochRow(number, "", barrier, 0) for number, barrier in ((1, 0), (2, 10), (3, 30), (4, 20))]
    assert valid_until(rows, epoch) == until


@pytest.mark.parametrize(
    "error",
    [
        TimelineConflict(3, "the next number is 2"),
        RegistryConflict("it changed"),
        Fenced("postgres", 1, 2),
        StoreUnavailable("postgres", "gone"),
    ],
)
def test_errors_survive_pickling(error: StoreError) -> None:
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (type(copy), vars(copy), str(copy)) == (type(error), vars(error), str(error))


steps = st.lists(
    st.one_of(
        st.tuples(st.just("own"), st.integers(0, 2), st.integers(0, 50)),
        st.tuples(st.just("append"), st.integers(0, 2), st.integers(1, 4)),
        st.tuples(st.just("decide"), st.integers(0, 2), st.integers(0, 50)),
    ),
    max_size=25,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_only_the_last_owner_ever_writes(
    ledger_world: LedgerWorld, steps: list[tuple[str, int, int]]
) -> None:
    """Three owners take turns at will; a model of two numbers predicts every answer."""
    partition = PartitionId("cluster-1", str(uuid.uuid4()), 0)
    ledger = ledger_world.ledger()
    holders: dict[int, Ownership] = {}
    last, events, decided = 0, 0, None
    for action, who, number in steps:
        if action == "own":
            last += 1
            holders[who] = own(ledger, partition, owner=f"{who}", barrier=number)
            continue
        held = holders.get(who, Ownership(partition, 99, "never", 0))
        try:
            if action == "append":
                ledger.append_event(held, event(number))
                outcome = "done"
            else:
                ledger.set_decided_offset(held, number)
                outcome = "done"
        except Fenced:
            outcome = "fenced"
        except TimelineConflict:
            outcome = "conflict"
        if held.epoch != last:
            assert outcome == "fenced"
        elif action == "append":
            assert outcome == ("done" if number <= events + 1 else "conflict")
            events = max(events, number if outcome == "done" else 0)
        else:
            assert outcome == "done"
            decided = max(decided or 0, number)
    assert len(ledger.events(partition)) == events
    assert ledger.decided_offset(partition) == decided
    ledger_world.close()


def test_the_decided_offset_stands_with_its_leader_epoch(
    ledger_world: LedgerWorld, partition: PartitionId
) -> None:
    ledger = ledger_world.ledger()
    held = own(ledger, partition)
    assert ledger.decided(partition) is None
    ledger.set_decided_offset(held, 5)
    assert ledger.decided(partition) == Decided(5, -1)
    ledger.set_decided_offset(held, 9, 3)
    ledger.set_decided_offset(held, 7, 2)
    assert ledger.decided(partition) == Decided(9, 3)


def test_a_log_that_was_cut_off_takes_the_decided_offset_back(
    ledger_world: LedgerWorld, partition: PartitionId
) -> None:
    ledger = ledger_world.ledger()
    held = own(ledger, partition)
    ledger.set_decided_offset(held, 100, 5)
    ledger.record_attempts(held, [79, 80, 99])
    with ledger.take_over(partition) as turn:
        turn.confirm(turn.last_epoch + 1, "next", 80, cut_off=CutOff(80, 100, 4))
    assert ledger.decided(partition) == Decided(80, 4)
    assert list(ledger.attempts(partition)) == [79]
    assert [row.cut_off for row in ledger.epochs(partition)] == [None, 80]
    (gap,) = ledger.gaps(partition)
    assert (gap.from_offset, gap.to_offset) == (80, 100)
    assert "cut off at 80" in gap.reason


def test_a_log_that_was_cut_off_above_the_decided_offset_leaves_it(
    ledger_world: LedgerWorld, partition: PartitionId
) -> None:
    ledger = ledger_world.ledger()
    ledger.set_decided_offset(own(ledger, partition), 70, 5)
    with ledger.take_over(partition) as turn:
        turn.confirm(turn.last_epoch + 1, "next", 80, cut_off=CutOff(80, 100, 4))
    assert ledger.decided(partition) == Decided(70, 5)


def test_only_reachable_events_are_read(ledger_world: LedgerWorld, partition: PartitionId) -> None:
    ledger = ledger_world.ledger()
    held = own(ledger, partition)
    events = [
        inline_event(1, 0, EventKind.FOLD_VERSION, b"{}"),
        event(2, 5),
        inline_event(3, 5, EventKind.SPLIT, b"{}"),
        event(4, 6),
        inline_event(5, 7, EventKind.QUARANTINE, b"{}"),
        event(6, 9),
        event(7, 9, b"[]"),
        inline_event(8, 12, EventKind.SPLIT, b"[]"),
    ]
    for one in events:
        ledger.append_event(held, one)
    assert ledger.reachable_events(partition, 0) == events
    for floor in range(14):
        assert ledger.reachable_events(partition, floor) == compacted(events, floor)
    assert [one.seq for one in ledger.reachable_events(partition, 9)] == [1, 3, 5, 7, 8]
    assert ledger.reachable_events(partition._replace(partition=9), 3) == []


def test_a_restored_timeline_may_lack_what_was_replaced(
    ledger_world: LedgerWorld, partition: PartitionId
) -> None:
    ledger = ledger_world.ledger()
    held = own(ledger, partition)
    ledger.append_event(held, event(1))
    carried = [event(1), event(7, 7), event(8, 8)]
    with pytest.raises(TimelineConflict, match="stay missing"):
        ledger.restore_events(held, carried, complete_above=5)
    assert ledger.events(partition) == [event(1)]
    assert ledger.restore_events(held, carried, complete_above=6) == 2
    assert ledger.restore_events(held, carried, complete_above=6) == 0
    assert ledger.restore_events(held, [event(4, 2)], complete_above=6) == 1
    ledger.append_event(held, event(9, 9))
    with pytest.raises(TimelineConflict):
        ledger.append_event(held, event(11, 9))
    assert [one.seq for one in ledger.events(partition)] == [1, 4, 7, 8, 9]
