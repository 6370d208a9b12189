"""Whatever ends a job of features, and wherever: each record is once in each table, as it was online."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from batch.features.job import FeatureJob, PartitionFacts
from ray_fraud.domain.features import FEATURE_NAMES
from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.errors import StoreUnavailable
from ray_fraud.stores.faults import Crashed, Fault, FaultPlan
from ray_fraud.stores.snapshots.memory import MemorySnapshotStore
from ray_fraud.stores.tables.feature_columns import FEATURE_SCHEMA, ML_FEATURES, SCORE_SCHEMA, SCORES
from ray_fraud.stores.tables.port import DataFile, TableMoved
from ray_fraud.stores.tables.positioned import Move, PositionedTable
from tests.batch.fold_world import PARTITION, PRESENT, FoldWorld, Online
from tests.oracle.controls import Changes
from tests.oracle.streams import StreamOptions, make_stream

RECORDS = 240
STRETCH = 130
CHANGES = Changes(settings=0, splits=2, quarantines=1, gaps=0, refreshes=1, max_events=8, idle_hours=24)


class FaultyTable(PositionedTable):
    """Every write is a step of a plan."""

    def __init__(self, location: LakeLocation, name: str, schema: pa.Schema, plan: FaultPlan) -> None:
        super().__init__(location, name, schema)
        self._plan = plan

    def write_files(self, rows: pa.Table) -> list[DataFile]:
        return self._plan.step(
            "lake", f"write {self.name}", lambda: super(FaultyTable, self).write_files(rows)
        )

    def commit(
        self, run_id: str, moves: Sequence[Move], files: Sequence[DataFile], facts: Mapping[str, str]
    ) -> int:
        commit = super().commit
        return self._plan.step("lake", f"commit {self.name}", lambda: commit(run_id, moves, files, facts))


class FaultyWorld(FoldWorld):
    """The tables and the states of a job go through one plan."""

    def use(self, plan: FaultPlan) -> FaultPlan:
        location = LakeLocation(self.folder.as_uri())
        self.features = FaultyTable(location, ML_FEATURES, FEATURE_SCHEMA, plan)
        self.scores = FaultyTable(location, SCORES, SCORE_SCHEMA, plan)
        self.states = MemorySnapshotStore(self.states.contents, plan)
        return plan


def world(folder: Path) -> tuple[FaultyWorld, Online]:
    stream = make_stream(StreamOptions(seed=81, records=RECORDS, users=20, changes=CHANGES))
    made = FaultyWorld(folder, stream.records, stream.timeline)
    online = made.decide_online()
    made.ingest(made.end)
    return made, online


def assert_once(made: FoldWorld, online: Online) -> None:
    rows = made.features.read([])
    offsets = rows["offset"].to_pylist()
    assert sorted(offsets) == sorted(online.features)
    values = np.column_stack([rows[name].to_numpy() for name in FEATURE_NAMES])
    for offset, row in zip(offsets, values, strict=True):
        np.testing.assert_array_equal(row, online.features[offset])
    scores = made.scores.read([], ["offset", "model"])
    places = list(zip(*scores.to_pydict().values(), strict=True))
    assert len(set(places)) == len(places) == len(offsets) * len(PRESENT.arms)


def steps_of_a_job(folder: Path) -> int:
    made, online = world(folder)
    plan = made.use(FaultPlan())
    made.fold(stretch_records=STRETCH)
    assert_once(made, online)
    return plan.steps


@pytest.mark.timeout(400)
@pytest.mark.parametrize("fault", [Fault.CRASH_BEFORE, Fault.CRASH_AFTER])
def test_a_crash_at_any_step_loses_nothing_and_doubles_nothing(tmp_path: Path, fault: Fault) -> None:
    steps = steps_of_a_job(tmp_path / "whole")
    assert steps >= 10
    for step in range(steps):
        made, online = world(tmp_path / f"{step}")
        made.use(FaultPlan([*[Fault.OK] * step, fault]))
        with pytest.raises(Crashed):
            made.fold(stretch_records=STRETCH)
        made.use(FaultPlan())
        # The next job need not cut the log where the last one did.
        made.fold(stretch_records=STRETCH + 40)
        assert_once(made, online)


def test_a_commit_whose_reply_is_lost_is_found(tmp_path: Path) -> None:
    made, online = world(tmp_path)
    for table in (made.scores, made.features):
        table.create()
    located = LakeLocation(made.folder.as_uri())
    lossy = FaultPlan([Fault.FAIL_AFTER])
    for name, schema in ((SCORES, SCORE_SCHEMA), (ML_FEATURES, FEATURE_SCHEMA)):
        faulty = FaultyTable(located, name, schema, lossy)
        with pytest.raises(StoreUnavailable):
            faulty.commit("run", [Move("one", None, 5)], [], {})
        version = faulty.commit("run", [Move("one", None, 5)], [], {})
        assert (version, faulty.position("one")) == (1, 5)
        with pytest.raises(TableMoved):
            faulty.commit("another run", [Move("one", None, 5)], [], {})
        lossy = FaultPlan([Fault.FAIL_AFTER])
    made.fold(stretch_records=STRETCH)
    assert_once(made, online)


def test_of_two_jobs_at_once_one_is_refused_whole(tmp_path: Path) -> None:
    made, online = world(tmp_path)
    facts = PartitionFacts(tuple(made.timeline), made.decided)

    def overtaken(stretches: list) -> list:  # type: ignore[type-arg]
        reports = made.fold_all(stretches)
        made.fold(stretch_records=STRETCH)
        return reports

    slow = FeatureJob(made.features, made.scores, lambda _: facts, lambda: PRESENT, overtaken, STRETCH)
    with pytest.raises(TableMoved):
        slow.run({PARTITION: made.ingested})
    assert_once(made, online)
    assert made.fold().rows == 0
