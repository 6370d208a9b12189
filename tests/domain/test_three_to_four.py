"""What a state of fold version 3 becomes: without places that were placeholders, under a young watermark."""

import msgspec

from ray_fraud.domain.fold_state import FoldState
from ray_fraud.domain.three_to_four import three_to_four
from ray_fraud.domain.user_state import ExactEvent, Lifetime, Place, UserState, decode_state, encode_state
from ray_fraud.domain.watermark import NO_VOTES, Votes


def state(*places: Place | None) -> UserState:
    events = [ExactEvent(1000 + at, 5.5, place, bytes([at]) * 16, b"hash") for at, place in enumerate(places)]
    return UserState(7, Lifetime(1.5, 0.5, 9, len(places)), events, [], [])


def test_places_at_zero_are_forgotten_and_nothing_else() -> None:
    # The bytes of (0, 0) lie across two places of the second user, too.
    views = {
        1: state(Place(0, 0), Place(515_000_000, 0), None, Place(0, 1), Place(0, 0)),
        2: state(Place(1, 0), Place(0, 1)),
        3: state(None, Place(-5, 7)),
    }
    before = FoldState({user: encode_state(view) for user, view in views.items()}, 12_345)
    after = three_to_four(before)
    expected = msgspec.convert(msgspec.to_builtins(views), dict[int, UserState])
    for event in (0, 4):
        expected[1].events[event] = msgspec.structs.replace(expected[1].events[event], place=None)
    assert {user: decode_state(packed) for user, packed in after.users.items()} == expected
    assert (after.watermark_ms, after.votes) == (12_345, NO_VOTES)
    assert after.users[2] == before.users[2]


def test_converting_again_changes_nothing() -> None:
    packed = encode_state(state(Place(0, 0), Place(3, 4)))
    once = three_to_four(FoldState({1: packed}, 5, Votes(ahead=3)))
    assert three_to_four(once) == once
