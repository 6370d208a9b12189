"""When each transaction is meant to be sent, and the clock that says what time it is.

Open loop: the times are fixed before the run. A sender that falls behind sends late under the intended
time, so a slow system cannot hide its delay by being asked less (coordinated omission).

Never: a loop that spins, a send time that depends on how fast earlier sends were.
"""

import math
import time
from dataclasses import dataclass
from typing import Protocol

DEFAULT_TPS = 75.0
"""Of a stream that asks for no other."""
TICK_MS = 5
"""Sends happen on this grid, so that a sender wakes at most 200 times a second."""


class Clock(Protocol):
    def now(self) -> float:
        """Unix seconds."""

    def sleep(self, seconds: float) -> None: ...


class SteadyClock:
    """Wall time that never jumps: read once, then advanced by the monotonic clock."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        return self._offset + time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds))


@dataclass(frozen=True)
class Schedule:
    """Maps event time to send time: `speed` seconds of event time pass in one second."""

    event_start: float
    send_start: float
    speed: float
    """Infinite: everything is due at once."""
    tick_ms: int = TICK_MS

    def due(self, event_time: float) -> float | None:
        """The intended send time, unix seconds on the tick grid; None: as soon as possible."""
        if math.isinf(self.speed):
            return None
        exact = self.send_start + (event_time - self.event_start) / self.speed
        return math.ceil(exact * 1000.0 / self.tick_ms) * self.tick_ms / 1000.0


class Lateness:
    """How far behind the intended times a run was."""

    NOTICEABLE_MS = 20.0

    def __init__(self) -> None:
        self.sends = 0
        self.noticeable = 0
        self.max_ms = 0.0

    def add(self, late_ms: float, sends: int = 1) -> None:
        """Early counts as punctual."""
        self.sends += sends
        self.max_ms = max(self.max_ms, late_ms)
        if late_ms > self.NOTICEABLE_MS:
            self.noticeable += sends
