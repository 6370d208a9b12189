"""One import: from the committed position to the end of the file.

    position → drop lines of the side file above it → (parts → side file → files by date → commit) …

A file is a partition of a log of its own, and a row's number its offset; so a commit moves the position
together with the rows. Whatever ends the process before a commit leaves files that nothing names and lines of
the side file that the next run drops.

Never: a commit of rows whose refusals are not on disk; a row twice.
"""

import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Protocol

import msgspec

from batch.imports.column_map import MAX_REFUSED, ImportRefused, described, printable
from batch.imports.part import CLUSTER, REFUND, Part, Refused
from batch.ingest.columns import HOLE
from batch.ingest.commit import commit, quarantine
from batch.ingest.manifest import joined
from batch.ingest.plan import Slice
from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.errors import StoreDamaged
from ray_fraud.stores.tables.columns import IMPORTED
from ray_fraud.stores.tables.port import Append, DataFile, ReadRange, TableMoved, TableView, TransactionTable

LEAST_ROWS = 1_000
"""Before so many the share of refused rows says little."""
SHOWN_REFUSALS = 3
ID_DIGITS = 32
"""Of a SHA-256, hex: 128 bits."""


class Grouping(msgspec.Struct, frozen=True):
    """How many rows one commit has.

    A commit writes a file per event date. Of a file in order of time each date is in one commit or two,
    however short commits are. Where the same dates come again and again, as sorted by user, a commit waits
    until a date has enough rows.
    """

    commit_rows: int = 250_000
    """At least, but for the last: so much is done again at most after a kill, of a file in order of time."""
    file_rows: int = 10_000
    """A date has enough, on average."""
    most_rows: int = 1 << 25
    """At most: about 7 GB of staged rows."""


USUAL = Grouping()


class _Group:
    """Consecutive parts that become one commit."""

    def __init__(self, grouping: Grouping) -> None:
        self.parts: list[Part] = []
        self.accepted = 0
        self.rows = 0
        """Blank lines left out."""
        self._grouping = grouping
        self._days: set[int] = set()
        self._in_order = False

    def add(self, part: Part) -> None:
        days = set(part.staged.days.tolist())
        self._in_order = 2 * len(days & self._days) <= len(days)
        self._days |= days
        self.accepted += part.counted.accepted
        self.rows += part.to_row - part.first_row - part.counted.outcomes.get(HOLE, 0)
        self.parts.append(part)

    @property
    def is_full(self) -> bool:
        grouping = self._grouping
        rows = self.parts[-1].to_row - self.parts[0].first_row
        enough = self._in_order or rows >= grouping.file_rows * len(self._days) or rows >= grouping.most_rows
        return rows >= grouping.commit_rows and enough


class Work(Protocol):
    """Judging and writing, by whomever."""

    def parts(self, position: int) -> Iterable[Part]:
        """Judged and staged parts from a row on, in order."""

    def write(self, parts: Sequence[Part]) -> list[DataFile]:
        """Files of the table with all accepted rows of these parts; nothing sees them yet.

        Raises:
            StoreError: the lake did not take a file.
        """

    def written(self, parts: Sequence[Part]) -> None:
        """These parts are committed: what is staged of them may go."""


class ImportReport(msgspec.Struct):
    """What one run did."""

    rows: int = 0
    """Read by this run, blank lines left out."""
    accepted: int = 0
    rejected: dict[str, int] = {}
    already_there: int = 0
    """Rows before the position at which the run began: an earlier run committed them."""
    files: int = 0
    commits: int = 0
    version: int | None = None
    """Of the table after the last commit; None if there was nothing to import."""
    seconds: float = 0.0


class Rejections(Protocol):
    """The side file."""

    def keep_below(self, position: int) -> None: ...

    def add(self, refused: Iterable[Refused]) -> None: ...

    def flush(self) -> None: ...


Progress = Callable[[ImportReport, int], None]
"""Called with the report and how much of the file is committed, in the source's units."""


def import_partition(digest: str) -> PartitionId:
    """The place of a file's rows; `digest` is that of its content."""
    return PartitionId(CLUSTER, f"{IMPORTED}{digest[:ID_DIGITS]}", 0)


class _Refusals:
    """What was refused so far, and whether that is too much."""

    def __init__(self, most: float) -> None:
        self._most = most
        self._rows = 0
        self._codes: Counter[str] = Counter()
        self._first: list[str] = []

    def add(self, part: Part) -> None:
        """Raises ImportRefused once more than the share that is allowed was refused; refunds do not count."""
        outcomes = Counter(part.counted.outcomes)
        del outcomes[HOLE]
        self._codes += outcomes
        self._rows += part.counted.accepted + outcomes.total()
        room = SHOWN_REFUSALS - len(self._first)
        others = (each for each in part.refused if each.code != REFUND)
        self._first += [f"row {each.row}: {printable(each.reason)}" for each in islice(others, room)]
        bad = self._codes.total() - self._codes[REFUND]
        if self._rows >= LEAST_ROWS and bad > self._most * self._rows:
            raise ImportRefused(
                f"stopped: {bad:,} of the first {self._rows:,} rows were refused, more than {self._most:.0%} "
                f"(--max-refused)\n{self.told()}"
            )

    def told(self) -> str:
        """Why, by code, and the first ones in words."""
        codes = ", ".join(f"{code} {count:,}" for code, count in sorted(self._codes.items()))
        return "\n".join([f"refused: {codes or 'none'}", *self._first])


