"""The models of a backtest: trained on its training period, an algorithm in each process.

Never: a row whose label is not known when the test begins.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import msgspec
import numpy as np

from batch.backtest.parts import FoldEnded
from batch.imports.run import NICENESS
from batch.training.labelled import LabelledRows, Period
from batch.training.pipeline import Facts, Fit, train_within
from batch.training.settings import Algorithm, TrainingSettings
from batch.workers import begin_worker

VERSION = 1
"""Of every model that a backtest trains: it is in no registry."""
_ROWS = "rows.npz"

Tell = Callable[[Algorithm], None]
"""An algorithm is done."""


class RunTraining(Protocol):
    """Trains the settings' algorithms, wherever; results in their order."""

    def __call__(
        self, rows: LabelledRows, period: Period, settings: TrainingSettings, facts: Facts, tell: Tell
    ) -> list[Fit]: ...


def train_here(
    rows: LabelledRows, period: Period, settings: TrainingSettings, facts: Facts, tell: Tell
) -> list[Fit]:
    """One algorithm after the other, in this process."""
    found = []
    for algorithm in settings.algorithms:
        found += _train(rows, period, settings, facts, algorithm)
        tell(algorithm)
    return found


def train_in_processes(workers: int) -> RunTraining:
    """An algorithm per process, so many at a time."""

    def run(
        rows: LabelledRows, period: Period, settings: TrainingSettings, facts: Facts, tell: Tell
    ) -> list[Fit]:
        with TemporaryDirectory(prefix="ray-fraud-training-") as name:
            folder = Path(name)
            part = rows.between(*period)
            columns = {name: column for name, column in vars(part).items() if column is not None}
            np.savez(folder / _ROWS, **columns)
            told = folder, period, settings, facts
            pool = ProcessPoolExecutor(workers, get_context("forkserver"), initializer=_begin, initargs=told)
            try:
                futures = {pool.submit(_work, algorithm): algorithm for algorithm in settings.algorithms}
                for future in as_completed(futures):
                    future.result()
                    tell(futures[future])
            except BrokenProcessPool as error:
                raise FoldEnded(
                    "a process that trained ended before its time; there may be too little memory: "
                    "give --workers 1"
                ) from error
            finally:
                pool.shutdown(cancel_futures=True)
            return [fit for future in futures for fit in future.result()]

    return run


def _train(
    rows: LabelledRows, period: Period, settings: TrainingSettings, facts: Facts, algorithm: Algorithm
) -> list[Fit]:
    only = msgspec.structs.replace(settings, algorithms=(algorithm,))
    return train_within(rows, period, only, lambda _: VERSION, facts=facts)


_worker: dict[str, Any] = {}
"""What a process was told."""


def _begin(folder: Path, period: Period, settings: TrainingSettings, facts: Facts) -> None:
    begin_worker(NICENESS)
    with np.load(folder / _ROWS) as arrays:
        rows = LabelledRows(**arrays)
    _worker.update(rows=rows, period=period, settings=settings, facts=facts)


def _work(algorithm: Algorithm) -> Sequence[Fit]:
    return _train(_worker["rows"], _worker["period"], _worker["settings"], _worker["facts"], algorithm)
