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
from ray_fraud.stores.tables.port import Append, DataFile, LogGapRow, Quarantined, TableMoved


@dataclass
class TableContents:
    """What all writers share."""

    files: dict[str, pa.Table] = field(default_factory=dict)
    appends: list[Append] = field(default_factory=list)
    gaps: list[LogGapRow] = field(default_factory=list)
    quarantined: dict[tuple[PartitionId, int], Quarantined] = field(default_factory=dict)
    names: "itertools.count[int]" = field(default_factory=itertools.count)

    def rows(self) -> pa.Table:
        """All committed rows."""
        tables = [self.files[file.path] for append in self.appends for file in append.files]
        return pa.concat_tables(tables) if tables else SCHEMA.empty_table()


class MemoryView:
    """See `TableView`."""

    def __init__(self, appends: Sequence[Append]) -> None:
        self.appends = appends

    @property
    def version(self) -> int:
        return len(self.appends)

    def position(self, partition: PartitionId) -> int | None:
        return next((to for _, known, to in self.last_positions() if known == partition), None)

    def last_positions(self) -> list[tuple[str, PartitionId, int]]:
        reads = [read for append in self.appends for read in append.ranges]
        return list({read.partition: (read.topic, read.partition, read.to_offset) for read in reads}.values())


class MemoryTransactions:
    """See `TransactionTable`."""

    def __init__(self, contents: TableContents, faults: FaultPlan | None = None) -> None:
        self._contents = contents
        self._faults = faults or FaultPlan()

    def create(self) -> None:
        self._faults.step("lake", "create", lambda: None)

    def view(self) -> MemoryView:
        return self._faults.step("lake", "view", lambda: MemoryView(tuple(self._contents.appends)))

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
        now = MemoryView(tuple(self._contents.appends))
        if any(done.run_id == append.run_id for done in now.appends):
            return now.version
        for read in append.ranges:
            if (now.position(read.partition) or 0) > read.from_offset:
                raise TableMoved("lake", f"run {append.run_id}: another one committed these offsets first")
        self._contents.appends.append(append)
        return now.version + 1

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
