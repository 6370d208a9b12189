"""The search's fits as Ray tasks: the rows once in Ray's object store, a few tasks at a time, low priority.

Never: logic.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

from batch.priority import low_priority_env
from batch.training.labelled import Fold, LabelledRows
from batch.training.search import Scores, Task, run_task
from batch.training.settings import Parameters

TASKS = 2
"""At the same time; each has one thread."""
RETRIES = 2
"""Of a task whose process died."""


class OnRay:
    """`RunTasks`; needs a connection to Ray."""

    def __init__(self, tasks: int = TASKS) -> None:
        self._tasks = tasks

    def __call__(
        self, rows: LabelledRows, tasks: Sequence[tuple[Task, Parameters, Fold]], seed: int
    ) -> Iterable[tuple[Task, Scores]]:
        held = (rows.features, rows.fraud, rows.user_ids, rows.event_ms, rows.weights)
        columns: list[Any] = [ray.put(column) for column in held]
        remote: Any = ray.remote(_run).options(
            num_cpus=0, max_retries=RETRIES, runtime_env=low_priority_env()
        )
        waiting, running = list(tasks), dict[Any, Task]()
        while waiting or running:
            while waiting and len(running) < self._tasks:
                task, parameters, fold = waiting.pop(0)
                running[remote.remote(parameters, fold, seed, *columns)] = task
            (done, *_), _ = ray.wait(list(running))
            yield running.pop(done), ray.get(done)


def _run(
    parameters: Parameters,
    fold: Fold,
    seed: int,
    features: NDArray[np.float32],
    fraud: NDArray[np.bool_],
    user_ids: NDArray[np.int64],
    event_ms: NDArray[np.int64],
    weights: NDArray[np.float64] | None,
) -> Scores:
    """In a worker process."""
    return run_task(LabelledRows(features, fraud, user_ids, event_ms, weights), parameters, fold, seed)
