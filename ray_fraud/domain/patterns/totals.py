"""What a judgement on one subject needs to know of all of them: the period, and what is usual for everybody.

Totals of disjoint parts of the rows add up to those of the whole, as long as no subject is in two parts. So
the rules may run over any parts: with the totals of the whole, each subject is judged as it would be there.

Never: a number that does not add up (a mean, a count of subjects that two parts share).
"""

from __future__ import annotations

import msgspec

from ray_fraud.domain.patterns.counting import distinct
from ray_fraud.domain.patterns.finding import Ints


class Span(msgspec.Struct, frozen=True):
    """From the first to the last event, unix milliseconds; None and None without any."""

    first_ms: int | None = None
    last_ms: int | None = None

    def __add__(self, other: Span) -> Span:
        if self.first_ms is None or self.last_ms is None:
            return other
        if other.first_ms is None or other.last_ms is None:
            return self
        return Span(min(self.first_ms, other.first_ms), max(self.last_ms, other.last_ms))

    @property
    def length_ms(self) -> int:
        """At least one millisecond."""
        if self.first_ms is None or self.last_ms is None:
            return 1
        return max(1, self.last_ms - self.first_ms)

    def windows(self, window_ms: int) -> int:
        """Windows of the grid from the first to the last event."""
        if self.first_ms is None or self.last_ms is None:
            return 0
        return self.last_ms // window_ms - self.first_ms // window_ms + 1

    def edges(self, window_ms: int) -> tuple[int, ...]:
        """The first and the last window of the grid that the events lie in."""
        if self.first_ms is None or self.last_ms is None:
            return ()
        return self.first_ms // window_ms, self.last_ms // window_ms


class Crowd(msgspec.Struct, frozen=True):
    """Rows, and in how many groups they are."""

    rows: int = 0
    groups: int = 0

    def __add__(self, other: Crowd) -> Crowd:
        return Crowd(self.rows + other.rows, self.groups + other.groups)


class Totals(msgspec.Struct, frozen=True):
    """Of all rows that are looked at."""

    events: Span = Span()
    placed: Span = Span()
    """Of rows with a cell."""
    users: Crowd = Crowd()
    """All rows, by user."""
    small: Crowd = Crowd()
    """Rows with small amounts, by user."""
    joined: dict[str, Crowd] = {}
    """Rows with similar amounts at one merchant (cell, device), by kind and grid of amounts."""

    def __add__(self, other: Totals) -> Totals:
        joined = {
            name: self.joined.get(name, Crowd()) + other.joined.get(name, Crowd())
            for name in sorted({*self.joined, *other.joined})
        }
        return Totals(
            self.events + other.events,
            self.placed + other.placed,
            self.users + other.users,
            self.small + other.small,
            joined,
        )


def span_of(at_ms: Ints) -> Span:
    return Span(int(at_ms.min()), int(at_ms.max())) if len(at_ms) else Span()


def crowd_of(group: Ints) -> Crowd:
    """`group` in any order, shape (n,)."""
    return Crowd(len(group), distinct(group))
