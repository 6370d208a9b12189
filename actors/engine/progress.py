"""Whether a partition gets on: its settled offset moves while records wait.

    stalled    records wait, and nothing new has settled for the limit: unhealthy, whatever the cause
    stuck      this owner has not moved for its patience: end it, a fresh one may get on

The patience begins at the limit and doubles with each owner that is ended in vain: what no fresh owner
mends is not tried for ever at the same pace.

Never: a clock (the time is given), a call, an end told by the owner's own reader.
"""

from typing import NamedTuple

LONGEST_PATIENCE_SECONDS = 600.0


class Settled(NamedTuple):
    """What an owner says of itself."""

    epoch: int
    offset: int


class Verdict(NamedTuple):
    lag: int | None
    """Records that wait; None if that is not known."""
    stalled_seconds: float
    """How long records have waited without progress, once that is the limit or longer; else 0."""
    stuck: bool
    """End the owner, and say so with `ProgressWatch.ended`."""


class ProgressWatch:
    """The progress of one partition, from looks at its settled offset and at the log's end."""

    def __init__(self, limit_seconds: float) -> None:
        self._limit = limit_seconds
        self._patience = limit_seconds
        self._end: int | None = None
        self._highest: int | None = None
        self._waiting_since: float | None = None
        self._owner: Settled | None = None
        self._owner_began = 0.0
        self._owner_moved = 0.0

    def look(self, now: float, settled: Settled | None, end: int | None, *, outage: bool = False) -> Verdict:
        """Takes one look in.

        Args:
            now: seconds of a clock that never goes back.
            settled: None: there is no owner, or it did not answer.
            end: one past the last record that can be read now; None: not known, as before.
            outage: a store that the partition needs is known to be away: a fresh owner would mend nothing.
        """
        if end is not None:
            self._end = end
        if settled is not None:
            self._see(now, settled)
        end, highest = self._end, self._highest
        if end is None:
            return Verdict(None, 0.0, stuck=False)
        if highest is not None and end < highest:
            # The log was cut short: what settles now is new.
            highest = self._highest = end
        lag = max(0, end - self._reached())
        if not lag:
            self._got_on(None)
            self._owner_moved = now
        elif self._waiting_since is None:
            self._waiting_since = self._owner_moved = now
        if outage:
            self._owner_moved = now
        waited = 0.0 if self._waiting_since is None else now - self._waiting_since
        stuck = bool(lag) and settled is not None and now - self._owner_moved >= self._patience
        return Verdict(lag, waited if waited >= self._limit else 0.0, stuck)

    def ended(self) -> None:
        """The owner was ended because it was stuck: the next one is given longer."""
        self._patience = min(LONGEST_PATIENCE_SECONDS, 2 * self._patience)
        self._owner = None

    def _see(self, now: float, settled: Settled) -> None:
        owner, self._owner = self._owner, settled
        if owner is None or owner.epoch != settled.epoch:
            self._owner_began = self._owner_moved = now
        elif owner.offset != settled.offset:
            self._owner_moved = now
            if now - self._owner_began >= self._limit:
                # It replays for long: that is progress. One that dies soon and comes back repeats itself.
                self._got_on(now)
        if self._highest is None or settled.offset > self._highest:
            self._highest = settled.offset
            self._patience = self._limit
            self._got_on(now)

    def _got_on(self, now: float | None) -> None:
        self._waiting_since = now

    def _reached(self) -> int:
        """The owner's offset, which a replay has to bring up first; without one what was settled ever."""
        if self._owner is not None:
            return self._owner.offset
        return self._highest or 0
