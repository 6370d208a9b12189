"""The table `transactions` as a Delta table, through delta-rs.

A view is one handle of delta-rs. Its conflict check looks at what was committed since the handle was loaded,
so a commit on the handle whose positions were read loses against any other that moved one of them. On a fresh
handle it would not: delta-rs accepts an application transaction of the same or a lower version.

Never: a commit on another handle than the view's; a position that is not an application transaction's.
"""

import logging
import uuid
from collections.abc import Sequence
from datetime import date, timedelta
from itertools import islice
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, Schema, Transaction, write_deltalake
from deltalake.exceptions import DeltaError

from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.delta_errors import delta_errors, plain
from ray_fraud.stores.delta_location import delta_location
from ray_fraud.stores.errors import StoreUnavailable
from ray_fraud.stores.lake import lake_filesystem
from ray_fraud.stores.lake_limits import PATIENT, LakeLimits
from ray_fraud.stores.tables.columns import PARTITION_COLUMN, SCHEMA, TRANSACTIONS
from ray_fraud.stores.tables.data_files import add_action, write_data_files
from ray_fraud.stores.tables.evolution import add_missing_columns, create_table
from ray_fraud.stores.tables.gaps import untold
from ray_fraud.stores.tables.period import newest_event
from ray_fraud.stores.tables.port import (
    Append,
    DataFile,
    LogGapRow,
    LogPlace,
    Quarantined,
    TableMoved,
    moved,
)
from ray_fraud.stores.tables.positions import (
    Positions,
    carried_on,
    commits,
    last_positions,
    named_anew,
)
from ray_fraud.stores.tables.quarantine import DeltaQuarantine
from ray_fraud.stores.tables.take_back import TakenBack, remove_from

log = logging.getLogger(__name__)

RUN, RANGES = "ray_fraud.run", "ray_fraud.ranges"
"""Keys of a commit's metadata; their values are JSON."""
SEARCHED_COMMITS = 1_000
"""How far back a run's own commit, whose reply was lost, is looked for. Not found, nothing is doubled."""
GAPS = "log_gaps"
GAP_SCHEMA: pa.Schema = pa.schema(
    [
        pa.field("cluster_id", pa.string(), nullable=False),
        pa.field("topic_id", pa.string(), nullable=False),
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("topic", pa.string(), nullable=False),
        pa.field("from_offset", pa.int64(), nullable=False),
        pa.field("to_offset", pa.int64()),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("noticed_ms", pa.int64(), nullable=False),
    ]
)
GAP_ATTEMPTS = 5
EPOCH_DAY = date(1970, 1, 1).toordinal()


class DeltaView:
    """See `TableView`."""

    def __init__(self, table: DeltaTable) -> None:
        self.table = table
        self._version = table.version()

    @property
    def version(self) -> int:
        return self._version

    def position(self, partition: PartitionId) -> int | None:
        return self.table.transaction_version(_app_id(partition))

    def place(self, partition: PartitionId) -> LogPlace | None:
        position = self.position(partition)
        epoch = self.table.transaction_version(_epoch_id(partition))
        return None if position is None else LogPlace(position, -1 if epoch is None else epoch)

    def last_positions(self) -> Positions:
        return last_positions(self.table).positions

    def holds(self, run_id: str) -> bool:
        """Whether one of the newest commits is that run's."""
        return any(commit.get(RUN) == run_id for commit in islice(commits(self.table), SEARCHED_COMMITS))


