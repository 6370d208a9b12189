"""A training in a process that kills itself at one step: SIGKILL, before or after it.

Its run is put on record as the actor that trains does it. Rows are read, each fit of the search is done, each
file of a model and each hold-out written, each version registered.

Never: a step that is only imagined; rows, verdicts, models and registry are real files and a real PostgreSQL.
"""

import multiprocessing
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec

from batch.schedule.scheduler import Scheduler
from batch.training.job import LabelledHistory, TrainingJob, TrainingPorts
from batch.training.labelled import Fold, LabelledRows
from batch.training.random_forest import ForestParameters
from batch.training.run import lake_history
from batch.training.search import Scores, Task, run_task
from batch.training.settings import Algorithm, IsolationParameters, Parameters, TrainingSettings
from ray_fraud.domain.metrics import TRAINING_METERS
from ray_fraud.domain.promotion import HoldOut
from ray_fraud.stores.connections import (
    Connections,
    KafkaConnection,
    LakeLocation,
    PostgresConnection,
    RedisConnection,
    from_json,
)
from ray_fraud.stores.hold_outs.lake import LakeHoldOuts
from ray_fraud.stores.lake import local_folder
from ray_fraud.stores.ledger.model_events import BY_PLATFORM, Cause
from ray_fraud.stores.ledger.postgres_registry import PostgresRegistry
from ray_fraud.stores.ledger.registry import DEFAULT_SLOT, ModelVersion, NewModel
from ray_fraud.stores.models.lake import LakeModelFiles
from ray_fraud.stores.runs.port import Run, RunKind
from ray_fraud.stores.runs.postgres import PostgresBatchRuns
from ray_fraud.stores.verdicts.postgres import PostgresVerdicts
from ray_fraud.telemetry.meter import Meter
from tests.batch.killed_fold import NEVER, Steps

SETTINGS = TrainingSettings(
    holdout_days=4,
    gap_days=1,
    train_days=6,
    folds=1,
    fold_days=3,
    alerts_per_day=20,
    top_k=10,
    algorithms=(Algorithm.RANDOM_FOREST, Algorithm.ISOLATION_FOREST),
    isolation_forest=(IsolationParameters(trees=5),),
    random_forest=(ForestParameters(trees=5, max_depth=4),),
)
"""Two that are quick: a series of kills has as many trainings twice."""


class TrainingPlace(msgspec.Struct, frozen=True):
    """Where a training works."""

    lake: Path
    postgres: PostgresConnection

    @property
    def connections(self) -> Connections:
        lake = LakeLocation(self.lake.as_uri())
        return Connections(KafkaConnection(""), RedisConnection(""), self.postgres, lake)


class DeadlyRuns(PostgresBatchRuns):
    """Every write of a run is a step."""

    def __init__(self, where: PostgresConnection, steps: Steps) -> None:
        super().__init__(where, kind=RunKind.TRAINING)
        self._steps = steps

    def save(self, run: Run) -> None:
        save = super().save
        self._steps.step(lambda: save(run))


class DeadlyModels(LakeModelFiles):
    """Every file of a model is a step."""

    def __init__(self, lake: Path, steps: Steps) -> None:
        super().__init__(*local_folder(lake))
        self._steps = steps

    def _write(self, path: str, content: bytes) -> None:
        write = super()._write
        self._steps.step(lambda: write(path, content))


class DeadlyHoldOuts(LakeHoldOuts):
    def __init__(self, lake: Path, steps: Steps) -> None:
        super().__init__(*local_folder(lake))
        self._steps = steps

    def put(self, candidate: str, production: str, hold_out: HoldOut) -> None:
        put = super().put
        self._steps.step(lambda: put(candidate, production, hold_out))


class DeadlyRegistry(PostgresRegistry):
    def __init__(self, where: PostgresConnection, steps: Steps) -> None:
        super().__init__(where, name="test training")
        self._steps = steps

    def register(
        self, model: NewModel, slot: str = DEFAULT_SLOT, *, cause: Cause = BY_PLATFORM
    ) -> ModelVersion:
        register = super().register
        return self._steps.step(lambda: register(model, slot, cause=cause))


def train(place: TrainingPlace, kill_at: int = NEVER) -> tuple[Run, int]:
    """The start of an actor and one training in this process, without Ray; its run and the half-steps."""
    steps = Steps(kill_at)
    with ExitStack() as closing:
        verdicts = PostgresVerdicts(place.postgres, name="test training")
        closing.callback(verdicts.close)
        registry = DeadlyRegistry(place.postgres, steps)
        closing.callback(registry.close)
        runs = DeadlyRuns(place.postgres, steps)
        closing.callback(runs.close)
        read = lake_history(place.connections, verdicts, 0.0, time.time)

        def history(settings: TrainingSettings) -> LabelledHistory:
            return steps.step(lambda: read(settings))

        def run_tasks(
            rows: LabelledRows, tasks: Sequence[tuple[Task, Parameters, Fold]], seed: int
        ) -> Iterable[tuple[Task, Scores]]:
            for task, parameters, fold in tasks:
                steps.half()
                scores = run_task(rows, parameters, fold, seed)
                steps.half()
                yield task, scores

        ports = TrainingPorts(
            history, registry, DeadlyModels(place.lake, steps), DeadlyHoldOuts(place.lake, steps)
        )

        def work() -> dict[str, Any]:
            report = TrainingJob(ports, SETTINGS, run_tasks).run(Cause(why="training, by request"))
            plain: dict[str, Any] = msgspec.to_builtins(report)
            return plain

        meter = Meter("training", "test")
        scheduler = Scheduler(
            work, runs, timedelta(days=1), meter, time.time, timedelta(hours=1), TRAINING_METERS
        )
        scheduler.recover()
        scheduler.request()
        run = scheduler.step()
        assert run is not None
        return run, steps.passed


@contextmanager
def trainings(place_file: Path) -> Iterator[Connection]:
    """A process that knows all modules already: send it a half-step and it answers how the training ended.

    Each training is a process of its own, forked off; the answer is a number as `Process.exitcode` has it.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    starter = context.Process(target=_start_trainings, args=(theirs, str(place_file)))
    starter.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        starter.join(30)
        starter.kill()


def _start_trainings(orders: Connection, place_file: str) -> None:
    while True:
        try:
            kill_at = orders.recv()
        except EOFError:
            return
        pid = os.fork()
        if pid == 0:
            train(from_json(Path(place_file).read_bytes(), TrainingPlace), kill_at)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        orders.send(os.waitstatus_to_exitcode(status))
