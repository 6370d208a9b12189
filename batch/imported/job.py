"""Features for imported records that have none: the hot path's fold over all imports as one history.

    imports → rows in order of event time → fold → rows of `ml_features` → one commit with the positions

Imports whose features are there are folded along, since later ones build on them, and not written again.

Never: a commit of a part of an import; another definition of a feature.
"""

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec
import numpy as np
import pyarrow as pa

from batch.backtest.fold_part import FoldSettings, Outcome
from batch.backtest.history import labelled_past
from batch.backtest.parts import RunParts, Tell
from batch.features.job import RANGES, position_name
from batch.features.rows import feature_table
from batch.imported.records import ImportedFile, ImportedHistory, Transactions, imported_files, read_imported
from ray_fraud.domain.feature_tables import Bools, Ints
from ray_fraud.stores.tables.port import DataFile
from ray_fraud.stores.tables.positioned import Move
from ray_fraud.stores.tables.retry import repeated

WRITTEN_ROWS = 500_000
"""Written together, one file per event date; bounds the memory of a copy."""


class ImportedReport(msgspec.Struct):
    """What one run did."""

    imports: int = 0
    """Whose features were made."""
    rows: int = 0
    """Of those imports, without features before."""
    written: int = 0
    """Rows of `ml_features`."""
    duplicates: int = 0
    """The others: records that came twice."""
    folded: int = 0
    """All imported rows, also those whose features were there."""
    known_frauds: int = 0
    """By verdicts, of all imported rows."""
    version: int | None = None
    """Of `ml_features` after the commit; None if nothing was missing."""
    seconds: float = 0.0


class FeatureRows(Protocol):
    """The table `ml_features`, see `ray_fraud.stores.tables.positioned`."""

    name: str

    def create(self) -> None: ...

    def position(self, name: str) -> int | None: ...

    def write_files(self, rows: pa.Table) -> list[DataFile]: ...

    def commit(
        self, run_id: str, moves: Sequence[Move], files: Sequence[DataFile], facts: Mapping[str, str]
    ) -> int: ...


class ImportedFeatures:
    """The steps, with their outside given, so that each can be made to fail."""

    def __init__(
        self,
        transactions: Transactions,
        features: FeatureRows,
        frauds: Callable[[pa.Table], Bools],
        run_parts: RunParts,
        *,
        written_rows: int = WRITTEN_ROWS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`frauds`: which rows of `transactions` verdicts call so, shape (rows,)."""
        self._transactions = transactions
        self._features = features
        self._frauds = frauds
        self._run_parts = run_parts
        self._written_rows = written_rows
        self._sleep = sleep

    def run(self, settings: FoldSettings, tell: Tell = lambda _done, _all: None) -> ImportedReport:
        """Makes what is missing. `tell` is called with (rows folded, rows in all).

        Raises:
            TableMoved: another run made the same features; nothing is doubled.
            FoldEnded: a process ended before its time.
            StoreError: nothing was committed, or it is not known; the next run finds out.
        """
        began = time.monotonic()
        report = ImportedReport()
        self._features.create()
        files = imported_files(self._transactions.view(), self._features.position)
        missing = [file for file in files if not file.is_done]
        if missing:
            imported = read_imported(self._transactions, files, self._frauds)
            history = imported.history
            if len(history):
                outcome = self._run_parts(history, labelled_past(history), settings, tell)
                self._write(missing, imported, outcome, report)
        report.seconds = time.monotonic() - began
        return report

    def _write(
        self,
        missing: Sequence[ImportedFile],
        imported: ImportedHistory,
        outcome: Outcome,
        report: ImportedReport,
    ) -> None:
        chosen = np.flatnonzero(imported.new & outcome.processed)
        files: list[DataFile] = []
        for start in range(0, len(chosen), self._written_rows):
            part = chosen[start : start + self._written_rows]
            files += self._features.write_files(_rows(imported, outcome, part))
        ranges = [
            {"partition": str(file.partition), "from": file.missing_from, "to": file.position}
            for file in missing
        ]
        moves = [Move(position_name(file.partition), file.before, file.position) for file in missing]
        run_id, facts = uuid.uuid4().hex, {RANGES: msgspec.json.encode(ranges).decode()}
        report.version = repeated(
            self._features.name,
            lambda: self._features.commit(run_id, moves, files, facts),
            self._sleep,
        )
        report.imports = len(missing)
        report.rows, report.written = int(imported.new.sum()), len(chosen)
        report.duplicates = report.rows - report.written
        report.folded = len(imported.history)
        report.known_frauds = int(imported.history.fraud.sum())


def _rows(imported: ImportedHistory, outcome: Outcome, chosen: Ints) -> pa.Table:
    places = imported.places.take(chosen)
    return feature_table(
        {name: places[name] for name in places.column_names},
        outcome.features[chosen],
        pa.nulls(len(chosen), pa.string()),
    )
