"""The packed step equals the plain one, record after record, whatever the order of events."""

import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ray_fraud.domain.fold import Step, fold
from ray_fraud.domain.fold_anywhere import fold_anywhere
from ray_fraud.domain.payload import id_hash, payload_digest
from ray_fraud.domain.rules import Neighbour
from ray_fraud.domain.transaction import Location, Transaction
from ray_fraud.domain.user_state import EMPTY_STATE, decode_state, encode_state
from tests.domain.reference_fold import BUCKET, DAY, HOUR, reference_fold
from tests.domain.samples import BERLIN, NOW_MS, TOKYO, transaction

edges = st.sampled_from((0, 1, 999, 1000, BUCKET, HOUR, DAY, 7 * DAY, 30 * DAY))
steps_ms = st.one_of(
    st.integers(-3 * HOUR, 3 * HOUR),
    st.builds(
        lambda edge, nudge, sign: sign * edge + nudge, edges, st.integers(-1, 1), st.sampled_from((-1, 1))
    ),
)
locations = st.sampled_from((None, BERLIN, BERLIN, TOKYO, Location(-52.52, -166.595), Location(0.0, 180.0)))
amounts = st.sampled_from((0.0, 5e-324, 0.1, 0.2, 9.99, 1e15)) | st.floats(0, 5000)
moves = st.tuples(steps_ms, amounts, locations, st.integers(0, 30), st.integers(2, 5))


def take(state: bytes, tx: Transaction, max_events: int = 64, seen_ms: int = 0) -> Step | None:
    return fold(state, tx, tx.event_ms, payload_digest(tx), id_hash(tx.transaction_id), seen_ms, max_events)


def same(ours: tuple[float, ...], theirs: tuple[float, ...]) -> bool:
    pairs = zip(ours, theirs, strict=True)
    return all(
        a == b or math.isclose(a, b, rel_tol=1e-12) or (math.isnan(a) and math.isnan(b)) for a, b in pairs
    )


def kmh(neighbour: Neighbour | None) -> float | None:
    return None if neighbour is None else neighbour.kmh


@settings(max_examples=300, deadline=None)
@given(st.lists(moves, max_size=40))
@example([(0, 1.0, BERLIN, 1, 2), (0, 1.0, BERLIN, 1, 2)])
@example([(0, 1.0, None, i, 5) for i in range(6)] + [(-2 * DAY, 1.0, None, 9, 2)])
def test_the_packed_step_equals_the_plain_one(moves: list[tuple[int, float, Any, int, int]]) -> None:
    state, view, now_ms = EMPTY_STATE, None, NOW_MS + 60 * DAY
    for number, (step_ms, amount, location, identity, max_events) in enumerate(moves):
        now_ms += step_ms
        tx = transaction(f"t{identity}", amount=amount, seconds=(now_ms - NOW_MS) / 1000, location=location)
        mine = take(state, tx, max_events, number)
        plain = reference_fold(
            view, tx, tx.event_ms, payload_digest(tx), id_hash(tx.transaction_id), number, max_events
        )
        if plain is None:
            assert mine is None
            continue
        assert mine is not None
        view, state = plain.state, mine.state
        assert decode_state(state) == view
        assert encode_state(view) == state
        assert same(mine.features, plain.features)
        assert (mine.late_beyond_state, mine.id_reused) == (plain.late_beyond_state, plain.id_reused)
        assert same((kmh(mine.previous) or 0.0,), (plain.previous_kmh or 0.0,))
        assert same((kmh(mine.next) or 0.0,), (plain.next_kmh or 0.0,))
        assert (mine.previous is None, mine.next is None) == (
            plain.previous_kmh is None,
            plain.next_kmh is None,
        )


forward_ms = st.integers(0, 4 * HOUR) | st.sampled_from(
    (0, 1, HOUR - 1, HOUR, DAY - 1, DAY, 7 * DAY, 30 * DAY - 1, 30 * DAY)
)
backward_ms = st.integers(-DAY, -1)
mostly_forward = st.lists(
    st.tuples(
        st.one_of(forward_ms, forward_ms, forward_ms, backward_ms), amounts, locations, st.integers(0, 200)
    ),
    min_size=30,
    max_size=120,
)


