"""Whether too many records are refused: a broken producer, or a broken release of ours.

Never: a clock; the window is a number of records.
"""

from collections import deque

WINDOW_RECORDS = 10_000
MIN_RECORDS = 100
LIMIT_SHARE = 0.05


class DeadLetterShare:
    """The share of refused records among the newest `WINDOW_RECORDS`."""

    def __init__(self) -> None:
        self._batches: deque[tuple[int, int]] = deque()
        self._records = 0
        self._refused = 0

    def add(self, records: int, refused: int) -> bool:
        """Takes one batch in; whether the share is above the limit now."""
        self._batches.append((records, refused))
        self._records += records
        self._refused += refused
        while self._records - self._batches[0][0] >= WINDOW_RECORDS:
            old_records, old_refused = self._batches.popleft()
            self._records -= old_records
            self._refused -= old_refused
        return self._records >= MIN_RECORDS and self._refused > LIMIT_SHARE * self._records
