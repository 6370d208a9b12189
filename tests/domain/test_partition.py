"""How records end: processed, duplicate, refused, quarantined, in a gap; and who is forgotten when."""

import pickle

import pytest

from ray_fraud.domain.features import FEATURE_COUNT
from ray_fraud.domain.partition import Observed, OffsetOrderError, PartitionState
from ray_fraud.domain.record import Record
from ray_fraud.domain.rejection import RejectionCode
from ray_fraud.domain.settings import DetectionSettings, StateSettings
from ray_fraud.domain.timeline import ControlEvent, gap_event, quarantine_event, settings_event
from ray_fraud.domain.user_state import decode_state
from tests.domain.samples import NOW_MS, decoder, record, transaction

HOUR_MS = 3_600_000


def partition(*timeline: ControlEvent, next_offset: int = 0) -> PartitionState:
    return PartitionState(0, decoder(), next_offset=next_offset, timeline=timeline)


def good(offset: int, user_id: int = 7, *, timestamp_ms: int | None = None) -> Record:
    tx = transaction(f"t{offset}", user_id=user_id, seconds=offset)
    return record(offset, tx, timestamp_ms=timestamp_ms)


def offsets(observed: Observed) -> list[int]:
    return [row.offset for row in observed.rows]


def test_a_batch_becomes_rows_features_and_states() -> None:
    state = partition()
    observed = state.observe([good(0), good(1, 8), good(2)])
    assert offsets(observed) == [0, 1, 2]
    assert observed.features.shape == (3, FEATURE_COUNT)
    assert observed.features.dtype == "float32"
    assert observed.user_ids.tolist() == [7, 8, 7]
    assert observed.counts.processed == 3
    assert (observed.from_offset, observed.next_offset) == (0, 3)
    assert observed.before == {7: None, 8: None}
    assert observed.changed == state.users
    assert observed.watermark_ms == state.watermark_ms == NOW_MS + 2000
    assert [len(decode_state(row.state).events) for row in observed.rows] == [1, 1, 2]


def test_before_holds_the_state_before_the_batch() -> None:
    state = partition()
    first = state.observe([good(0)])
    second = state.observe([good(1), good(2)])
    assert second.before == first.changed
    assert second.changed[7] == second.rows[-1].state != first.changed[7]


def test_an_empty_batch_changes_nothing() -> None:
    observed = partition(next_offset=5).observe([])
    assert (observed.from_offset, observed.next_offset, observed.rows) == (5, 5, [])
    assert observed.features.shape == (0, FEATURE_COUNT)
    assert observed.user_ids.dtype == "int64"


def test_holes_in_the_offsets_are_allowed() -> None:
    observed = partition().observe([good(3), good(17)])
    assert observed.next_offset == 18


@pytest.mark.parametrize("given", [(4,), (6, 6), (7, 6)])
def test_going_back_is_refused_and_changes_nothing(given: tuple[int, ...]) -> None:
    state = partition(next_offset=5)
    with pytest.raises(
        OffsetOrderError, match=rf"offset {given[-1]} .* {max(5, given[0] + len(given) - 1)} "
    ):
        state.observe([good(offset) for offset in given])
    assert (state.next_offset, state.users) == (5, {})


def test_errors_survive_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(OffsetOrderError(7, 3)))  # noqa: S301  our own bytes
    assert (error.lowest_allowed, error.offset) == (7, 3)
    assert str(error) == str(OffsetOrderError(7, 3))


def test_a_refused_record_moves_nothing() -> None:
    state = partition()
    bad = record(0, b"not json", timestamp_ms=NOW_MS + 5)
    observed = state.observe([bad, good(1)])
    assert observed.counts.rejected == 1
    assert [letter.record for letter in observed.dead_letters] == [bad]
    assert offsets(observed) == [1]
    assert partition().observe([bad]).watermark_ms == 0


def test_the_future_begins_behind_the_allowed_skew() -> None:
    skewed = [record(i, transaction(f"t{i}", seconds=300 + i / 1000), timestamp_ms=NOW_MS) for i in (0, 1)]
    observed = partition().observe(skewed)
    assert offsets(observed) == [0]
    (letter,) = observed.dead_letters
    assert (letter.rejection.code, letter.rejection.field) == (RejectionCode.TIMESTAMP_IN_FUTURE, "timestamp")
    assert "300.001 s later" in letter.rejection.message


def test_a_duplicate_moves_nothing() -> None:
    state = partition()
    state.observe([good(0)])
    before = dict(state.users)
    observed = state.observe([record(1, transaction("t0"), timestamp_ms=NOW_MS + 9)])
    assert (observed.counts.duplicates, observed.counts.processed) == (1, 0)
    assert (observed.rows, observed.changed, state.users) == ([], {}, before)


def test_an_id_used_again_is_counted_and_processed() -> None:
    observed = partition().observe([good(0), record(1, transaction("t0", amount=5000.0))])
    assert (observed.counts.id_reused, observed.counts.processed) == (1, 2)
    assert len(observed.rows[1].hits) == 1


def test_late_beyond_state_is_counted() -> None:
    observed = partition().observe(
        [record(0, transaction("a")), record(1, transaction("b", seconds=-86_400), timestamp_ms=NOW_MS)]
    )
    assert observed.counts.late_beyond_state == 1
    assert offsets(observed) == [0, 1]


