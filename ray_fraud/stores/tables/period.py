"""The rows of one version of a table whose event times lie in a period.

The version stays the same, whatever is committed meanwhile: files are planned in one process, counted there
by their statistics, and read in others.

Never: another version than the one that was opened; all rows in memory at once.
"""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.delta_errors import delta_errors
from ray_fraud.stores.delta_location import delta_location
from ray_fraud.stores.tables.columns import IMPORTED, PARTITION_COLUMN

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SAMPLE_BATCH_ROWS = 16_384
READ_FOR_EACH = 4
"""Rows read for one of a sample, where there are so many: neighbours in a file are of one time or user."""


class StoredFile(msgspec.Struct, frozen=True):
    """A data file that may hold rows of the period."""

    path: str
    event_date: str
    rows: int
    """All of it, also those outside of the period."""
    first_ms: int | None = None
    """Its earliest event time, unix milliseconds; None if its statistics do not have it."""


def newest_event_ms(location: LakeLocation, name: str) -> int | None:
    """Time of a table's newest event of the topic, unix milliseconds; None without rows.

    Imported rows count only while there are no others: an import newer than the topic moves no window.
    The event times of the newest date are read for it: of a table with many columns files have no statistics
    of the last ones.

    Raises:
        StoreRefused: there is no such table.
        StoreUnavailable: the lake does not answer.
    """
    address, options = delta_location(location, name)
    with delta_errors(f"open {name}"):
        table = DeltaTable(address, storage_options=options)
        files = _files(table)
        dataset = table.to_pyarrow_dataset()
        own = ~pc.starts_with(pc.field("topic_id"), IMPORTED)
        for among, rows in ((files.filter(_MAY_BE_OWN), own), (files, None)):
            for date in sorted(set(among["date"].to_pylist()), reverse=True):
                on_date = pc.field(PARTITION_COLUMN) == date
                newest = _newest_of(dataset, on_date if rows is None else on_date & rows)
                if newest is not None:
                    return _unix_ms(newest)
    return None


