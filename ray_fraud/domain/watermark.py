"""How far the log of a partition has come, told by clocks of which no single one is believed.

A Kafka timestamp is a producer's clock, and far futures and pasts occur. A record close to the watermark
moves it; one far from it only votes, and the watermark jumps or falls once clearly more records vote for that
than against it (the counter of Boyer & Moore's majority vote, 1981, with a bounded memory).
`docs/semantics.md` has every step.

Never: a clock of our own; a user's state.
"""

import msgspec

from ray_fraud.domain.windows import DAY_MS, HOUR_MS

STEP_MS = HOUR_MS
"""How far one record can move the watermark; what lies farther away only votes."""
FIRST = 64
"""Votes beyond the others that move a young watermark far: more than a producer's usual batch."""
MOST = 512
"""The same for a watermark that many records have stood by."""
VOTERS = 3
"""A jump needs votes of so many users: one user's own device does not make others be forgotten."""
FROZEN_FROM = 16
"""Drag from which on near records do not raise the watermark: most producers are behind it."""
MOST_DRAG = 32
RESENT_MS = 400 * DAY_MS
"""How old history may be that is sent again with its old timestamps and costs nobody their state."""


class Votes(msgspec.Struct, frozen=True, gc=False):
    """What stands behind a watermark; part of the partition's state like the watermark itself."""

    ahead: int = FIRST
    """So many more records from far ahead than others make it jump."""
    behind: int = FIRST
    """So many more from far behind than others make it fall."""
    ahead_ms: int = 0
    """The lowest timestamp from far ahead, where it would jump to; 0 for none."""
    behind_ms: int = 0
    """The highest timestamp from far behind, where it would fall to; 0 for none."""
    voters: tuple[int, ...] = ()
    """Users of the records from far ahead, `VOTERS` at most."""
    drag: int = 0
    """How many more records came lately from far behind than others."""
    established: bool = False
    """Whether `ahead` has been at its most since the last jump."""


NO_VOTES = Votes()
"""Those of a partition that has no record yet."""


class Watermark:
    """The watermark of one partition and its votes; moved by every accepted record."""

    __slots__ = (
        "_ahead",
        "_ahead_ms",
        "_behind",
        "_behind_ms",
        "_drag",
        "_established",
        "_voters",
        "ms",
        "steady",
    )

    def __init__(self, ms: int = 0, votes: Votes = NO_VOTES) -> None:
        """`ms`: unix milliseconds, 0 before the first record."""
        self.ms = ms
        self._ahead, self._behind = votes.ahead, votes.behind
        self._ahead_ms, self._behind_ms = votes.ahead_ms, votes.behind_ms
        self._voters = votes.voters
        self._drag = votes.drag
        self._established = votes.established
        self.steady = False
        """Nothing but `ms` changes with a near record, which then is its only effect."""
        self._settle()

    @property
    def votes(self) -> Votes:
        return Votes(
            self._ahead,
            self._behind,
            self._ahead_ms,
            self._behind_ms,
            self._voters,
            self._drag,
            self._established,
        )

    @property
    def last_seen_limit_ms(self) -> int:
        """The latest `last_seen_ms` that a user may keep when the watermark has fallen."""
        return self.ms + RESENT_MS if self._established else self.ms

    def take(self, timestamp_ms: int, user_id: int) -> bool:
        """Takes the Kafka timestamp of one accepted record; whether the watermark moved far, up or down."""
        ahead_ms = timestamp_ms - self.ms
        if -STEP_MS <= ahead_ms <= STEP_MS:
            if not self.steady:
                self._near()
            if ahead_ms > 0 and self._drag < FROZEN_FROM:
                self.ms = timestamp_ms
            return False
        if not self.ms:
            self.ms = timestamp_ms
            return False
        self.steady = False
        if ahead_ms > 0:
            return self._take_ahead(timestamp_ms, user_id)
        return self._take_behind(timestamp_ms)

    def _near(self) -> None:
        self._stand_by_ahead()
        self._stand_by_behind()
        if self._drag:
            self._drag -= 1
        self._settle()

    def _settle(self) -> None:
        self.steady = self._ahead == self._behind == MOST and not self._drag

    def _stand_by_ahead(self) -> None:
        if self._ahead < MOST:
            self._ahead += 1
            if self._ahead == MOST:
                self._ahead_ms, self._voters, self._established = 0, (), True

    def _stand_by_behind(self) -> None:
        if self._behind < MOST:
            self._behind += 1
            if self._behind == MOST:
                self._behind_ms = 0

    def _take_ahead(self, timestamp_ms: int, user_id: int) -> bool:
        self._stand_by_behind()
        if self._drag:
            self._drag -= 1
        if self._ahead:
            self._ahead -= 1
        if not self._ahead_ms or timestamp_ms < self._ahead_ms:
            self._ahead_ms = timestamp_ms
        if len(self._voters) < VOTERS and user_id not in self._voters:
            self._voters = (*self._voters, user_id)
        if self._ahead or len(self._voters) < VOTERS:
            return False
        candidate_ms = self._ahead_ms
        self._ahead, self._ahead_ms, self._voters, self._established = FIRST, 0, (), False
        if candidate_ms <= self.ms:
            return False
        self.ms = candidate_ms
        return True

    def _take_behind(self, timestamp_ms: int) -> bool:
        self._stand_by_ahead()
        if self._drag < MOST_DRAG:
            self._drag += 1
        if self._behind:
            self._behind -= 1
        if timestamp_ms > self._behind_ms:
            self._behind_ms = timestamp_ms
        if self._behind:
            return False
        candidate_ms = self._behind_ms
        self._behind, self._behind_ms, self._drag = FIRST, 0, 0
        if candidate_ms >= self.ms:
            return False
        self.ms = candidate_ms
        return True
