"""What folding one accepted record into its user's state brings.

Never: behaviour.
"""

import msgspec

from ray_fraud.domain.rules import Neighbour


class Step(msgspec.Struct, frozen=True, gc=False):
    """What one accepted record did."""

    state: bytes
    """The user's state after the record."""
    features: tuple[float, ...]
    """In the order of `FOLDED`; NaN is missing."""
    previous: Neighbour | None
    """Nearest exact event before the record that has a place, if the record has one and is exact itself."""
    next: Neighbour | None
    """Nearest after it."""
    late_beyond_state: bool
    id_reused: bool
