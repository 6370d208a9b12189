"""T43: SIGKILL to a real training at every step: no half version, no endless run, and the next one works.

One platform sees the whole series: what each killed training left is there when the next one comes.
"""

import signal
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from batch.ingest.columns import NOTE, OUTCOME, rows_of
from batch.training.job import EVALUATION
from batch.training.labelled import LabelledRows
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.features import FEATURE_NAMES
from ray_fraud.domain.metrics import RunStatus
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.stores.connections import LakeLocation, PostgresConnection, to_json
from ray_fraud.stores.hold_outs.lake import LakeHoldOuts
from ray_fraud.stores.lake import local_folder
from ray_fraud.stores.ledger.migrate import migrate
from ray_fraud.stores.ledger.postgres_registry import PostgresRegistry
from ray_fraud.stores.ledger.registry import ModelStatus, ModelVersion, NewModel, Share
from ray_fraud.stores.models.lake import LakeModelFiles
from ray_fraud.stores.runs.port import Run, RunKind
from ray_fraud.stores.runs.postgres import PostgresBatchRuns
from ray_fraud.stores.tables.delta import DeltaTransactions
from ray_fraud.stores.tables.feature_columns import FEATURE_SCHEMA, ML_FEATURES
from ray_fraud.stores.tables.port import Append, ReadRange
from ray_fraud.stores.tables.positioned import Move, PositionedTable
from ray_fraud.stores.verdicts.port import NewVerdict
from ray_fraud.stores.verdicts.postgres import PostgresVerdicts
from tests.batch import killed_training
from tests.batch.killed_training import TrainingPlace
from tests.batch.test_training_pipeline import history
from tests.domain.samples import NOW_MS, record, transaction
from tests.scoring.sample_models import trained

CANDIDATES = 2
PARTITION = PartitionId("cluster", "topic", 0)
FIRST_MS = NOW_MS - NOW_MS % 86_400_000
PATIENCE_SECONDS = 60
DIED_IN_TIME = -signal.SIGKILL


@dataclass
class Scene:
    """A lake with sixteen labelled days, a database that has their verdicts, and a version in production."""

    place: TrainingPlace
    production: str
    registry: PostgresRegistry
    runs: PostgresBatchRuns

    def candidates(self) -> list[ModelVersion]:
        return [row for row in self.registry.versions() if row.model_digest != self.production]

    def check_whole(self) -> None:
        """Every registered version has what its test and its promotion need, and the next number."""
        folder = local_folder(self.place.lake)
        models, hold_outs = LakeModelFiles(*folder), LakeHoldOuts(*folder)
        numbers: dict[str, list[int]] = {}
        for row in self.registry.versions():
            numbers.setdefault(row.model_name, []).append(row.version)
        for row in self.candidates():
            manifest = models.load(row.model_digest).manifest
            assert (manifest.label, manifest.threshold) == (row.label, row.threshold)
            assert hold_outs.load(row.model_digest, self.production) is not None, row.label
            assert EVALUATION in row.metrics
            assert row.status is ModelStatus.TRAINING
        for found in numbers.values():
            assert found == list(range(1, len(found) + 1))

    def last(self, count: int = 1_000) -> Sequence[Run]:
        return self.runs.last(count)


def fill_lake(location: LakeLocation, rows: LabelledRows) -> None:
    """The rows as the fold writes them, and of the transactions the newest one, which tells the time."""
    count = len(rows)
    times = pa.array(1_000 * rows.event_ms, pa.timestamp("us", "UTC"))
    plain = {"topic_id": "topic", "partition": 0}
    columns: dict[str, pa.Array] = {
        **{name: pa.array([value] * count) for name, value in plain.items()},
        "offset": pa.array(range(count)),
        "transaction_id": pa.array([f"t{number}" for number in range(count)]),
        "user_id": pa.array(rows.user_ids),
        "feature_tables": pa.nulls(count),
        **{
            name: pa.array(rows.features[:, index], from_pandas=True)
            for index, name in enumerate(FEATURE_NAMES)
        },
        **{name: times.cast(FEATURE_SCHEMA.field(name).type) for name in FEATURE_SCHEMA.names[-3:]},
    }
    table = PositionedTable(location, ML_FEATURES, FEATURE_SCHEMA)
    table.create()
    made = pa.table({name: columns[name] for name in FEATURE_SCHEMA.names}).cast(FEATURE_SCHEMA)
    table.commit("run", [Move("test", None, 1)], table.write_files(made), {})
    newest = record(0, transaction(seconds=(int(rows.event_ms[-1]) - NOW_MS) / 1000))
    accepted = rows_of([newest], PARTITION, 0, 1, Decoder(None), DetectionSettings()).drop_columns(
        [OUTCOME, NOTE]
    )
    transactions = DeltaTransactions(location)
    transactions.create()
    files = transactions.write_files(accepted)
    transactions.append(Append("run", [ReadRange(PARTITION, "transactions", 0, 1, 1, {}, 0)], files))


