"""The table in memory, for tests and the simulation: what is shared, and the view of one writer.

Never: a file, a thread, a clock.
"""

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.faults import FaultPlan
from ray_fraud.stores.tables.columns import PARTITION_COLUMN, SCHEMA
from ray_fraud.stores.tables.gaps import untold
from ray_fraud.stores.tables.port import (
    Append,
    DataFile,
    LogGapRow,
    LogPlace,
    Quarantined,
    TableMoved,
    moved,
)
from ray_fraud.stores.tables.take_back import TakenBack


@dataclass
class TableContents:
    """What all writers share."""

    files: dict[str, pa.Table] = field(default_factory=dict)
    appends: list[Append] = field(default_factory=list)
    gaps: list[LogGapRow] = field(default_factory=list)
    quarantined: dict[tuple[PartitionId, int], Quarantined] = field(default_factory=dict)
    places: dict[PartitionId, tuple[str, LogPlace]] = field(default_factory=dict)
    """Topic and position."""
    taken_back: list[TakenBack] = field(default_factory=list)
    names: "itertools.count[int]" = field(default_factory=itertools.count)

    def rows(self) -> pa.Table:
        """All committed rows."""
        tables = [self.files[file.path] for append in self.appends for file in append.files]
        return pa.concat_tables(tables) if tables else SCHEMA.empty_table()


class MemoryView:
    """See `TableView`."""

    def __init__(self, contents: TableContents) -> None:
        self.appends = tuple(contents.appends)
        self._version = len(contents.appends) + len(contents.taken_back)
        self._places = dict(contents.places)

    @property
    def version(self) -> int:
        return self._version

    def position(self, partition: PartitionId) -> int | None:
        place = self.place(partition)
        return None if place is None else place.offset

    def place(self, partition: PartitionId) -> LogPlace | None:
        return self._places[partition][1] if partition in self._places else None

    def last_positions(self) -> list[tuple[str, PartitionId, int]]:
        return [(topic, partition, place.offset) for partition, (topic, place) in self._places.items()]


class MemoryTransactions:
    """See `TransactionTable`."""

    def __init__(self, contents: TableContents, faults: FaultPlan | None = None) -> None:
        self._contents = contents
        self._faults = faults or FaultPlan()

    def create(self) -> None:
        self._faults.step("lake", "create", lambda: None)

    def view(self) -> MemoryView:
        return self._faults.step("lake", "view", lambda: MemoryView(self._contents))

    def write_files(self, rows: pa.Table) -> list[DataFile]:
        dates = rows[PARTITION_COLUMN]
        parts = [
            (date, rows.filter(pc.equal(dates, pa.scalar(date)))) for date in pc.unique(dates).to_pylist()
        ]
        return [self._faults.step("lake", "write file", partial(self._write, *at)) for at in parts]

    def _write(self, date: object, rows: pa.Table) -> DataFile:
        path = f"{date}/{next(self._contents.names)}"
        self._contents.files[path] = rows
        return DataFile(path, rows.nbytes, str(date), rows.num_rows, 0, json.dumps({}))

    def append(self, append: Append) -> int:
        return self._faults.step("lake", "commit", lambda: self._append(append))

    def _append(self, append: Append) -> int:
        now = MemoryView(self._contents)
        if any(done.run_id == append.run_id for done in now.appends):
            return now.version
        for read in append.ranges:
            if moved(now.position(read.partition), read):
                raise TableMoved("lake", f"run {append.run_id}: another one committed these offsets first")
        self._contents.appends.append(append)
        for read in append.ranges:
            self._contents.places[read.partition] = read.topic, LogPlace(read.to_offset, read.leader_epoch)
        return now.version + 1

    def take_back(self, partition: PartitionId, to: LogPlace) -> TakenBack | None:
        return self._faults.step("lake", "take back", lambda: self._take_back(partition, to))

    def _take_back(self, partition: PartitionId, to: LogPlace) -> TakenBack | None:
        contents = self._contents
        view = MemoryView(contents)
        position = view.position(partition)
        if position is None or position <= to.offset:
            return None
        before = contents.rows().num_rows
        lost = (
            (pc.field("topic_id") == partition.topic_id)
            & (pc.field("partition") == partition.partition)
            & (pc.field("offset") >= to.offset)
        )
        for path, rows in contents.files.items():
            contents.files[path] = rows.filter(~lost)
        contents.places[partition] = contents.places[partition][0], to
        removed = before - contents.rows().num_rows
        taken = TakenBack(partition, to.offset, position, removed, view.version)
        contents.taken_back.append(taken)
        return taken

    def record_gaps(self, gaps: Sequence[LogGapRow]) -> list[LogGapRow]:
        return self._faults.step("lake", "record gaps", lambda: self._record(gaps))

    def _record(self, gaps: Sequence[LogGapRow]) -> list[LogGapRow]:
        new = untold(gaps, self._contents.gaps)
        self._contents.gaps += new
        return new

    def rows_of(
        self, partition: PartitionId, from_offset: int, to_offset: int, columns: Sequence[str]
    ) -> pa.Table:
        def action() -> pa.Table:
            rows = self._contents.rows()
            wanted = (
                (pc.field("topic_id") == partition.topic_id)
                & (pc.field("partition") == partition.partition)
                & (pc.field("offset") >= from_offset)
                & (pc.field("offset") < to_offset)
            )
            return rows.filter(wanted).select(list(columns))

        return self._faults.step("lake", "read rows", action)

    def recent(self, columns: Sequence[str], span_ms: int) -> pa.Table:
        return self._faults.step("lake", "read rows", lambda: self._recent(columns, span_ms))

    def _recent(self, columns: Sequence[str], span_ms: int) -> pa.Table:
        rows = self._contents.rows()
        if rows.num_rows:
            since = pc.subtract(pc.max(rows["event_time"]), pa.scalar(span_ms * 1000, pa.duration("us")))
            rows = rows.filter(pc.greater_equal(rows["event_time"], since))
        return rows.select(list(columns))

    def quarantine(self, rows: Sequence[Quarantined]) -> list[Quarantined]:
        return self._faults.step("lake", "quarantine", lambda: self._quarantine(rows))

    def _quarantine(self, rows: Sequence[Quarantined]) -> list[Quarantined]:
        known = self._contents.quarantined
        new = [row for row in rows if (row.partition, row.offset) not in known]
        known.update({(row.partition, row.offset): row for row in new})
        return new

    def quarantined(self) -> list[Quarantined]:
        return [row for _, row in sorted(self._contents.quarantined.items())]

    def gaps(self) -> list[LogGapRow]:
        return sorted(self._contents.gaps, key=lambda gap: gap.noticed_ms)
