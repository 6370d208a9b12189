"""Imported files in a real lake, and runs that make their features: what the tests of those share.

Never: Ray; a process beside this one.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from batch.backtest.fold_part import FoldSettings
from batch.backtest.parts import run_here
from batch.imported.job import ImportedFeatures, ImportedReport
from batch.imported.records import imported_files, rows_without_features
from batch.imports.job import Grouping, Import, import_partition
from batch.imports.part import Judge
from batch.imports.rejected_file import RejectedFile
from batch.imports.sources import FileFormat, content_digest_of, open_source
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.feature_tables import Bools
from ray_fraud.domain.features import FEATURE_NAMES
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.domain.windows import DAY_MS, HOUR_MS
from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.faults import FaultPlan
from ray_fraud.stores.tables.delta import DeltaTransactions
from ray_fraud.stores.tables.feature_columns import FEATURE_SCHEMA, ML_FEATURES
from ray_fraud.stores.tables.positioned import PositionedTable
from tests.batch.import_samples import FAR, WorkHere, write_lines
from tests.batch.labelled_world import Labelled
from tests.batch.scoring_world import FaultyTable

FOLD = FoldSettings(detection=DetectionSettings(), delay_ms=DAY_MS, refresh_ms=4 * HOUR_MS, profile_days=90)


class ImportedWorld:
    """One lake."""

    def __init__(self, folder: Path, labelled: Sequence[Labelled] = ()) -> None:
        """`labelled`: whose frauds verdicts know."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.location = LakeLocation((folder / "lake").as_uri())
        self.transactions = DeltaTransactions(self.location)
        self.features = PositionedTable(self.location, ML_FEATURES, FEATURE_SCHEMA)
        self._frauds = {_id_of(each): each.fraud for each in labelled}

    def imports(self, name: str, labelled: Sequence[Labelled], rows: int | None = None) -> None:
        """Imports a file of these records, or its first `rows`."""
        lines = [each.record.value or b"" for each in labelled]
        file = write_lines(self.folder / name, lines)
        partition = import_partition(content_digest_of(file))
        judge = Judge(partition, Decoder(None), DetectionSettings(), FAR)
        source = open_source(file, FileFormat.JSONL, {}, chunk_rows=100)
        work = WorkHere(source, judge, self.transactions, self.folder / "stage", rows=rows)
        side = RejectedFile(self.folder / f"{name}.rejected", partition.topic_id)
        try:
            Import(partition, {}, self.transactions, side, work, grouping=Grouping(250, 1)).run()
        finally:
            side.close()

    def run(self, faults: FaultPlan | None = None, written_rows: int = 300) -> ImportedReport:
        """A new process that makes what is missing; its writes and commits follow one plan."""
        table = FaultyTable(self.features, faults or FaultPlan())
        job = ImportedFeatures(
            self.transactions,
            table,
            self._known,
            run_here,
            written_rows=written_rows,
            sleep=lambda _: None,
        )
        return job.run(FOLD)

    def _known(self, rows: pa.Table) -> Bools:
        return np.array([self._frauds.get(name, False) for name in rows["transaction_id"].to_pylist()])

    def rows(self) -> list[tuple[str, int]]:
        """(topic id, offset) of each row with features, in order."""
        found = self.features.read([], ["topic_id", "offset"]).to_pydict()
        return sorted(zip(found["topic_id"], found["offset"], strict=True))

    def by_transaction(self) -> dict[str, NDArray[np.float32]]:
        """Features by transaction id."""
        found = self.features.read([])
        matrix = np.column_stack([found[name].to_numpy() for name in FEATURE_NAMES])
        return dict(zip(found["transaction_id"].to_pylist(), matrix, strict=True))

    def without_features(self, since_ms: int, until_ms: int) -> int:
        files = imported_files(self.transactions.view(), self.features.position)
        return rows_without_features(self.transactions, files, since_ms, until_ms)


def _id_of(each: Labelled) -> str:
    found = Decoder(None).decode(each.record.value or b"")
    return found.transaction_id  # type: ignore[union-attr]  # the generator's records are good