class DeltaTransactions:
    """See `TransactionTable`; on a folder or on S3."""

    def __init__(self, location: LakeLocation, limits: LakeLimits = PATIENT) -> None:
        """Nothing is read yet.

        Raises:
            ValueError, StoreRefused, PermissionError: as `delta_location`.
        """
        self._address, self._options = delta_location(location, TRANSACTIONS, limits)
        self._gaps_address, _ = delta_location(location, GAPS, limits)
        self._filesystem, root = lake_filesystem(location, limits)
        self._folder = f"{root}/{TRANSACTIONS}"
        self._quarantine = DeltaQuarantine(location, limits)

    def create(self) -> None:
        with delta_errors("create the tables"):
            create_table(self._address, SCHEMA, [PARTITION_COLUMN], self._options)
            add_missing_columns(self._address, SCHEMA, self._options, carried_on)
            create_table(self._gaps_address, GAP_SCHEMA, [], self._options)
            add_missing_columns(self._gaps_address, GAP_SCHEMA, self._options)

    def view(self) -> DeltaView:
        with delta_errors("open transactions"):
            return DeltaView(DeltaTable(self._address, storage_options=self._options))

    def rows(self) -> int:
        """How many rows the newest version has, from the statistics of its files."""
        with delta_errors("count transactions"):
            return int(DeltaTable(self._address, storage_options=self._options).count())

    def write_files(self, rows: pa.Table) -> list[DataFile]:
        with delta_errors("write data files"):
            return write_data_files(self._filesystem, self._folder, rows)

    def append(self, append: Append) -> int:
        view = self.view()
        if self._moved(view, append):
            return self._committed(view, append)
        try:
            view.table.create_write_transaction(
                [add_action(file) for file in append.files],
                mode="append",
                schema=Schema.from_arrow(SCHEMA),
                partition_by=[PARTITION_COLUMN],
                commit_properties=_properties(view, append),
            )
        except (DeltaError, OSError) as error:
            log.warning("lake: commit of run %s: %s; looking what became of it", append.run_id, plain(error))
            after = self.view()
            if self._moved(after, append):
                return self._committed(after, append)
            raise StoreUnavailable(
                "lake", f"run {append.run_id} was not committed: {plain(error)}"
            ) from error
        return self.view().version

    def _moved(self, view: DeltaView, append: Append) -> bool:
        return any(moved(view.position(read.partition), read) for read in append.ranges)

    def _committed(self, view: DeltaView, append: Append) -> int:
        """The version if it was this very append that moved the table: its reply was lost."""
        if view.holds(append.run_id):
            return view.version
        raise TableMoved("lake", f"run {append.run_id}: another one committed these offsets first; plan anew")

    def take_back(self, partition: PartitionId, to: LogPlace) -> TakenBack | None:
        view = self.view()
        position = view.position(partition)
        if position is None or position <= to.offset:
            return None
        kept = [
            (topic, life, to.offset if life == partition else known)
            for topic, life, known in view.last_positions()
        ]
        positions = {_app_id(partition): to.offset, _epoch_id(partition): to.leader_epoch}
        try:
            return remove_from(view.table, partition, to.offset, position, positions, named_anew(kept))
        except (DeltaError, OSError) as error:
            raise StoreUnavailable("lake", f"{partition} not taken back: {plain(error)}") from error

    def rows_of(
        self, partition: PartitionId, from_offset: int, to_offset: int, columns: Sequence[str]
    ) -> pa.Table:
        with delta_errors("read transactions"):
            table = DeltaTable(self._address, storage_options=self._options)
            filters = [
                ("topic_id", "=", partition.topic_id),
                ("partition", "=", partition.partition),
                ("offset", ">=", from_offset),
                ("offset", "<", to_offset),
            ]
            return table.to_pyarrow_table(filters=filters, columns=list(columns))

    def recent(self, columns: Sequence[str], span_ms: int) -> pa.Table:
        with delta_errors("read transactions"):
            table = DeltaTable(self._address, storage_options=self._options)
            newest = newest_event(table)
            if newest is None:
                return SCHEMA.empty_table().select(list(columns))
            since = newest - timedelta(milliseconds=span_ms)
            filters = [
                (PARTITION_COLUMN, ">=", since.date()),
                ("event_time", ">=", since),
                ("event_time", "<=", newest),  # imports may be newer than the topic
            ]
            return table.to_pyarrow_table(filters=filters, columns=list(columns))

    def newest_ms(self) -> int | None:
        """Time of the topic's newest event, unix milliseconds, see `newest_event`; None without rows."""
        with delta_errors("read transactions"):
            if not DeltaTable.is_deltatable(self._address, self._options):
                return None
            table = DeltaTable(self._address, storage_options=self._options)
            newest = newest_event(table)
        return None if newest is None else round(newest.timestamp() * 1000)

    def rows_of_days(self, from_day: int, until_day: int, columns: Sequence[str]) -> object:
        """Rows of `[from_day, until_day)` as a scanner of Arrow; nothing is read yet."""
        days = [date.fromordinal(day + EPOCH_DAY) for day in (from_day, until_day)]
        with delta_errors("read transactions"):
            table = DeltaTable(self._address, storage_options=self._options)
            within = (pc.field(PARTITION_COLUMN) >= days[0]) & (pc.field(PARTITION_COLUMN) < days[1])
            return table.to_pyarrow_dataset().scanner(columns=list(columns), filter=within)

    def record_gaps(self, gaps: Sequence[LogGapRow]) -> list[LogGapRow]:
        run_id = uuid.uuid4().hex
        tried: list[LogGapRow] = []
        for _ in range(GAP_ATTEMPTS):
            with delta_errors("open log gaps"):
                table = DeltaTable(self._gaps_address, storage_options=self._options)
            if tried and DeltaView(table).holds(run_id):
                return tried  # the reply was lost, and they are new all the same
            with delta_errors("read log gaps"):
                new = untold(gaps, _gaps_in(table))
            if not new:
                return []
            try:
                write_deltalake(
                    table,
                    pa.Table.from_pylist([_gap_row(gap) for gap in new], schema=GAP_SCHEMA),
                    mode="append",
                    commit_properties=CommitProperties(
                        custom_metadata={RUN: run_id},
                        # Of two at once that look at one partition the second has to look again.
                        app_transactions=[Transaction(name, 1) for name in {_gap_id(gap) for gap in new}],
                    ),
                )
            except (DeltaError, OSError) as error:
                log.warning("lake: gaps not recorded, looking again: %s", plain(error))
                tried = new
                continue
            return new
        raise StoreUnavailable("lake", f"{len(gaps)} gaps of the log not recorded in {GAP_ATTEMPTS} attempts")

    def quarantine(self, rows: Sequence[Quarantined]) -> list[Quarantined]:
        return self._quarantine.add(rows)

    def quarantined(self) -> list[Quarantined]:
        return self._quarantine.rows()

    def gaps(self) -> list[LogGapRow]:
        with delta_errors("read log gaps"):
            found = _gaps_in(DeltaTable(self._gaps_address, storage_options=self._options))
        return sorted(found, key=lambda gap: gap.noticed_ms)


