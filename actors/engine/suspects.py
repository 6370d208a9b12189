"""Offsets that may have killed an owner: found by narrowing, then passed over by a quarantine event.

A record that kills its process (a crash of native code, memory without bound) leaves no exception to
catch. All that is left are marks in PostgreSQL: before a batch is observed, each of its offsets is marked,
and when the batch has settled the marks are taken away. So *a mark that a take-over finds is a death*:
that epoch ended while exactly those records were between `read` and `settle`.

- Marks cost a call per batch, so an owner is careful only where one may have died: behind an unclean end,
  from the decided offset (all below settled once, and may never be quarantined) up to the barrier, but not
  farther than `REACH_RECORDS`. The decided offset moves on each second, so a killer that lies beyond the
  reach of one epoch is within that of a later one. Everywhere else nothing is read or written.
- While careful only one batch is under way: whichever step it kills (decode, fold, score), its marks are
  the ones that stay.
- A batch that has effects loses its marks, and with them its record of deaths, *before* these leave. What
  may be published must not be passed over: its alerts, and those of later records that were compared with
  it, would be ones that no replay has. So a record that kills only while its effects are on their way (in
  the clients of Kafka or PostgreSQL) is not quarantined; an operator has to look at it.
- Every offset has its own count, so batches may begin anywhere in each epoch. An offset on which fewer
  than `BATCH_DEATHS` owners died is tried in a batch; from then on it is tried alone. Hence the first
  `BATCH_DEATHS` deaths of an offset are those of a batch with it, all others those of a record alone.
- The record on which `ALONE_DEATHS` owners died alone is quarantined. An innocent neighbour that is tried
  alone settles and loses its marks, however low the next base is. To quarantine an innocent record,
  somebody must kill `BATCH_DEATHS` owners in a row in batches with it, and then `ALONE_DEATHS` owners in a
  row in the few milliseconds in which that single record, out of hundreds, is folded and scored.

- A batch may also kill while it is unpacked, inside of `poll`, before its records are known. So where an
  owner is careful the reader tells of each batch before, and a mark of its own stands until `poll` returns. A
  batch on which `UNPACK_DEATHS` owners died so is refused as damaged, and quarantined as a whole.

A killer costs 1 (at full speed) + `BATCH_DEATHS` + `ALONE_DEATHS` owners, another one within the same batch
`ALONE_DEATHS` more.

Never: blaming a record that has settled; stopping the partition because PostgreSQL cannot take a mark.
"""

import logging
from collections.abc import Callable, Mapping, Sequence

from ray_fraud.domain.record import Record
from ray_fraud.stores.errors import SlowDown, StoreError, StoreRefused, StoreUnavailable
from ray_fraud.stores.ledger.port import Ledger, Ownership

logger = logging.getLogger(__name__)

BATCH_RECORDS = 500
"""Records of a careful batch: as many are tried one by one if it kills twice, at some 15 ms each."""
BATCH_DEATHS = 2
ALONE_DEATHS = 3
UNPACK_DEATHS = 3
REACH_RECORDS = 100_000
"""More than an owner has under way and settles in the second between two records of its progress."""
_UNPACKING = -(1 << 62)
"""Marks of batches that are being unpacked: their first offset, counted from here."""


