"""Accepted rows on this machine's disk until they are written to the lake, date by date.

A file of transactions may have any order: one that is sorted by user has rows of every date in every chunk.
So each chunk's rows are put in order of their dates and kept here, and files of the lake are made of many
chunks together, a few dates at a time, in memory that does not grow with the file.

Never: a row that was not accepted; a folder that stays behind, but for a kill, after which the next import
removes it.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from batch.imports.column_map import ImportRefused
from ray_fraud.domain.feature_tables import Ints
from ray_fraud.stores.tables.columns import PARTITION_COLUMN

PREFIX = "ray-fraud-import-"
BATCH_ROWS = 1_024
"""Read at once: of a chunk with rows of all dates few more are read than are needed."""
TASK_ROWS = 300_000
"""Written by one task: about 250 MB of memory."""
_LOCK = "lock"


class Staged(NamedTuple):
    """The accepted rows of one chunk."""

    path: str
    days: Ints
    """Their event dates, days since 1970, ascending."""
    rows: Ints
    """How many rows each has."""


class Stage:
    """A folder; travels to other processes as its path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, first_row: int, rows: pa.Table) -> Staged:
        """Keeps accepted rows, `columns.SCHEMA`.

        Raises:
            ImportRefused: the disk does not take them.
        """
        dates = rows[PARTITION_COLUMN].cast(pa.int32()).to_numpy()
        if np.any(dates[1:] < dates[:-1]):
            order = np.argsort(dates, kind="stable")
            rows, dates = rows.take(order), dates[order]
        days, counts = np.unique(dates, return_counts=True)
        path = self.folder / f"{first_row}.arrow"
        try:
            with pa.OSFile(str(path), "wb") as file, _writer(file, rows.schema) as writer:
                writer.write_table(rows.combine_chunks(), max_chunksize=BATCH_ROWS)
        except OSError as error:
            raise ImportRefused(
                f"{self.folder}: {error.strerror or error}; name a folder with room by --temporary"
            ) from error
        return Staged(str(path), days.astype(np.int64), counts.astype(np.int64))

    def drop(self, staged: Sequence[Staged]) -> None:
        """Removes what is in the lake by now."""
        for each in staged:
            Path(each.path).unlink(missing_ok=True)


def _writer(file: Any, schema: pa.Schema) -> Any:
    return pa.ipc.new_file(file, schema, options=pa.ipc.IpcWriteOptions(compression="lz4"))


class Days(NamedTuple):
    """Event dates `[from_day, until_day)`, days since 1970."""

    from_day: int
    until_day: int


def cut_days(staged: Sequence[Staged], task_rows: int = TASK_ROWS) -> list[Days]:
    """All dates of these rows, in order, cut so that each part has about `task_rows` rows or is one date."""
    if not any(len(each.days) for each in staged):
        return []
    first = min(int(each.days[0]) for each in staged if len(each.days))
    last = max(int(each.days[-1]) for each in staged if len(each.days))
    totals = np.zeros(last - first + 1, np.int64)
    for each in staged:
        totals[each.days - first] += each.rows
    cuts, held = [first], 0
    for day in np.flatnonzero(totals).tolist():
        if held and held + totals[day] > task_rows:
            cuts.append(first + day)
            held = 0
        held += int(totals[day])
    return [Days(*ends) for ends in zip(cuts, [*cuts[1:], last + 1], strict=True)]


class Piece(NamedTuple):
    """Consecutive rows of one staged file."""

    path: str
    begin: int
    end: int


def pieces_of(staged: Sequence[Staged], days: Days) -> list[Piece]:
    """Where the rows of these dates lie, in the order of the chunks."""
    pieces = []
    for each in staged:
        low, high = np.searchsorted(each.days, days).tolist()
        if low < high:
            begin = int(each.rows[:low].sum())
            pieces.append(Piece(each.path, begin, begin + int(each.rows[low:high].sum())))
    return pieces


def rows_in(pieces: Sequence[Piece]) -> pa.Table:
    """The rows themselves; of at least one piece."""
    tables = []
    for piece in pieces:
        with pa.OSFile(piece.path) as file:
            reader = pa.ipc.open_file(file)
            first, last = piece.begin // BATCH_ROWS, (piece.end - 1) // BATCH_ROWS
            batches = [reader.get_batch(number) for number in range(first, last + 1)]
        whole = pa.Table.from_batches(batches)
        tables.append(whole.slice(piece.begin - first * BATCH_ROWS, piece.end - piece.begin))
    return pa.concat_tables(tables)


class OwnStage(Stage):
    """A new folder for one import, held by this process and removed by `close`."""

    def __init__(self, base: Path | None = None) -> None:
        """Below `base`; also removes what imports that were killed left there.

        Raises:
            ImportRefused: no folder can be made there.
        """
        base = base or default_base()
        try:
            _sweep(base)
            super().__init__(Path(tempfile.mkdtemp(prefix=PREFIX, dir=base)))
            self._lock = (self.folder / _LOCK).open("wb")
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        except OSError as error:
            raise ImportRefused(
                f"{base}: {error.strerror or error}; name another folder with --temporary"
            ) from error

    def close(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()


def default_base() -> Path:
    """TMPDIR, else /var/tmp: /tmp may be in memory."""
    usual = Path("/var/tmp")  # noqa: S108 - the folder in it is made by mkdtemp
    return usual if "TMPDIR" not in os.environ and usual.is_dir() else Path(tempfile.gettempdir())


def _sweep(base: Path) -> None:
    """Removes this user's folders whose import is no longer there."""
    for folder in base.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if folder.stat().st_uid != os.getuid():
                continue
            with (folder / _LOCK).open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