@pytest.fixture
def scene(fresh_database: PostgresConnection, tmp_path: Path) -> Iterator[Scene]:
    migrate(fresh_database)
    drawn = history(days=16, per_day=100)
    rows = LabelledRows(drawn.features, drawn.fraud, drawn.user_ids, drawn.event_ms + FIRST_MS)
    place = TrainingPlace(tmp_path / "lake", fresh_database)
    place.lake.mkdir()
    fill_lake(place.connections.lake, rows)
    with closing(PostgresVerdicts(fresh_database)) as verdicts:
        verdicts.add(
            [
                NewVerdict(
                    transaction_id=f"t{number}",
                    user_id=int(rows.user_ids[number]),
                    fraud=True,
                    event_ms=int(rows.event_ms[number]),
                )
                for number in np.flatnonzero(rows.fraud).tolist()
            ]
        )
    with (
        closing(PostgresRegistry(fresh_database)) as registry,
        closing(PostgresBatchRuns(fresh_database, kind=RunKind.TRAINING)) as runs,
    ):
        first = trained()
        digest = LakeModelFiles(*local_folder(place.lake)).put(*first)
        row = registry.register(NewModel("isolation_forest", digest, digest, first.manifest.threshold))
        registry.set_split([Share(row.id, ModelStatus.PRODUCTION, 10_000)])
        yield Scene(place, digest, registry, runs)


@pytest.mark.timeout(240)
def test_a_training_killed_at_any_step_leaves_nothing_half_and_the_next_one_works(
    scene: Scene, tmp_path: Path
) -> None:
    whole, half_steps = killed_training.train(scene.place)
    assert whole.status is RunStatus.DONE, whole.error
    assert len(scene.candidates()) == CANDIDATES
    scene.check_whole()
    assert half_steps == 2 * (2 + 1 + 2 + CANDIDATES * (3 + 1 + 1))
    file = tmp_path / "place.json"
    file.write_bytes(to_json(scene.place))

    registered_by_the_killed = set()
    with killed_training.trainings(file) as orders:
        # Between two steps nothing is kept: it is enough to die before each one, and at the end.
        for kill_at in (*range(0, half_steps, 2), half_steps - 1):
            before = {row.id for row in scene.candidates()}
            ended = {run.run_id for run in scene.last()}
            orders.send(kill_at)
            assert orders.poll(PATIENCE_SECONDS), kill_at
            assert orders.recv() == DIED_IN_TIME, kill_at
            scene.check_whole()
            made = {row.id for row in scene.candidates()} - before
            registered_by_the_killed.add(len(made))
            left = [run for run in scene.last() if run.run_id not in ended]
            expected = RunStatus.DONE if kill_at == half_steps - 1 else RunStatus.RUNNING
            assert [run.status for run in left] == [expected] * (kill_at > 0), kill_at

            following, _ = killed_training.train(scene.place)
            assert following.status is RunStatus.DONE, following.error
            scene.check_whole()
            assert len(scene.candidates()) == len(before) + len(made) + CANDIDATES
            closed = {run.run_id: run for run in scene.last()}
            assert not any(run.status is RunStatus.RUNNING for run in closed.values())
            for run in left:
                told = closed[run.run_id]
                assert told.status is (RunStatus.DONE if expected is RunStatus.DONE else RunStatus.FAILED)
                assert told.status is RunStatus.DONE or "interrupted" in (told.error or "")
    assert registered_by_the_killed == {0, 1, 2}


def test_a_run_of_another_kind_is_left_alone(scene: Scene) -> None:
    """A batch that goes on meanwhile is not the training's to close."""
    with closing(PostgresBatchRuns(scene.place.postgres)) as batches:
        batches.save(Run(uuid.uuid4(), 1_790_000_000.0, "schedule", RunStatus.RUNNING))
        killed_training.train(scene.place)
        assert [run.status for run in batches.last(5)] == [RunStatus.RUNNING]
