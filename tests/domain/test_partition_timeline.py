"""Control events: applied at their offset, in order, or refused."""

import pickle

import msgspec
import numpy as np
import pytest

from ray_fraud.domain.feature_tables import FeatureTables, MerchantTable
from ray_fraud.domain.features import FEATURE_NAMES
from ray_fraud.domain.partition import (
    FOLD_VERSION,
    FoldVersionError,
    OffsetOrderError,
    PartitionState,
    TablesMissingError,
)
from ray_fraud.domain.settings import DetectionSettings, HighAmountSettings
from ray_fraud.domain.split import RULES_ONLY, Arm, Split
from ray_fraud.domain.timeline import (
    ControlEvent,
    EventKind,
    TimelineError,
    Truncation,
    content_of,
    damage_in,
    features_event,
    fold_version_event,
    gap_event,
    inline_event,
    quarantine_event,
    settings_event,
    split_event,
    tables_needed,
    truncation_event,
)
from tests.domain.samples import decoder, record, transaction

ONE = Split((Arm("forest", 1, "d1", 0.5, 10_000),), "salt")
TWO = Split((Arm("forest", 2, "d2", 0.5, 10_000),), "salt")
STRICT = DetectionSettings(high_amount=HighAmountSettings(limit=1.0))


def partition(*timeline: ControlEvent, next_offset: int = 0) -> PartitionState:
    return PartitionState(0, decoder(), next_offset=next_offset, timeline=timeline)


def test_without_a_timeline_rules_and_defaults_hold() -> None:
    state = partition()
    assert (state.split, state.settings) == (RULES_ONLY, DetectionSettings())


def test_a_batch_stops_before_a_change() -> None:
    state = partition(split_event(1, 0, ONE), split_event(2, 3, TWO), settings_event(3, 3, STRICT))
    batch = [record(offset, transaction(f"t{offset}")) for offset in range(5)]
    first = state.observe(batch)
    assert (first.split, first.settings, first.next_offset) == (ONE, DetectionSettings(), 3)
    second = state.observe(batch[3:])
    assert (second.split, second.settings, second.next_offset) == (TWO, STRICT, 5)
    assert [len(row.hits) for row in first.rows + second.rows] == [0, 0, 0, 1, 1]


def test_an_event_in_a_hole_holds_from_the_next_record_on() -> None:
    state = partition(split_event(1, 5, ONE))
    batch = [record(offset, transaction(f"t{offset}")) for offset in (4, 9)]
    assert state.observe(batch).next_offset == 5
    assert state.observe(batch[1:]).split == ONE


def test_of_events_at_one_offset_the_last_number_wins() -> None:
    state = partition(split_event(1, 0, ONE), split_event(2, 0, TWO))
    assert state.split == TWO


def test_a_restored_partition_knows_what_held() -> None:
    state = partition(split_event(1, 0, ONE), split_event(2, 7, TWO), next_offset=6)
    assert state.split == ONE
    state.observe([record(7, transaction())])
    assert state.split == TWO


def test_an_appended_event_holds_from_its_offset() -> None:
    state = partition(split_event(1, 0, ONE), next_offset=4)
    state.extend_timeline(split_event(2, 4, TWO))
    assert state.observe([record(4, transaction())]).split == TWO


def test_apply_holds_at_once() -> None:
    state = partition(next_offset=4)
    state.apply(split_event(1, 4, ONE))
    assert state.split == ONE


def test_an_event_below_an_observed_offset_is_refused() -> None:
    state = partition(next_offset=4)
    with pytest.raises(TimelineError, match=r"event 1 \(split\) from offset 3: records below 4"):
        state.extend_timeline(split_event(1, 3, ONE))


def test_a_new_event_below_one_before_it_is_refused() -> None:
    state = partition(split_event(1, 100, ONE))
    with pytest.raises(TimelineError, match=r"event 2 \(split\) from offset 30: .* append it from there"):
        state.extend_timeline(split_event(2, 30, TWO))
    state.extend_timeline(quarantine_event(2, 30))
    state.extend_timeline(split_event(3, 100, TWO))