def test_a_quarantined_offset_is_passed_over() -> None:
    state = partition(quarantine_event(1, 1))
    observed = [state.observe([good(0), good(1, timestamp_ms=NOW_MS * 2), good(2)])]
    observed.append(state.observe([good(1, timestamp_ms=NOW_MS * 2), good(2)]))
    assert [offsets(one) for one in observed] == [[0], [2]]
    assert observed[1].counts.quarantined == 1
    assert state.watermark_ms == NOW_MS + 2000


def test_a_range_that_cannot_be_read_is_passed_over_even_if_it_can_be_read_again() -> None:
    state = partition(quarantine_event(1, 1, 4, "its checksum is wrong"))
    assert offsets(state.observe([good(0)])) == [0]
    passed = state.pass_over(4)
    assert (passed.from_offset, passed.next_offset, passed.counts.quarantined, passed.rows) == (1, 4, 3, [])
    assert offsets(state.observe([good(4)])) == [4]
    again = partition(quarantine_event(1, 1, 4, "its checksum is wrong"))
    seen = [again.observe([good(0)]), again.observe([good(offset) for offset in range(1, 5)])]
    assert [offsets(one) for one in seen] == [[0], [4]]
    assert seen[1].counts.quarantined == 3
    assert again.users == state.users


def test_one_quarantined_offset_is_written_as_it_always_was() -> None:
    assert quarantine_event(1, 7).reference == '{"offset":7}'


def test_passing_over_offsets_applies_the_events_within_and_goes_never_back() -> None:
    later = DetectionSettings(max_future_skew_seconds=7)
    state = partition(settings_event(1, 3, later), settings_event(2, 6, DetectionSettings()))
    state.observe([good(0)])
    passed = state.pass_over(5)
    assert (passed.from_offset, passed.next_offset) == (1, 5)
    assert state.settings == later
    assert state.pass_over(2).next_offset == 5
    with pytest.raises(OffsetOrderError):
        state.observe([good(4)])
    assert offsets(state.observe([good(5)])) == [5]


@pytest.mark.parametrize("size", [1, 2, 10])
def test_records_in_a_declared_gap_are_passed_over_in_any_batches(size: int) -> None:
    state = partition(gap_event(1, 2, 5, "lost"))
    records = [good(offset) for offset in range(7)]
    seen, in_gap = [], 0
    for start in range(0, len(records), size):
        rest = records[start : start + size]
        while rest:
            observed = state.observe(rest)
            seen += offsets(observed)
            in_gap += observed.counts.in_gap
            rest = [one for one in rest if one.offset >= observed.next_offset]
    assert seen == [0, 1, 5, 6]
    assert state.next_offset == 7


def test_a_gap_moves_the_next_offset_without_records() -> None:
    state = partition(next_offset=2)
    state.apply(gap_event(1, 2, 9, "lost"))
    assert state.next_offset == 9
    assert offsets(state.observe([good(9)])) == [9]


def idle(hours: int) -> ControlEvent:
    return settings_event(1, 0, DetectionSettings(state=StateSettings(idle_hours=hours)))


def visit(offset: int, user_id: int, hour: int) -> Record:
    base_ms = NOW_MS // HOUR_MS * HOUR_MS
    tx = transaction(f"t{offset}", user_id=user_id)
    return record(offset, tx, timestamp_ms=base_ms + hour * HOUR_MS + HOUR_MS - 1)


def test_a_user_is_forgotten_when_the_log_says_so() -> None:
    state = partition(idle(24))
    state.observe([visit(0, 7, 0), visit(1, 8, 1)])
    kept = state.observe([visit(hour, 9, hour) for hour in range(2, 25)])
    assert kept.counts.expired_users == 0
    before = state.users[7]
    forgotten = state.observe([visit(25, 9, 25)])
    assert forgotten.counts.expired_users == 1
    assert forgotten.changed[7] is None
    assert forgotten.before[7] == before
    assert set(state.users) == {8, 9}


def test_a_forgotten_user_starts_anew_within_the_same_record() -> None:
    state = partition(idle(24))
    state.observe([visit(0, 7, 0)])
    before = state.users[7]
    state.observe([visit(hour, 9, hour) for hour in range(1, 25)])
    beside = state.users[9]
    observed = state.observe([visit(25, 7, 25)])
    assert observed.before == {7: before}
    assert state.users[9] == beside
    assert len(decode_state(state.users[7]).events) == 1
    assert observed.changed == {7: state.users[7]}


def test_users_are_judged_again_after_a_sweep() -> None:
    state = partition(idle(24))
    expired = [state.observe([visit(n, n, n)]).counts.expired_users for n in range(60)]
    assert sum(expired) == 60 - 25
    assert max(expired) == 1
    assert set(state.users) == set(range(35, 60))


def test_a_refused_record_makes_no_user_expire() -> None:
    state = partition(idle(24))
    state.observe([visit(0, 7, 0)])
    observed = state.observe([record(1, b"", timestamp_ms=NOW_MS + 30 * HOUR_MS)])
    assert (observed.counts.rejected, observed.counts.expired_users) == (1, 0)
    assert list(state.users) == [7]
