"""The search: every choice of parameters on every fold, each a task that may run anywhere.

    rows + (algorithm, parameters, fold) … → scores of each fold's test rows → average precision by choice

Never: the hold-out; a task that needs more than rows and its own lines.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from batch.training.boosting import BoostingParameters
from batch.training.fit import fit
from batch.training.labelled import Fold, LabelledRows, both_classes
from batch.training.random_forest import ForestParameters
from batch.training.settings import Algorithm, IsolationParameters, Parameters, TrainingSettings
from ray_fraud.domain.measures import average_precision

Scores = NDArray[np.float64]
Tell = Callable[[int, int], None]
"""(fits done, fits in all)."""


def untold(done: int, in_all: int) -> None:
    """Nobody wants to know."""


class Task(msgspec.Struct, frozen=True):
    """One fit and the scores of one later period."""

    algorithm: Algorithm
    choice: int
    """Position among the algorithm's parameters."""
    fold: int


class RunTasks(Protocol):
    """Runs every task, in any order and place; results as they come."""

    def __call__(
        self, rows: LabelledRows, tasks: Sequence[tuple[Task, Parameters, Fold]], seed: int
    ) -> Iterable[tuple[Task, Scores]]: ...


class Choice(msgspec.Struct, frozen=True):
    """The parameters of one algorithm that did best, and what they gave on rows they had not seen."""

    algorithm: Algorithm
    parameters: IsolationParameters | ForestParameters | BoostingParameters
    average_precision: float
    """Mean over the folds."""
    tried: int
    unseen: tuple[Scores, ...]
    """Scores of each fold's test rows, in the order of the rows."""


def run_task(rows: LabelledRows, parameters: Parameters, fold: Fold, seed: int) -> Scores:
    """Fits on the fold's training rows and scores its test rows.

    Raises:
        ValueError: the training rows have one class only.
    """
    fitted = fit(rows.between(*fold.train), parameters, version=1, seed=seed)
    return fitted.model.score(rows.between(*fold.test).features)


def run_here(
    rows: LabelledRows, tasks: Sequence[tuple[Task, Parameters, Fold]], seed: int
) -> Iterable[tuple[Task, Scores]]:
    """One task after the other, in this process."""
    for task, parameters, fold in tasks:
        yield task, run_task(rows, parameters, fold, seed)


def search(
    rows: LabelledRows,
    folds: Sequence[Fold],
    settings: TrainingSettings,
    run_tasks: RunTasks,
    tell: Tell = untold,
) -> list[Choice]:
    """The best parameters of each algorithm that the labels allow, best algorithm first.

    Args:
        rows: all labelled rows.
        folds: see `labelled.time_folds`; one without a fraud in its test rows is left out.
        settings: algorithms, parameters, seed.
        run_tasks: where the fits run.
        tell: (fits done, fits in all).
    """
    telling = [fold for fold in folds if rows.between(*fold.test).fraud.any()]
    supervised = all(both_classes(rows.between(*fold.train)) for fold in telling)
    tasks = [
        (Task(algorithm, choice, number), parameters, fold)
        for algorithm in settings.algorithms
        if supervised or algorithm is Algorithm.ISOLATION_FOREST
        for choice, parameters in enumerate(settings.candidates(algorithm))
        for number, fold in enumerate(telling)
    ]
    scores: dict[Task, Scores] = {}
    tell(0, len(tasks))
    for task, values in run_tasks(rows, tasks, settings.seed):
        scores[task] = values
        tell(len(scores), len(tasks))
    tests = [rows.between(*fold.test) for fold in telling]
    found = [
        _best(algorithm, settings, scores, tests)
        for algorithm in settings.algorithms
        if any(task.algorithm is algorithm for task in scores)
    ]
    return sorted(found, key=lambda choice: -choice.average_precision)


def _best(
    algorithm: Algorithm,
    settings: TrainingSettings,
    scores: dict[Task, Scores],
    tests: Sequence[LabelledRows],
) -> Choice:
    candidates = settings.candidates(algorithm)
    means = [
        float(
            np.mean(
                [
                    average_precision(test.fraud, scores[Task(algorithm, choice, fold)], test.weights)
                    for fold, test in enumerate(tests)
                ]
            )
        )
        for choice in range(len(candidates))
    ]
    best = int(np.argmax(means))  # the first of equals
    unseen = tuple(scores[Task(algorithm, best, fold)] for fold in range(len(tests)))
    return Choice(algorithm, candidates[best], means[best], len(candidates), unseen)
