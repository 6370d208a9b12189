"""From fold version 3 to 4: placeholders are no places, and a watermark has votes.

- An event at lat = lon = 0 has no place. Version 3 kept places in 1e-7 degree, so one within 6 mm of that
  point, in the Gulf of Guinea, is forgotten, too.
- The watermark was the highest timestamp ever seen, whoever said so. It stays, as one that is young: if it is
  wrong, the first 64 records more than others outvote it, and who was seen under it then counts as just seen.

Never: another byte of a state.
"""

from ray_fraud.domain.fold_state import FoldState
from ray_fraud.domain.user_state import NO_PLACE, PLACE, layout_of
from ray_fraud.domain.watermark import NO_VOTES

_ZERO = PLACE.pack(0, 0)
_NONE = PLACE.pack(NO_PLACE, NO_PLACE)


def three_to_four(state: FoldState) -> FoldState:
    """The state of version 4 that the fold goes on from; equal for equal states."""
    users = {user_id: without_placeholders(packed) for user_id, packed in state.users.items()}
    return FoldState(users, state.watermark_ms, NO_VOTES)


def without_placeholders(state: bytes) -> bytes:
    """A packed state (layout 2) in which no event has the place 0, 0."""
    at = layout_of(state)
    places = state[at.places_at : at.ids_at]
    if _ZERO not in places:
        return state
    kept = (_NONE if place == (0, 0) else PLACE.pack(*place) for place in PLACE.iter_unpack(places))
    return b"".join((state[: at.places_at], *kept, state[at.ids_at :]))