def _refuse_other_mapping(view: TableView, partition: PartitionId, wanted: str) -> None:
    """One file is imported under one mapping: its rows would be others under another one.

    Raises:
        ImportRefused: rows of it are in the table under another one.
    """
    for topic, known, position in view.last_positions():
        if known == partition and topic != wanted:
            raise ImportRefused(
                f"{position} rows of this file are imported already, by `{topic}`, not `{wanted}`: use the "
                "same mapping, or add --again to import all of it once more as rows of their own"
            )


class Import:
    """The steps, with their outside given, so that each can be made to fail."""

    def __init__(
        self,
        partition: PartitionId,
        mapping: Mapping[str, str],
        table: TransactionTable,
        rejections: Rejections,
        work: Work,
        *,
        form: Sequence[str] = (),
        max_refused: float = MAX_REFUSED,
        grouping: Grouping = USUAL,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        check_file: Callable[[], None] = lambda: None,
        progress: Progress = lambda _report, _reached: None,
    ) -> None:
        """What an import needs.

        Args:
            form: what the mapping says beside columns, as `Form.said` has it.
            max_refused: share of rows; beyond it the import stops. Refunds do not count.
            check_file: called before each commit, raises if the file is no longer what it was.
        """
        self._partition = partition
        self._described = described(mapping, form)
        self._max_refused = max_refused
        self._table = table
        self._rejections = rejections
        self._work = work
        self._grouping = grouping
        self._now = now
        self._sleep = sleep
        self._check_file = check_file
        self._progress = progress

    def run(self) -> ImportReport:
        """Imports what is not there yet.

        Raises:
            TableMoved: another run imports the same file; nothing is doubled.
            StoreError: what was committed before stays; the next run goes on from there.
            ImportRefused: likewise; or too much was refused, or nothing accepted, and then nothing tells of
                this file: a mended mapping imports it from its begin.
        """
        began = self._now()
        report = ImportReport()
        self._table.create()
        view = self._table.view()
        _refuse_other_mapping(view, self._partition, self._described)
        position = view.position(self._partition) or 0
        report.already_there = position
        self._rejections.keep_below(position)
        refusals = _Refusals(self._max_refused)
        group = _Group(self._grouping)
        for part in self._work.parts(position):
            self._rejections.add(part.refused)
            self._stop_if_refused(refusals, part)
            group.add(part._replace(refused=[]))
            # A commit without a row would be a claim on the file, which a mended mapping could not undo.
            if group.is_full and (position or report.accepted or group.accepted):
                self._commit(group.parts, report)
                group = _Group(self._grouping)
                report.seconds = self._now() - began
                self._progress(report, part.reached)
        if group.parts:
            if group.rows and not (position or report.accepted or group.accepted):
                raise ImportRefused(
                    "no row was accepted, so nothing was imported; mend the mapping and run it again, "
                    f"--dry-run shows how rows are read\n{refusals.told()}"
                )
            self._commit(group.parts, report)
        report.seconds = self._now() - began
        return report

    def _stop_if_refused(self, refusals: _Refusals, part: Part) -> None:
        try:
            refusals.add(part)
        except ImportRefused:
            self._rejections.flush()
            raise

    def _commit(self, parts: Sequence[Part], report: ImportReport) -> None:
        whole = Slice(self._partition, parts[0].first_row, parts[-1].to_row)
        reads, _ = joined(self._described, [whole], [part.counted for part in parts])
        files = self._work.write(parts)
        _check_rows(reads, files)
        self._check_file()
        self._rejections.flush()
        quarantine(self._table, [part.counted for part in parts], round(self._now() * 1000), self._sleep)
        try:
            report.version = commit(self._table, Append(uuid.uuid4().hex, reads, files), self._sleep)
        except TableMoved:
            # The other one tells of these rows.
            self._rejections.keep_below(whole.from_offset)
            raise
        self._work.written(parts)
        report.commits += 1
        report.files += len(files)
        for read in reads:
            report.accepted += read.accepted
            report.rows += read.to_offset - read.from_offset - read.holes
            report.rejected = dict(sorted((Counter(report.rejected) + Counter(read.rejected)).items()))


def _check_rows(reads: Sequence[ReadRange], files: Sequence[DataFile]) -> None:
    """Raises StoreDamaged if the files do not have the rows that were accepted: nothing may be committed."""
    accepted, written = sum(read.accepted for read in reads), sum(file.rows for file in files)
    if accepted != written:
        raise StoreDamaged("lake", f"{written} rows were written of {accepted}; nothing was committed")