@settings(max_examples=150, deadline=None)
@given(mostly_forward, st.sampled_from((12, 64)))
@example([(3 * HOUR, 1.0, BERLIN, number) for number in range(70)], 64)
@example([(30 * 60_000, 1.0, None, number) for number in range(70)], 64)
@example([(DAY, 1.0, TOKYO, number) for number in range(70)], 64)
def test_the_short_way_equals_the_long_one(moves: list[tuple[int, float, Any, int]], max_events: int) -> None:
    """With more rows than the short way reads: in long columns it looks at the first and the last few."""
    state, now_ms = EMPTY_STATE, NOW_MS
    for number, (step_ms, amount, location, identity) in enumerate(moves):
        now_ms += step_ms
        tx = transaction(f"t{identity}", amount=amount, seconds=(now_ms - NOW_MS) / 1000, location=location)
        ids = payload_digest(tx), id_hash(tx.transaction_id)
        short = fold(state, tx, tx.event_ms, *ids, number, max_events)
        long = fold_anywhere(state, tx, tx.event_ms, *ids, number, max_events)
        # Compared as text: a missing feature is NaN, which equals nothing.
        assert repr(short) == repr(long)
        if short is not None:
            state = short.state


def fold_all(*transactions: Transaction, max_events: int = 64) -> list[Step | None]:
    state, taken = EMPTY_STATE, []
    for tx in transactions:
        step = take(state, tx, max_events)
        state = step.state if step else state
        taken.append(step)
    return taken


def test_the_same_payload_again_is_a_duplicate() -> None:
    tx = transaction()
    first, again = fold_all(tx, tx)
    assert first is not None
    assert again is None


def test_an_id_with_another_payload_is_counted_and_goes_on() -> None:
    first, other = fold_all(transaction("a"), transaction("a", amount=11.0))
    assert first is not None
    assert other is not None
    assert (first.id_reused, other.id_reused) == (False, True)
    assert len(decode_state(other.state).events) == 2


def test_a_digest_that_stands_across_two_slots_is_no_duplicate() -> None:
    """The ids lie side by side: bytes of two neighbours may look like one digest."""
    tx = transaction("b", seconds=2)
    digest = payload_digest(tx)
    first = fold(EMPTY_STATE, transaction("a"), NOW_MS, b"x" * 12 + digest[:4], digest[4:8], 0, 64)
    assert first is not None
    second = fold(
        first.state, transaction("c", seconds=1), NOW_MS + 1000, digest[8:] + b"y" * 8, b"zzzz", 0, 64
    )
    assert second is not None
    assert digest in second.state
    assert take(second.state, tx) is not None


def test_a_record_older_than_all_a_full_state_holds_goes_to_its_bucket() -> None:
    *_, last = fold_all(
        transaction("a", seconds=100, location=TOKYO),
        transaction("b", seconds=200, location=TOKYO),
        transaction("c", seconds=0),
        max_events=2,
    )
    assert last is not None
    view = decode_state(last.state)
    assert [event.event_ms for event in view.events] == [NOW_MS + 100_000, NOW_MS + 200_000]
    assert [tally.count for tally in view.buckets] == [1]
    assert (last.previous, last.next, last.late_beyond_state) == (None, None, False)
    assert last.features[5] == 1


def test_24_hours_are_an_open_and_a_closed_end() -> None:
    _, kept = fold_all(transaction("a"), transaction("b", seconds=86_400 - 0.001))
    _, dropped = fold_all(transaction("a"), transaction("b", seconds=86_400))
    assert kept is not None
    assert dropped is not None
    assert len(decode_state(kept.state).events) == 2
    assert len(decode_state(dropped.state).events) == 1
    assert math.isnan(dropped.features[14])


def test_a_late_record_is_compared_with_the_next_event_too() -> None:
    *_, late = fold_all(transaction("a", seconds=600, location=TOKYO), transaction("b", seconds=0))
    assert late is not None
    assert late.previous is None
    assert late.next is not None
    assert late.next.position == "next"
    assert late.next.km == pytest.approx(8918, abs=10)
    assert late.next.seconds == 600


def test_places_of_equal_times_are_one_second_apart() -> None:
    *_, step = fold_all(transaction("a"), transaction("b", location=Location(52.52, 13.42)))
    assert step is not None
    assert step.previous is not None
    assert step.previous.kmh == pytest.approx(step.previous.km * 3600)