def _app_id(partition: PartitionId) -> str:
    return f"cold:{partition}"


def _epoch_id(partition: PartitionId) -> str:
    return f"leader-epoch:{partition}"


def _gap_id(gap: LogGapRow) -> str:
    return f"gap:{gap.partition}"


def _gaps_in(table: DeltaTable) -> list[LogGapRow]:
    return [
        LogGapRow(
            PartitionId(row["cluster_id"], row["topic_id"], row["partition"]),
            row["topic"],
            row["from_offset"],
            row["to_offset"],
            row["reason"],
            row["noticed_ms"],
        )
        for row in table.to_pyarrow_table().to_pylist()
    ]


def _gap_row(gap: LogGapRow) -> dict[str, Any]:
    row: dict[str, Any] = msgspec.structs.asdict(gap)
    partition: PartitionId = row.pop("partition")
    return row | partition._asdict()


def _properties(view: DeltaView, append: Append) -> CommitProperties:
    moved = {read.partition: (read.topic, read.partition, read.to_offset) for read in append.ranges}
    kept = [entry for entry in view.last_positions() if entry[1] not in moved]
    return CommitProperties(
        custom_metadata={
            RUN: append.run_id,
            RANGES: msgspec.json.encode(append.ranges).decode(),
            **named_anew([*kept, *moved.values()]),
        },
        app_transactions=[
            Transaction(name, value)
            for read in append.ranges
            for name, value in (
                (_app_id(read.partition), read.to_offset),
                (_epoch_id(read.partition), read.leader_epoch),
            )
        ],
    )
