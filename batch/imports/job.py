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
from typing import Protocol

import msgspec

from batch.imports.column_map import ImportRefused, described
from batch.imports.part import CLUSTER, Part, Refused
from batch.ingest.commit import commit, quarantine
from batch.ingest.manifest import joined
from batch.ingest.plan import Slice
from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.errors import StoreDamaged
from ray_fraud.stores.tables.columns import IMPORTED
from ray_fraud.stores.tables.port import Append, DataFile, ReadRange, TableMoved, TableView, TransactionTable

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
        self._grouping = grouping
        self._days: set[int] = set()
        self._in_order = False

    def add(self, part: Part) -> None:
        days = set(part.staged.days.tolist())
        self._in_order = 2 * len(days & self._days) <= len(days)
        self._days |= days
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


def _refuse_other_mapping(view: TableView, partition: PartitionId, mapping: Mapping[str, str]) -> None:
    """One file is imported under one mapping: its rows would be others under another one.

    Raises:
        ImportRefused: rows of it are in the table under another one.
    """
    wanted = described(mapping)
    for topic, known, position in view.last_positions():
        if known == partition and topic != wanted:
            raise ImportRefused(
                f"{position} rows of this file are imported already, by `{topic}`, not `{wanted}`: use the "
                "same --map options, or add --again to import all of it once more as rows of their own"
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
        grouping: Grouping = USUAL,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        check_file: Callable[[], None] = lambda: None,
        progress: Progress = lambda _report, _reached: None,
    ) -> None:
        """`check_file` is called before each commit, and raises if the file is no longer what it was."""
        self._partition = partition
        self._mapping = mapping
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
            StoreError, ImportRefused: what was committed before stays; the next run goes on from there.
        """
        began = self._now()
        report = ImportReport()
        self._table.create()
        view = self._table.view()
        _refuse_other_mapping(view, self._partition, self._mapping)
        position = view.position(self._partition) or 0
        report.already_there = position
        self._rejections.keep_below(position)
        group = _Group(self._grouping)
        for part in self._work.parts(position):
            self._rejections.add(part.refused)
            group.add(part._replace(refused=[]))
            if group.is_full:
                self._commit(group.parts, report)
                group = _Group(self._grouping)
                report.seconds = self._now() - began
                self._progress(report, part.reached)
        if group.parts:
            self._commit(group.parts, report)
        report.seconds = self._now() - began
        return report

    def _commit(self, parts: Sequence[Part], report: ImportReport) -> None:
        whole = Slice(self._partition, parts[0].first_row, parts[-1].to_row)
        reads, _ = joined(described(self._mapping), [whole], [part.counted for part in parts])
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
