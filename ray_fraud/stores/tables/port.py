"""What the cold path needs of the table `transactions`, and what it may rely on.

Files first, commit last: data files are written by any number of processes and mean nothing until one commit
names them. The commit carries, in one atomic step, the files and how far each partition of the log has been
read, so each accepted offset is in the table exactly once, whatever is killed in between.

Never: a row without its offset's commit; a commit that moves a partition which another one moved meanwhile.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import msgspec
import pyarrow as pa

from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.errors import StoreError
from ray_fraud.stores.tables.take_back import TakenBack


class TableMoved(StoreError):
    """Another writer committed these offsets first: plan anew."""

    code = "table_moved"


class DataFile(msgspec.Struct, frozen=True):
    """A written Parquet file that no commit names yet."""

    path: str
    """Relative to the table's folder."""
    size: int
    """Bytes."""
    event_date: str
    """ISO date: the partition of the table it belongs to."""
    rows: int
    modified_ms: int
    stats: str
    """Delta's statistics of the file, JSON."""


class ReadRange(msgspec.Struct, frozen=True):
    """What became of the offsets `[from_offset, to_offset)` of one partition."""

    partition: PartitionId
    topic: str
    from_offset: int
    to_offset: int
    accepted: int
    """Rows of the table."""
    rejected: dict[str, int]
    """By rejection code; counted, never written."""
    holes: int
    """Offsets without a record: transaction markers, compaction."""
    leader_epoch: int = -1
    """Of the last record below `to_offset`: a log that was cut off below is noticed. -1: not known."""
    position: int = -1
    """Where the partition stood when this was planned; -1: not said, or nothing was committed."""


def moved(position: int | None, read: ReadRange) -> bool:
    """Whether the partition, which stands at `position` now, is not where it was when `read` was planned."""
    if read.position >= 0:
        return position != read.position
    return (position or 0) > read.from_offset


class LogGapRow(msgspec.Struct, frozen=True):
    """Offsets that were gone before they were read."""

    partition: PartitionId
    topic: str
    from_offset: int
    to_offset: int | None
    """None: the rest of a topic that was made again; how much it held is not known."""
    reason: str
    noticed_ms: int


class Quarantined(msgspec.Struct, frozen=True):
    """An accepted record that could not become a row of the table."""

    partition: PartitionId
    offset: int
    user_id: int | None
    """None: it is what could not be written."""
    record_ms: int | None
    reason: str
    original: str | None
    """The record's value with its card numbers masked, cut if it is long."""
    noticed_ms: int = 0
    """When an ingest found it, unix milliseconds."""


class Append(msgspec.Struct, frozen=True):
    """One commit."""

    run_id: str
    """Unique; a lost reply is recognised by it."""
    ranges: Sequence[ReadRange]
    files: Sequence[DataFile]


class LogPlace(NamedTuple):
    """An offset, with the leader epoch of the record before it; -1: not known."""

    offset: int
    leader_epoch: int


class TableView(Protocol):
    """The table at one version."""

    @property
    def version(self) -> int: ...

    def position(self, partition: PartitionId) -> int | None:
        """The next offset to read; None if nothing of this partition was ever committed."""

    def place(self, partition: PartitionId) -> LogPlace | None:
        """`position`, with the leader epoch of the record before it."""

    def last_positions(self) -> Sequence[tuple[str, PartitionId, int]]:
        """(topic, partition, next offset) as the newest commits name them, earlier lives of a topic too."""


class TransactionTable(Protocol):
    """The table; safe for use by several processes at once."""

    def create(self) -> None:
        """Make the table if there is none; give an older one the columns that it lacks."""

    def view(self) -> TableView:
        """The newest version.

        Raises:
            StoreUnavailable: the object store does not answer.
        """

    def write_files(self, rows: pa.Table) -> list[DataFile]:
        """Write accepted rows (`columns.SCHEMA`), one file per event date; nothing sees them yet."""

    def append(self, append: Append) -> int:
        """Commit; the new version. Repeating it after a lost reply finds its own commit and succeeds.

        Raises:
            TableMoved: one of the partitions does not stand where it did; nothing was committed.
            StoreUnavailable: the result is unknown; repeat the same append.
        """

    def take_back(self, partition: PartitionId, to: LogPlace) -> TakenBack | None:
        """Removes the partition's rows at and above `to`, where its log was cut off; its position comes down.

        None if it stands no higher: another one took it back, or an earlier call whose reply was lost.

        Raises:
            StoreUnavailable: the result is unknown; repeat it.
        """

    def record_gaps(self, gaps: Sequence[LogGapRow]) -> list[LogGapRow]:
        """Write what no row tells yet, each gap once; the new rows.

        One that has grown becomes a row of its new part: from the end that was told to its present one.
        """

    def gaps(self) -> list[LogGapRow]:
        """All gaps, oldest first."""

    def quarantine(self, rows: Sequence[Quarantined]) -> list[Quarantined]:
        """Write those that are not in the quarantine yet; gives these back.

        Raises:
            StoreUnavailable: the result is unknown; repeat it.
        """

    def quarantined(self) -> list[Quarantined]:
        """All of them, in order of the log."""

    def recent(self, columns: Sequence[str], span_ms: int) -> pa.Table:
        """These columns of all rows whose event time lies within `span_ms` of the newest one.

        Raises:
            StoreUnavailable: the object store does not answer.
        """


class TransactionRows(Protocol):
    """The table's rows, by where they lie in the log."""

    def rows_of(
        self, partition: PartitionId, from_offset: int, to_offset: int, columns: Sequence[str]
    ) -> pa.Table:
        """These columns of the partition's rows with offsets in `[from_offset, to_offset)`, in any order.

        Raises:
            StoreUnavailable: the object store does not answer.
        """
