"""The packed state: its layout, its readable view, its size and its digest."""

import sys
from functools import reduce
from operator import xor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_fraud.domain.user_state import (
    EMPTY_STATE,
    ExactEvent,
    Lifetime,
    Place,
    StateFormatError,
    Tally,
    UserState,
    decode_state,
    encode_state,
    last_seen_ms,
    users_digest,
    users_digest_term,
)

times = st.integers(0, 10**14)
amounts = st.floats(0, 1e15, allow_nan=False)
places = st.none() | st.builds(
    Place, st.integers(-9 * 10**8, 9 * 10**8), st.integers(-18 * 10**8, 18 * 10**8)
)
ids = st.binary(min_size=16, max_size=16)
events = st.builds(ExactEvent, times, amounts, places, ids, st.binary(min_size=4, max_size=4))
tallies = st.builds(Tally, st.integers(0, 10**8), st.integers(1, 2**32 - 1), amounts)
lifetimes = st.builds(Lifetime, amounts, st.floats(0, 1e9), times, st.integers(0, 2**32 - 1))
states = st.builds(
    UserState,
    times,
    lifetimes,
    st.lists(events, min_size=1, max_size=5),
    st.lists(tallies, max_size=4),
    st.lists(tallies, max_size=4),
)


@settings(deadline=None)
@given(states)
def test_a_view_survives_packing(view: UserState) -> None:
    packed = encode_state(view)
    assert decode_state(packed) == view
    assert encode_state(decode_state(packed)) == packed
    assert last_seen_ms(packed) == view.last_seen_ms


def full_state(event_count: int, bucket_count: int, day_count: int) -> bytes:
    event = ExactEvent(1, 1.0, Place(1, 1), bytes(16), bytes(4))
    tally = Tally(1, 1, 1.0)
    return encode_state(
        UserState(
            1, Lifetime(2.0, 1.0, 1, 2), [event] * event_count, [tally] * bucket_count, [tally] * day_count
        )
    )


@pytest.mark.parametrize(
    ("content", "size", "limit_bytes"),
    [((40, 0, 1), 1820, 2000), ((40, 0, 30), 2284, 2400), ((64, 289, 30), 7964, 8100)],
    ids=["forty events of a day", "with thirty days", "the busiest user"],
)
def test_a_state_keeps_its_declared_size(content: tuple[int, int, int], size: int, limit_bytes: int) -> None:
    state = full_state(*content)
    assert len(state) == size
    assert sys.getsizeof(state) + sys.getsizeof(2**40) <= limit_bytes


@settings(deadline=None)
@given(states, st.data())
def test_a_damaged_length_is_refused(view: UserState, data: st.DataObject) -> None:
    packed = encode_state(view)
    end = data.draw(st.integers(0, len(packed) - 1))
    with pytest.raises(StateFormatError, match=f"{end} bytes"):
        decode_state(packed[:end])


def test_another_layout_version_is_refused() -> None:
    packed = bytearray(full_state(1, 0, 1))
    packed[13] = 9
    with pytest.raises(StateFormatError, match="layout 2"):
        decode_state(bytes(packed))


def test_the_empty_state_is_a_readable_state() -> None:
    assert decode_state(EMPTY_STATE) == UserState(0, Lifetime(), [], [], [])


@settings(deadline=None)
@given(states, st.integers(0, 2**63 - 1))
def test_a_digest_term_has_64_bits(view: UserState, user_id: int) -> None:
    assert 0 <= users_digest_term(user_id, encode_state(view)) < 2**64


@settings(deadline=None)
@given(states, st.data())
def test_one_flipped_bit_changes_the_digest(view: UserState, data: st.DataObject) -> None:
    packed = bytearray(encode_state(view))
    before = users_digest_term(7, bytes(packed))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert users_digest_term(7, bytes(packed)) != before


def test_states_that_users_exchange_change_the_digest() -> None:
    one, other = full_state(1, 0, 1), full_state(2, 0, 1)
    straight = users_digest_term(1, one) ^ users_digest_term(2, other)
    exchanged = users_digest_term(1, other) ^ users_digest_term(2, one)
    assert straight != exchanged


def test_equal_states_of_two_users_do_not_cancel_out() -> None:
    state = full_state(1, 0, 1)
    assert users_digest_term(1, state) ^ users_digest_term(2, state) != 0


@settings(deadline=None)
@given(st.dictionaries(st.integers(0, 2**63 - 1), st.binary(max_size=300), max_size=20))
def test_the_digest_of_many_users_is_the_xor_of_their_terms(users: dict[int, bytes]) -> None:
    terms = (users_digest_term(user_id, state) for user_id, state in users.items())
    assert users_digest(users.items()) == reduce(xor, terms, 0)


def test_the_digest_is_pinned() -> None:
    """Stored cuts and snapshots carry it: another value would refuse all of them."""
    assert f"{users_digest_term(7, full_state(1, 1, 1)):016x}" == "85c04b5f2db54b43"
