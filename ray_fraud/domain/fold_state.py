"""What a fold holds between two records, as cuts and snapshots store it.

Never: a record.
"""

from collections.abc import Callable
from typing import NamedTuple

from ray_fraud.domain.watermark import NO_VOTES, Votes


class FoldState(NamedTuple):
    """All that a fold holds between two records; cuts and snapshots store just this."""

    users: dict[int, bytes]
    """Packed state by user id."""
    watermark_ms: int
    votes: Votes = NO_VOTES
    """What stands behind the watermark; version 3 and those before had none."""


Convert = Callable[[FoldState], FoldState]