class Suspects:
    """Lets the records of one ownership through: freely, in marked batches, or one by one."""

    def __init__(
        self,
        ledger: Ledger,
        own: Ownership,
        *,
        begin: int,
        end: int,
        deaths: Mapping[int, int],
        quarantine: Callable[[int], None],
    ) -> None:
        """Careful in `[begin, end)`, which may be empty.

        Args:
            deaths: the marks that earlier epochs left, `Ledger.attempts`.
            quarantine: appends the event that passes an offset over.
        """
        self._ledger = ledger
        self._own = own
        self._begin = begin
        self._end = min(end, begin + REACH_RECORDS)
        self._deaths = {offset: count for offset, count in deaths.items() if offset >= 0}
        self._unpack_deaths = {mark - _UNPACKING: count for mark, count in deaths.items() if mark < 0}
        self._unpacking: int | None = None
        self._quarantine = quarantine
        self._held: Sequence[Record] = ()
        self._released_to = begin if begin >= end else 0
        self._marked_to = max(self._deaths, default=-1) + 1
        places = [*self._deaths, *self._unpack_deaths]
        if places and begin < end:
            logger.warning(
                "partition %s: up to %d owners died on offsets %d to %d",
                own.partition,
                max(deaths.values()),
                min(places),
                max(places),
            )

    @property
    def passed(self) -> bool:
        """No need to be careful any more: records need not come through here."""
        return not self._held and self._released_to >= self._end

    def read(self, poll: Callable[[], Sequence[Record]], *, settled: bool) -> Sequence[Record]:
        """The next records that may be observed together; none while a careful batch is under way.

        Args:
            poll: reads on, without marks.
            settled: all that was given out before has settled.

        Raises:
            StoreUnavailable: nothing is lost, call again.
            Fenced: a newer owner exists.
        """
        if not self._held:
            self._held = self._survived(poll)
        if free := self._free():
            return self._release(free)
        if not self._held or not settled:
            return ()
        return self._release(self._try_next())

    def acquit(self, below_offset: int) -> None:
        """Takes the marks of records away whose effects are about to leave.

        Raises:
            Fenced: a newer owner exists.
        """
        if not self._marked_to or below_offset <= self._begin:
            return
        try:
            self._ledger.clear_attempts(self._own, below_offset)
        except (StoreUnavailable, SlowDown, StoreRefused) as error:
            # An alert does not wait for PostgreSQL.
            self._give_up(error)
        if below_offset >= self._marked_to:
            self._marked_to = 0

    def about_to_unpack(self, from_offset: int, to_offset: int) -> str | None:
        """Marks a batch before it is unpacked (`Watch`); why not to unpack it, or None.

        Raises:
            Fenced: a newer owner exists.
        """
        if self.passed or from_offset >= self._end or to_offset <= self._begin:
            return None
        before, self._unpacking = self._unpacking, from_offset
        deaths = self._unpack_deaths.get(from_offset, 0)
        if deaths >= UNPACK_DEATHS:
            return f"{deaths} owners ended while they unpacked it"
        try:
            if before is not None:
                self._forget_unpacking(from_offset)
            self._ledger.record_attempts(self._own, [_UNPACKING + from_offset])
        except (StoreUnavailable, SlowDown, StoreRefused) as error:
            self._give_up(error)
            self._unpacking = None
        return None

    def _survived(self, poll: Callable[[], Sequence[Record]]) -> Sequence[Record]:
        """What `poll` returns, and the marks that it leaves taken away; a death leaves them there."""
        try:
            records = poll()
        except StoreError:
            self._survive()
            raise
        self._survive()
        return records

    def _survive(self) -> None:
        if self._unpacking is None:
            return
        try:
            self._forget_unpacking(self._unpacking + 1)
        except (StoreUnavailable, SlowDown, StoreRefused) as error:
            self._give_up(error)
        self._unpacking = None

    def _forget_unpacking(self, below_offset: int) -> None:
        """Of earlier batches: this one and those behind it keep their deaths."""
        self._ledger.clear_attempts(self._own, _UNPACKING + below_offset, _UNPACKING)

    @property
    def holds_records(self) -> bool:
        """Records were read that have not been let through."""
        return bool(self._held)

    def passed_over(self, to_offset: int) -> None:
        """No record is left below `to_offset`: one that is not there needs no care."""
        self._released_to = max(self._released_to, to_offset)

    def forget(self, settled_offset: int) -> None:
        """Takes the last marks away once the records with them have settled; costs a call only then.

        Raises:
            StoreUnavailable: call again.
            Fenced: a newer owner exists.
        """
        if self._marked_to and self.passed and settled_offset >= self._marked_to:
            self._ledger.clear_attempts(self._own, self._marked_to)
            self._marked_to = 0

    def _free(self) -> int:
        """How many of the records held need no marks."""
        if self._held and self._held[0].offset >= self._end:
            return len(self._held)
        return sum(record.offset < self._begin for record in self._held)

    def _release(self, number: int) -> Sequence[Record]:
        released, self._held = self._held[:number], self._held[number:]
        if released:
            self._released_to = released[-1].offset + 1
        return released

    def _try_next(self) -> int:
        """Marks the next records, and quarantines one that is found guilty; how many to let through."""
        first = self._held[0].offset
        deaths = self._deaths.get(first, 0)
        if deaths >= BATCH_DEATHS + ALONE_DEATHS:
            logger.error(
                "partition %s: offset %d ended %d owners, %d of them alone: it is passed over from now on",
                self._own.partition,
                first,
                deaths,
                deaths - BATCH_DEATHS,
            )
            self._quarantine(first)
            return 1
        batch = self._batch()
        try:
            if self._marked_to:
                self._ledger.clear_attempts(self._own, first)
            self._ledger.record_attempts(self._own, batch)
        except (StoreUnavailable, SlowDown, StoreRefused) as error:
            self._give_up(error)
            return len(self._held)
        self._marked_to = max(self._marked_to, batch[-1] + 1)
        return len(batch)

    def _give_up(self, error: StoreUnavailable | SlowDown | StoreRefused) -> None:
        """Detection goes on without PostgreSQL; the next owner is careful again."""
        logger.warning("partition %s: no longer careful: %s", self._own.partition, error)
        self._end = self._marked_to = 0

    def _batch(self) -> list[int]:
        """The offsets to try together: the first one alone if it is suspected, else all up to one that is."""
        batch: list[int] = []
        for record in self._held[:BATCH_RECORDS]:
            if record.offset >= self._end:
                break
            if self._deaths.get(record.offset, 0) >= BATCH_DEATHS:
                return batch or [record.offset]
            batch.append(record.offset)
        return batch
