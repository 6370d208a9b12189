"""An import in a process that kills itself at one step of its work on the lake: SIGKILL, before or after it.

Never: a step that is only imagined; the table is a real Delta table, the workers are real processes.
"""

import json
import multiprocessing
from pathlib import Path

from batch.imports.job import Grouping, Import, ImportReport
from batch.imports.rejected_file import RejectedFile
from batch.imports.run import ImportWorkers, WorkerConfig
from batch.imports.sources import FileFormat, open_source
from batch.imports.stage import OwnStage
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.tables.delta import DeltaTransactions
from tests.batch.import_samples import PARTITION
from tests.batch.killed_ingest import NEVER, DeadlyTable
from tests.domain.samples import NOW_MS

CHUNK_ROWS, COMMIT_ROWS = 100, 300


def run(folder: Path, kill_at: int = NEVER) -> ImportReport:
    """One import of `past.jsonl`; before each commit the pids of its workers go to `workers.json`."""
    lake = LakeLocation((folder / "lake").as_uri())
    source = open_source(folder / "past.jsonl", FileFormat.JSONL, {}, CHUNK_ROWS)
    file = RejectedFile(folder / "rejected.jsonl", PARTITION.topic_id)
    config = WorkerConfig(lake, PARTITION, DetectionSettings(), NOW_MS)

    def note_workers() -> None:
        pids = [worker.pid for worker in multiprocessing.active_children()]
        (folder / "workers.json").write_text(json.dumps(pids))

    stage = OwnStage(folder)
    work = ImportWorkers(source, config, 2, stage)
    try:
        return Import(
            PARTITION,
            {},
            DeadlyTable(DeltaTransactions(lake), kill_at),
            file,
            work,
            grouping=Grouping(COMMIT_ROWS, 1),
            check_file=note_workers,
        ).run()
    finally:
        work.close()
        stage.close()
        file.close()


def main(folder: str, kill_at: int) -> None:
    """What the process runs."""
    run(Path(folder), kill_at)