@pytest.mark.parametrize("next_offset", [0, 30, 99, 100, 150])
def test_stored_events_out_of_order_hold_in_the_order_of_their_offsets(next_offset: int) -> None:
    state = partition(split_event(1, 100, ONE), split_event(2, 30, TWO), next_offset=next_offset)
    state.observe([record(max(next_offset, 150), transaction())])
    assert state.split == ONE


def test_an_event_that_is_not_due_cannot_be_applied() -> None:
    with pytest.raises(TimelineError, match="from offset 5 is not due at 4"):
        partition(next_offset=4).apply(split_event(1, 5, ONE))


def test_a_hole_in_the_numbers_is_refused_unless_what_is_missing_was_replaced() -> None:
    with pytest.raises(TimelineError, match="event 2 is missing"):
        partition(split_event(1, 0, ONE), split_event(3, 5, TWO))
    state = partition(split_event(1, 0, ONE))
    assert partition(split_event(1, 0, ONE), split_event(3, 0, TWO)).split == TWO
    with pytest.raises(TimelineError, match=r"event 1 .* follows event 1"):
        state.apply(split_event(1, 0, ONE))


def test_a_timeline_may_begin_above_one() -> None:
    assert partition(split_event(8, 0, ONE), split_event(9, 0, TWO)).split == TWO


def test_another_fold_version_is_refused_before_any_record_of_it() -> None:
    state = partition(fold_version_event(1, 0, FOLD_VERSION), fold_version_event(2, 3, FOLD_VERSION + 1))
    batch = [record(offset, transaction(f"t{offset}")) for offset in range(5)]
    observed = state.observe(batch)
    assert observed.next_offset == 3
    users = dict(state.users)
    with pytest.raises(FoldVersionError, match=rf"offset 3.*version {FOLD_VERSION + 1}"):
        state.observe(batch[3:])
    assert (state.users, state.next_offset) == (users, 3)


def test_an_older_fold_version_far_below_is_history() -> None:
    old = fold_version_event(1, 0, FOLD_VERSION + 1)
    new = fold_version_event(2, 3, FOLD_VERSION)
    assert partition(old, new, next_offset=3).next_offset == 3
    with pytest.raises(FoldVersionError):
        partition(old, new, next_offset=2)


def test_a_damaged_content_is_refused() -> None:
    event = split_event(1, 0, ONE)
    damaged = msgspec.structs.replace(event, reference=event.reference.replace("0.5", "0.9"))
    with pytest.raises(TimelineError, match=r"event 1 \(split\): its content has SHA-256"):
        partition(damaged)


@pytest.mark.parametrize("content", [b"{}", b"not json", b'{"arms":[],"salt":"s","more":1}'])
def test_a_content_of_another_type_is_refused(content: bytes) -> None:
    with pytest.raises(TimelineError, match=r"event 1 \(split\): content not understood"):
        partition(inline_event(1, 0, EventKind.SPLIT, content))


def test_events_read_back_what_was_written() -> None:
    gap = content_of(gap_event(1, 2, 9, "lost"))
    assert msgspec.to_builtins(gap) == {"from": 2, "to": 9, "reason": "lost"}
    assert msgspec.to_builtins(content_of(quarantine_event(1, 4))) == {"offset": 4}
    assert msgspec.to_builtins(content_of(fold_version_event(1, 0, 3))) == {"version": 3}
    assert content_of(split_event(1, 0, ONE)) == ONE
    assert content_of(settings_event(1, 0, STRICT)) == STRICT


def test_an_empty_gap_is_no_gap() -> None:
    with pytest.raises(ValueError, match="from 5, to 5"):
        gap_event(1, 5, 5, "nothing")


@pytest.mark.parametrize("error", [FoldVersionError(3, 2), TimelineError("event 1 follows event 4")])
def test_errors_survive_the_way_between_processes(error: Exception) -> None:
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  our own bytes
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def judged(frauds: int) -> FeatureTables:
    return FeatureTables(MerchantTable(["shop"], *(np.array([frauds]) for _ in range(6))))


