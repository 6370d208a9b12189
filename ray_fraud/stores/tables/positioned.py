"""A Delta table that is written by files first and one commit last, with named positions.

A position says how far somebody has come: a number that only grows, kept as an application transaction of
the same commit as the files. So what was made of `[from, to)` is in the table once, whatever is killed.

Never: a commit on another handle than the one whose positions were read (delta-rs takes an application
transaction of the same or a lower version from a fresh one).
"""

import logging
from collections.abc import Mapping, Sequence

import msgspec
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Schema, Transaction
from deltalake.exceptions import DeltaError

from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.delta_errors import delta_errors, plain
from ray_fraud.stores.delta_location import delta_location
from ray_fraud.stores.errors import StoreUnavailable
from ray_fraud.stores.lake import lake_filesystem
from ray_fraud.stores.tables.columns import PARTITION_COLUMN
from ray_fraud.stores.tables.data_files import add_action, write_data_files
from ray_fraud.stores.tables.evolution import add_missing_columns, create_table
from ray_fraud.stores.tables.port import DataFile, TableMoved
from ray_fraud.stores.tables.take_back import TakenBack, remove_from

log = logging.getLogger(__name__)

RUN = "ray_fraud.run"
SEARCHED_COMMITS = 100
"""How far back a commit whose reply was lost is looked for."""


class Move(msgspec.Struct, frozen=True):
    """One position, from where it has to stand to where it then stands."""

    name: str
    before: int | None
    after: int


class PositionedTable:
    """One table of the lake, partitioned by event date."""

    def __init__(self, location: LakeLocation, name: str, schema: pa.Schema) -> None:
        """Nothing is read yet.

        Raises:
            ValueError, StoreRefused, PermissionError: as `delta_location`.
        """
        self.name = name
        self.schema = schema
        self._address, self._options = delta_location(location, name)
        self._filesystem, root = lake_filesystem(location)
        self._folder = f"{root}/{name}"

    def create(self) -> None:
        """Makes the table if there is none, and columns that an older one lacks."""
        with delta_errors(f"create {self.name}"):
            create_table(self._address, self.schema, [PARTITION_COLUMN], self._options)
            add_missing_columns(self._address, self.schema, self._options)

    def position(self, name: str) -> int | None:
        """Where it stands; None if it never moved.

        Raises:
            StoreUnavailable: the object store does not answer.
        """
        return self._open().transaction_version(name)

    def commit_with(self, key: str, value: str) -> Mapping[str, str] | None:
        """Metadata of the newest commit that has this value under this key, its `version` among it.

        None if there is none, or if it is so old that the table's log was cleaned of it.

        Raises:
            StoreUnavailable: the object store does not answer.
        """
        table = self._open()
        with delta_errors(f"read the history of {self.name}"):
            for commit in table.history():
                if commit.get(key) == value:
                    return {name: str(content) for name, content in commit.items()}
        return None

    def write_files(self, rows: pa.Table) -> list[DataFile]:
        """Writes rows, one file per event date; nothing sees them yet."""
        with delta_errors(f"write files of {self.name}"):
            return write_data_files(self._filesystem, self._folder, rows)

    def rows(self) -> int:
        """How many rows the newest version has, from the statistics of its files."""
        return int(self._open().count())

    def read(
        self, filters: Sequence[tuple[str, str, object]], columns: Sequence[str] | None = None
    ) -> pa.Table:
        """Rows of the newest version that all filters let through, (column, operator, value) each."""
        with delta_errors(f"read {self.name}"):
            table = DeltaTable(self._address, storage_options=self._options)
            return table.to_pyarrow_table(
                filters=list(filters) or None, columns=None if columns is None else list(columns)
            )

    def commit(
        self, run_id: str, moves: Sequence[Move], files: Sequence[DataFile], facts: Mapping[str, str]
    ) -> int:
        """Files and positions in one step; the new version. `facts` go to the commit's metadata.

        Repeating it after a lost reply finds its own commit.

        Raises:
            TableMoved: a position does not stand where it should; nothing was committed.
            StoreUnavailable: the result is unknown; repeat the same commit.
        """
        table = self._open()
        if self._moved(table, moves):
            return self._own(table, run_id)
        try:
            table.create_write_transaction(
                [add_action(file) for file in files],
                mode="append",
                schema=Schema.from_arrow(self.schema),
                partition_by=[PARTITION_COLUMN],
                commit_properties=CommitProperties(
                    custom_metadata={RUN: run_id, **facts},
                    app_transactions=[Transaction(move.name, move.after) for move in moves],
                ),
            )
        except (DeltaError, OSError) as error:
            log.warning("lake: %s, run %s: %s; looking what became of it", self.name, run_id, plain(error))
            after = self._open()
            if self._moved(after, moves):
                return self._own(after, run_id)
            raise StoreUnavailable(
                "lake", f"{self.name}: run {run_id} not committed: {plain(error)}"
            ) from error
        return self._open().version()

    def take_back(self, partition: PartitionId, offset: int, name: str) -> TakenBack | None:
        """Removes the partition's rows at and above an offset, and takes its position `name` down to it.

        None if it stands no higher, or there is no such table.

        Raises:
            StoreUnavailable: the result is unknown; repeat it.
        """
        with delta_errors(f"open {self.name}"):
            if not DeltaTable.is_deltatable(self._address, self._options):
                return None
        table = self._open()
        position = table.transaction_version(name)
        if position is None or position <= offset:
            return None
        try:
            return remove_from(table, partition, offset, position, {name: offset}, {})
        except (DeltaError, OSError) as error:
            raise StoreUnavailable(
                "lake", f"{self.name}: {partition} not taken back: {plain(error)}"
            ) from error

    def _open(self) -> DeltaTable:
        with delta_errors(f"open {self.name}"):
            return DeltaTable(self._address, storage_options=self._options)

    def _moved(self, table: DeltaTable, moves: Sequence[Move]) -> bool:
        return any(table.transaction_version(move.name) != move.before for move in moves)

    def _own(self, table: DeltaTable, run_id: str) -> int:
        """The version if the positions were moved by this very commit."""
        with delta_errors(f"read the history of {self.name}"):
            if any(commit.get(RUN) == run_id for commit in table.history(SEARCHED_COMMITS)):
                return table.version()
        raise TableMoved("lake", f"{self.name}: run {run_id}: another one was first; begin anew")
