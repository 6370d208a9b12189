"""The columns that pattern rules look at, one array per field, all of one length n.

Texts come as codes, since only their equality counts; the names are kept for reasons and subjects.

Never: a row that is no accepted transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ray_fraud.domain.patterns.finding import Floats, Ints
from ray_fraud.domain.patterns.sorting import order_of

NONE = -1
"""Code of an absent merchant, device or cell."""


@dataclass(frozen=True)
class Codes:
    """A text column: shape (n,) of codes, -1 where absent, and the text of each code."""

    codes: Ints
    names: Sequence[str]


@dataclass(frozen=True)
class PatternColumns:
    user_id: Ints
    event_ms: Ints
    """Unix milliseconds, event time."""
    amount: Floats
    """Base currency."""
    merchant: Codes
    device: Codes
    cell: Codes
    """H3 cell of the place."""

    def __len__(self) -> int:
        return len(self.user_id)

    @cached_property
    def by_user(self) -> Ints:
        """Positions in order of (user, event time, position), shape (n,)."""
        return order_of(self.user_id, self.event_ms)

    def at(self, positions: Ints) -> "PatternColumns":
        """The rows at these positions, in that order."""
        return PatternColumns(
            self.user_id[positions],
            self.event_ms[positions],
            self.amount[positions],
            *(Codes(each.codes[positions], each.names) for each in (self.merchant, self.device, self.cell)),
        )
