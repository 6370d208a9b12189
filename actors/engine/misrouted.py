"""Counting the records of one partition whose users belong to another one, and saying so.

Such a record is decided by half of its user's history: the other half lies elsewhere. The count is exact and
is of accepted records, duplicates among them; the alarm stands while they keep coming.

Never: refusing or moving a record (its producer has to be mended).
"""

import logging
from collections import deque
from collections.abc import Sequence
from itertools import islice
from threading import Lock

from ray_fraud.domain.misrouting import ADVICE, Misrouted, MisroutedRecord, likely_cause
from ray_fraud.domain.observed import Observed
from ray_fraud.domain.placement import Placement
from ray_fraud.domain.record import Record

logger = logging.getLogger(__name__)

SAMPLES_PER_BATCH = 4
ENOUGH_SAMPLES = 16
KEPT_SAMPLES = 64
GATHER_SECONDS = 5.0
"""So long more samples are awaited before the alarm names a likely cause."""
ALARM_SECONDS = 600.0
"""The alarm stands for so long after the last misrouted record, and is logged once in such a period."""

_NONE = Misrouted()


class MisroutedFinder:
    """Finds them, batch by batch; for the thread that reads."""

    def __init__(self, partition: int, partitions: int) -> None:
        self._placement = Placement(partition, partitions)

    def find(self, observed: Observed, records: Sequence[Record]) -> Misrouted:
        """Those of one batch; `records` hold at least what was observed."""
        users = observed.user_ids.tolist() + observed.duplicate_users
        count = self._placement.misrouted(users, observed.user_texts)
        return Misrouted(count, self._samples(observed, records)) if count else _NONE

    def _samples(self, observed: Observed, records: Sequence[Record]) -> tuple[MisroutedRecord, ...]:
        away = (row for row in observed.rows if self._placement.is_away(row.transaction.user_id))
        chosen = list(islice(away, SAMPLES_PER_BATCH))
        if not chosen:
            return ()
        keys = {record.offset: record.key for record in records}
        return tuple(
            MisroutedRecord(row.transaction.user_id, keys[row.offset], row.transaction.user_text)
            for row in chosen
        )


class MisroutedAlarm:
    """Whether records keep coming to the wrong partition. `now` is monotonic seconds everywhere."""

    def __init__(self, partition: int, partitions: int) -> None:
        self._partition = partition
        self._partitions = partitions
        self._lock = Lock()
        self._samples: deque[MisroutedRecord] = deque(maxlen=KEPT_SAMPLES)
        self._first = self._last = self._told = float("-inf")
        self._accepted = 0
        self._misrouted = 0
        self.total = 0
        """Misrouted records since this owner began."""

    def add(self, accepted: int, misrouted: Misrouted, now: float) -> None:
        """Takes one settled batch in."""
        with self._lock:
            self._accepted += accepted
            if misrouted.count:
                if not self._misrouted:
                    self._first = now
                self.total += misrouted.count
                self._misrouted += misrouted.count
                self._samples.extend(misrouted.samples)
                self._last = now

    def judge(self, now: float) -> bool:
        """Whether the alarm stands; logs it when that is due."""
        with self._lock:
            gathered = len(self._samples) >= ENOUGH_SAMPLES or now - self._first >= GATHER_SECONDS
            if self._misrouted and gathered and now - self._told >= ALARM_SECONDS:
                self._tell()
                self._told = now
            return now - self._last < ALARM_SECONDS

    def _tell(self) -> None:
        cause = likely_cause(self._samples, self._partition, self._partitions)
        logger.error(
            "partition %s: %d of %d records (%.1f %%) are of users that belong to other partitions, so that "
            "a part of their history is missing where they are decided: %s (docs/producers.md)",
            self._partition,
            self._misrouted,
            self._accepted,
            100 * self._misrouted / max(1, self._accepted),
            ADVICE[cause],
        )
        self._accepted = self._misrouted = 0
        self._samples.clear()
