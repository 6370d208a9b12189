"""A circuit breaker: stops asking a scorer that does not answer, and notices when it is back.

Pure: time comes in as a monotonic number of seconds, and each call's outcome carries the permit it was
made under, so a late answer to an old call can neither open nor close the circuit.

Never: a clock, a call, a sleep.
"""

import threading
from collections import deque
from enum import StrEnum
from typing import NamedTuple

import msgspec


class BreakerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    consecutive_failures: int = 5
    """So many failures in a row open the circuit."""
    window: int = 20
    """Number of latest calls whose failures are counted."""
    window_failures: int = 10
    """So many failures among a full window open it, too."""
    probe_seconds: float = 1.0
    """An open circuit lets one call through each time this has passed."""


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Permit(NamedTuple):
    """Leave to make one call."""

    generation: int


class CircuitBreaker:
    """CLOSED → OPEN on failures; OPEN → HALF_OPEN for one probe; HALF_OPEN → CLOSED or OPEN by its outcome.

    Safe from several threads.
    """

    def __init__(self, settings: BreakerSettings | None = None) -> None:
        self._settings = settings or BreakerSettings()
        self._lock = threading.Lock()
        self._state = BreakerState.CLOSED
        self._generation = 0
        self._failed: deque[bool] = deque(maxlen=self._settings.window)
        self._in_a_row = 0
        self._probe_at = 0.0

    @property
    def state(self) -> BreakerState:
        return self._state

    def permit(self, now: float) -> Permit | None:
        """Leave for one call, or None: do without. `now`: monotonic seconds."""
        with self._lock:
            if self._state is not BreakerState.CLOSED:
                if now < self._probe_at:
                    return None
                self._state = BreakerState.HALF_OPEN
                self._generation += 1
                self._probe_at = now + self._settings.probe_seconds
            return Permit(self._generation)

    def succeeded(self, permit: Permit) -> None:
        """The call under `permit` was answered; closes a half-open circuit."""
        with self._lock:
            if permit.generation != self._generation:
                return
            if self._state is BreakerState.HALF_OPEN:
                self._state = BreakerState.CLOSED
                self._generation += 1
                self._failed.clear()
            self._in_a_row = 0
            self._failed.append(False)

    def failed(self, permit: Permit, now: float) -> None:
        """The call under `permit` failed or timed out; may open the circuit."""
        with self._lock:
            if permit.generation != self._generation:
                return
            self._in_a_row += 1
            self._failed.append(True)
            too_many = self._in_a_row >= self._settings.consecutive_failures or (
                len(self._failed) == self._settings.window
                and sum(self._failed) >= self._settings.window_failures
            )
            if self._state is BreakerState.HALF_OPEN or too_many:
                self._state = BreakerState.OPEN
                self._generation += 1
                self._in_a_row = 0
                self._failed.clear()
                self._probe_at = now + self._settings.probe_seconds