class PeriodRows:
    """Rows with event times in `[since_ms, until_ms)`, unix milliseconds."""

    def __init__(
        self, location: LakeLocation, name: str, since_ms: int, until_ms: int, version: int | None = None
    ) -> None:
        """Opens that version; None: the newest one.

        Raises:
            StoreRefused: there is no such table.
            StoreUnavailable: the lake does not answer, or no longer has that version.
        """
        address, options = delta_location(location, name)
        with delta_errors(f"open {name}"):
            self._table = DeltaTable(address, version=version, storage_options=options)
            self._dataset = self._table.to_pyarrow_dataset()
        self.name = name
        self.version = self._table.version()
        self.since_ms, self.until_ms = since_ms, until_ms
        # Exact, which a division by 1,000 is not.
        since, until = (_EPOCH + timedelta(milliseconds=ms) for ms in (since_ms, until_ms))
        last_day = (until - timedelta(milliseconds=1)).date()
        self._within = (
            (pc.field(PARTITION_COLUMN) >= since.date())
            & (pc.field(PARTITION_COLUMN) <= last_day)
            & (pc.field("event_time") >= since)
            & (pc.field("event_time") < until)
        )

    def files(self) -> list[StoredFile]:
        """The files whose statistics do not rule out the period, by date."""
        with delta_errors(f"list files of {self.name}"):
            known = pa.table(self._table.get_add_actions(flatten=True))
            of_path = {row["path"]: row for row in known.to_pylist()}
            paths = [fragment.path for fragment in self._dataset.get_fragments(filter=self._within)]
        found = [_stored(of_path[path]) for path in paths]
        return sorted(found, key=lambda file: (file.event_date, file.path))

    def count(self) -> int:
        """How many rows the period has; files that lie wholly in it are counted by their statistics."""
        with delta_errors(f"count rows of {self.name}"):
            return int(self._dataset.count_rows(filter=self._within))

    def read(
        self, paths: Sequence[str], columns: Sequence[str], batch_rows: int
    ) -> Iterator[tuple[str, pa.Table]]:
        """(path, rows of the period), at most `batch_rows` at a time; a file without any gives none.

        Raises:
            StoreUnavailable: the lake does not answer, or no longer has the file.
        """
        wanted = set(paths)
        with delta_errors(f"read {self.name}"):
            for fragment in self._dataset.get_fragments():
                if fragment.path not in wanted:
                    continue
                for batch in fragment.to_batches(
                    schema=self._dataset.schema,
                    columns=list(columns),
                    filter=self._within,
                    batch_size=batch_rows,
                    use_threads=False,
                ):
                    if batch.num_rows:
                        yield fragment.path, pa.Table.from_batches([batch])

    def sample(
        self, columns: Sequence[str], most_rows: int, batch_rows: int = SAMPLE_BATCH_ROWS
    ) -> Iterator[pa.Table]:
        """At most `most_rows` of the period, at most `batch_rows` at a time; all of them if they are no more.

        Row groups are drawn by a digest until they have four times as many rows, of which every n-th one is
        taken: so the sample has rows of all hours and files, and is the same for one version of the table.
        As n is a whole number it may be little more than half of `most_rows`.

        Raises:
            StoreUnavailable: the lake does not answer, or no longer has a file.
        """
        with delta_errors(f"sample {self.name}"):
            groups = self._drawn_groups(READ_FOR_EACH * most_rows)
            step = max(1, -(-sum(rows for _, rows in groups) // most_rows))
            seen, left = 0, most_rows
            for group, _ in groups:
                for batch in group.to_batches(
                    schema=self._dataset.schema,
                    columns=list(columns),
                    filter=self._within,
                    batch_size=batch_rows,
                    use_threads=False,
                ):
                    places = np.arange(-seen % step, batch.num_rows, step)[:left]
                    seen += batch.num_rows
                    left -= len(places)
                    if len(places):
                        yield pa.Table.from_batches([batch.take(pa.array(places))])

    def _drawn_groups(self, enough: int) -> list[tuple[Any, int]]:
        """Row groups that may hold rows of the period, until they have enough, and how many each has."""
        groups = [
            (group, sum(each.num_rows for each in group.row_groups))
            for fragment in self._dataset.get_fragments(filter=self._within)
            for group in fragment.split_by_row_group(self._within, schema=self._dataset.schema)
        ]
        groups.sort(key=lambda each: _drawn(each[0].path, [part.id for part in each[0].row_groups]))
        before = np.cumsum([0, *(rows for _, rows in groups)])
        return [group for group, rows in zip(groups, before, strict=False) if rows < enough]


def _drawn(path: str, groups: Sequence[int]) -> bytes:
    """A place in an order that has nothing to do with time, user or size."""
    return hashlib.sha256(f"{path} {groups}".encode()).digest()


def newest_rows(location: LakeLocation, name: str, span_ms: int) -> PeriodRows | None:
    """The rows whose event time lies within `span_ms` of the newest one; None for a table without rows.

    Raises:
        StoreRefused, StoreUnavailable: as `PeriodRows`.
    """
    address, options = delta_location(location, name)
    with delta_errors(f"open {name}"):
        table = DeltaTable(address, storage_options=options)
        newest = newest_event(table)
    if newest is None:
        return None
    newest_ms = _unix_ms(newest)
    return PeriodRows(location, name, newest_ms - span_ms, newest_ms + 1, table.version())


def newest_event(table: DeltaTable) -> datetime | None:
    """Of the topic's rows, of imported ones only while there are no others; None for a table without rows.

    From the statistics of the files. Only of files that care has put together of both kinds rows are read.
    """
    files = _files(table)
    if not files.num_rows:
        return None
    newest: datetime | None = None
    fragments: dict[str, Any] = {}
    for file in files.filter(_MAY_BE_OWN).sort_by([("newest", "descending")]).to_pylist():
        if newest is not None and file["newest"] is not None and file["newest"] <= newest:
            break
        found = file["newest"]
        if found is None or file["may_be_imported"]:
            if not fragments:
                fragments = {each.path: each for each in table.to_pyarrow_dataset().get_fragments()}
            found = _newest_of(fragments[file["path"]], ~pc.starts_with(pc.field("topic_id"), IMPORTED))
        newest = max((each for each in (newest, found) if each is not None), default=None)
    found = pc.max(files["newest"]).as_py() if newest is None else newest
    return None if found is None else found.astimezone(UTC)


_MAY_BE_OWN = pc.field("may_be_own")
_BEHIND_IMPORTED = IMPORTED[:-1] + chr(ord(IMPORTED[-1]) + 1)
"""The first text behind all that begin like imported rows' topic ids."""


def _files(table: DeltaTable) -> pa.Table:
    """The data files: path, date, newest (event time, null if not known), may_be_own, may_be_imported."""
    known = pa.table(table.get_add_actions(flatten=True))
    nulls = {
        name: pa.nulls(known.num_rows, kind)
        for name, kind in (
            ("min.topic_id", pa.string()),
            ("max.topic_id", pa.string()),
            ("max.event_time", pa.timestamp("us", "UTC")),
        )
    }
    low, high, newest = (known[name] if name in known.column_names else nulls[name] for name in nulls)
    own = pc.invert(pc.and_(pc.starts_with(low, IMPORTED), pc.starts_with(high, IMPORTED)))
    imported = pc.and_(pc.less(low, _BEHIND_IMPORTED), pc.greater_equal(high, IMPORTED))
    return pa.table(
        {
            "path": known["path"],
            "date": known[f"partition.{PARTITION_COLUMN}"],
            "newest": newest,
            "may_be_own": pc.fill_null(own, True),
            "may_be_imported": pc.fill_null(imported, True),
        }
    )


def _newest_of(rows: Any, which: pc.Expression) -> datetime | None:
    """The newest event time among those rows of a dataset or file, in UTC; None if there is none."""
    found: datetime | None = None
    for batch in rows.to_batches(columns=["event_time"], filter=which, batch_size=SAMPLE_BATCH_ROWS):
        if batch.num_rows:
            newest = pc.max(batch["event_time"]).as_py().astimezone(UTC)
            found = newest if found is None else max(found, newest)
    return found


def _stored(action: dict[str, Any]) -> StoredFile:
    first = action.get("min.event_time")
    return StoredFile(
        action["path"],
        action[f"partition.{PARTITION_COLUMN}"].isoformat(),
        action["num_records"] or 0,
        None if first is None else _unix_ms(first),
    )


def _unix_ms(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(milliseconds=1)