def verdicts_seen(state: PartitionState, *offsets: int) -> list[float]:
    """Feature `merchant_frauds_30d` of one record each."""
    seen = []
    for offset in offsets:
        observed = state.observe([record(offset, transaction(f"t{offset}", merchant_id="shop"))])
        seen.append(float(observed.features[0, FEATURE_NAMES.index("merchant_frauds_30d")]))
    return seen


def test_feature_tables_hold_from_their_offset_on() -> None:
    timeline = (features_event(1, 2, "one"), features_event(2, 4, "two"))
    tables = {"one": judged(1), "two": judged(2)}
    state = PartitionState(0, decoder(), timeline=timeline, tables=tables)
    seen = verdicts_seen(state, 0, 2, 3, 4)
    assert np.isnan(seen[0])
    assert seen[1:] == [1, 1, 2]
    assert state.tables_digest == "two"


def test_tables_that_are_not_loaded_stop_the_fold_before_the_record() -> None:
    tables: dict[str, FeatureTables] = {}
    event = features_event(1, 1, "later")
    state = PartitionState(0, decoder(), timeline=(event,), tables=tables)
    verdicts_seen(state, 0)
    users = dict(state.users)
    with pytest.raises(TablesMissingError, match="later"):
        verdicts_seen(state, 1)
    assert (state.users, state.next_offset, state.tables_digest) == (users, 1, None)
    tables["later"] = judged(7)
    assert verdicts_seen(state, 1) == [7]
    with pytest.raises(OffsetOrderError):
        verdicts_seen(state, 1)


def test_of_tables_due_at_the_begin_only_the_last_need_be_there() -> None:
    timeline = (features_event(1, 0, "gone"), features_event(2, 3, "now"), features_event(3, 9, "next"))
    state = PartitionState(0, decoder(), next_offset=5, timeline=timeline, tables={"now": judged(3)})
    assert verdicts_seen(state, 5) == [3]
    with pytest.raises(TablesMissingError, match="gone"):
        PartitionState(0, decoder(), next_offset=0, timeline=timeline, tables={"now": judged(3)})


def test_tables_needed_are_those_that_hold_at_the_offset_or_later() -> None:
    timeline = [features_event(1, 0, "a"), settings_event(2, 1, STRICT), features_event(3, 3, "b")]
    timeline += [features_event(4, 9, "c"), features_event(5, 12, "b")]
    assert tables_needed(timeline, 0) == ["a", "b", "c"]
    assert tables_needed(timeline, 3) == ["b", "c"]
    assert tables_needed(timeline, 10) == ["c", "b"]
    assert tables_needed(timeline, 50) == ["b"]
    assert tables_needed([], 0) == []


def test_a_truncation_takes_back_quarantines_of_lost_records_wherever_it_stands() -> None:
    state = partition(
        quarantine_event(1, 4),
        quarantine_event(2, 6),
        quarantine_event(3, 4, 9, "damaged"),
        truncation_event(4, 20, Truncation(5, 2)),
        quarantine_event(5, 7),
    )
    state.observe([record(offset, transaction(f"t{offset}")) for offset in range(4)])
    counts = [state.observe([record(offset, transaction(f"t{offset}"))]).counts for offset in range(4, 9)]
    assert [each.quarantined for each in counts] == [1, 0, 0, 1, 0]


def test_an_appended_truncation_takes_back_what_holds_already() -> None:
    state = partition(quarantine_event(1, 5), quarantine_event(2, 5, 9, "damaged"), next_offset=5)
    state.extend_timeline(truncation_event(3, 5, Truncation(5, 2)))
    assert state.observe([record(5, transaction())]).counts.processed == 1


def test_damage_of_lost_records_is_none_of_the_log() -> None:
    timeline = [quarantine_event(1, 4, 9, "damaged"), truncation_event(2, 20, Truncation(6, 2))]
    assert [(each.offset, each.end) for each in damage_in(timeline)] == [(4, 6)]
