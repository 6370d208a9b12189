"""All imported records of the lake as one history, and which of them have no features yet.

Never: a record of a topic.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batch.backtest.history import READ, History, history_of
from batch.features.job import position_name
from batch.imports.part import CLUSTER
from ray_fraud.domain.feature_tables import Bools
from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.tables.feature_columns import RECORD_COLUMNS
from ray_fraud.stores.tables.port import TableView

NEW = "new"
_COLUMNS = tuple(dict.fromkeys((*RECORD_COLUMNS, *READ)))
_US_PER_MS = 1_000


class ImportedFile(msgspec.Struct, frozen=True):
    """One import, and how far its features are."""

    partition: PartitionId
    position: int
    """Rows of the file that are in the lake or were refused: offsets below it."""
    before: int | None
    """Position of `ml_features`: offsets below it have features. None: none has."""

    @property
    def missing_from(self) -> int:
        return self.before or 0

    @property
    def is_done(self) -> bool:
        return self.missing_from >= self.position


class Transactions(Protocol):
    """The table `transactions`, as far as it is needed here."""

    def view(self) -> TableView: ...

    def rows_of(
        self, partition: PartitionId, from_offset: int, to_offset: int, columns: Sequence[str]
    ) -> pa.Table: ...


class ImportedHistory(NamedTuple):
    """n records in order of event time; of equal times those that have features first."""

    history: History
    places: pa.Table
    """`RECORD_COLUMNS` of the same rows."""
    new: Bools
    """Those without features, shape (n,)."""


def imported_files(view: TableView, position: Callable[[str], int | None]) -> list[ImportedFile]:
    """The imports of the lake; `position` is that of the table `ml_features`."""
    return [
        ImportedFile(partition, reached, position(position_name(partition)))
        for _, partition, reached in sorted(view.last_positions(), key=lambda each: each[1])
        if partition.cluster_id == CLUSTER
    ]


def read_imported(
    table: Transactions, files: Sequence[ImportedFile], frauds: Callable[[pa.Table], Bools]
) -> ImportedHistory:
    """All records of these imports.

    Args:
        frauds: which rows are known as fraud, shape (rows,).

    Raises:
        StoreError: the lake or whoever knows frauds does not answer.
    """
    parts = []
    for file in sorted(files, key=lambda each: (each.before is None, each.partition)):
        rows = table.rows_of(file.partition, 0, file.position, _COLUMNS).sort_by("offset")
        new = pc.greater_equal(rows["offset"], file.missing_from)
        parts.append(rows.select(_COLUMNS).append_column(NEW, new))
    rows = pa.concat_tables(parts)
    event_ms = pc.divide(rows["event_time"].cast(pa.int64()), _US_PER_MS)
    # The order that `history_of` makes, so that its rows are those of the places.
    rows = rows.take(np.argsort(event_ms.to_numpy(), kind="stable"))
    return ImportedHistory(
        history_of(rows.select(READ), frauds(rows)), rows.select(RECORD_COLUMNS), rows[NEW].to_numpy()
    )


def rows_without_features(
    table: Transactions, files: Sequence[ImportedFile], since_ms: int, until_ms: int
) -> int:
    """How many imported rows with event times in `[since_ms, until_ms)` have none (duplicates included).

    Raises:
        StoreError: the lake does not answer.
    """
    count = 0
    for file in files:
        if not file.is_done:
            rows = table.rows_of(file.partition, file.missing_from, file.position, ("event_time",))
            event_ms = pc.divide(rows["event_time"].cast(pa.int64()), _US_PER_MS)
            within = pc.and_(pc.greater_equal(event_ms, since_ms), pc.less(event_ms, until_ms))
            count += pc.sum(within).as_py() or 0
    return count
