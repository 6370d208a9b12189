"""Which leader epoch the records were of that one owner has read.

Never: a record's own epoch where several were fetched at once: the newest of them serves for all, since the
broker is asked for the end of the newest epoch that is not above it.
"""

from collections import deque
from threading import Lock


class LeaderEpochs:
    """`add` by the reading thread, `before` by any; holds only epochs that may still be asked for."""

    def __init__(self, offset: int, leader_epoch: int) -> None:
        """Starts at `offset`; the record before it was of `leader_epoch` (-1: not known)."""
        self._lock = Lock()
        self._first: deque[tuple[int, int]] = deque([(offset - 1, leader_epoch)])

    def add(self, offset: int, leader_epoch: int) -> None:
        """From the record at `offset` on the log is of this epoch."""
        if self._first[-1][1] != leader_epoch:
            with self._lock:
                self._first.append((offset, leader_epoch))

    def before(self, next_offset: int) -> int:
        """The epoch of the record before `next_offset`, which never goes back."""
        with self._lock:
            while len(self._first) > 1 and self._first[1][0] < next_offset:
                self._first.popleft()
            return self._first[0][1]
