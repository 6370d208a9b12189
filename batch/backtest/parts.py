"""All parts of a history, folded here or in processes beside each other.

    history → file that all processes share → (a process per part) → features and broken rules, by row

Never: Ray, whose start takes longer than a small file; rows through a pipe.
"""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from batch.backtest.fold_part import FoldSettings, Outcome, fold_part, no_outcome, part_of
from batch.backtest.history import History
from batch.imports.run import NICENESS
from batch.workers import begin_worker
from ray_fraud.domain.features import FEATURE_COUNT
from ray_fraud.domain.labelled_past import LabelledPast

LOOK_SECONDS = 0.5
"""Between two looks at how far the processes are."""
_ROWS, _FEATURES, _MARKS, _DONE = "rows.arrow", "features.npy", "marks.npy", "done.npy"

Tell = Callable[[int, int], None]
"""(rows done, rows in all)."""


class FoldEnded(Exception):
    """A process ended before its time."""


class RunParts(Protocol):
    """Folds a whole history, wherever."""

    def __call__(
        self, history: History, past: LabelledPast, settings: FoldSettings, tell: Tell, /
    ) -> Outcome: ...


def run_here(history: History, past: LabelledPast, settings: FoldSettings, tell: Tell) -> Outcome:
    """All users as one part, in this process."""
    outcome = no_outcome(len(history))
    rows = np.arange(len(history))
    fold_part(history, rows, 0, past, settings, outcome, lambda done: tell(done, len(history)))
    return outcome


def in_processes(parts: int) -> RunParts:
    """A process per part of the users."""

    def run(history: History, past: LabelledPast, settings: FoldSettings, tell: Tell) -> Outcome:
        with TemporaryDirectory(prefix="ray-fraud-backtest-") as name:
            folder = Path(name)
            _share(folder, history, parts)
            told = folder, past, settings, parts
            pool = ProcessPoolExecutor(parts, get_context("forkserver"), initializer=_begin, initargs=told)
            try:
                waiting = {pool.submit(_work, part) for part in range(parts)}
                while waiting:
                    done, waiting = wait(waiting, LOOK_SECONDS)
                    for future in done:
                        future.result()
                    tell(int(_mapped(folder / _DONE).sum()), len(history))
            except BrokenProcessPool as error:
                raise FoldEnded(
                    "a process ended before its time; there may be too little memory: give --workers 1"
                ) from error
            finally:
                pool.shutdown(cancel_futures=True)
            return Outcome(np.load(folder / _FEATURES), np.load(folder / _MARKS))

    return run


def _share(folder: Path, history: History, parts: int) -> None:
    """Files that the processes map: the rows to read, arrays to write."""
    table = history.rows.combine_chunks()
    with (
        pa.OSFile(str(folder / _ROWS), "wb") as file,
        pa.ipc.new_file(file, table.schema) as writer,
    ):
        writer.write_table(table, max_chunksize=max(1, len(history)))
    shapes: dict[str, tuple[tuple[int, ...], Any]] = {
        _FEATURES: ((len(history), FEATURE_COUNT), np.float32),
        _MARKS: ((len(history),), np.uint8),
        _DONE: ((parts,), np.int64),
    }
    for name, (shape, kind) in shapes.items():
        np.lib.format.open_memmap(folder / name, mode="w+", dtype=kind, shape=shape)


def _mapped(file: Path) -> NDArray[Any]:
    mapped: NDArray[Any] = np.load(file, mmap_mode="r+")
    return mapped


_worker: dict[str, Any] = {}
"""What a process was told."""


def _begin(folder: Path, past: LabelledPast, settings: FoldSettings, parts: int) -> None:
    begin_worker(NICENESS)
    _worker.update(folder=folder, past=past, settings=settings, parts=parts)


def _work(part: int) -> None:
    folder = _worker["folder"]
    with pa.memory_map(str(folder / _ROWS)) as file:
        history = History(pa.ipc.open_file(file).read_all())
        rows = np.flatnonzero(part_of(history.user_ids, _worker["parts"]) == part)
        outcome = Outcome(_mapped(folder / _FEATURES), _mapped(folder / _MARKS))
        done = _mapped(folder / _DONE)

        def tell(reached: int) -> None:
            done[part] = reached

        fold_part(history, rows, part, _worker["past"], _worker["settings"], outcome, tell)
