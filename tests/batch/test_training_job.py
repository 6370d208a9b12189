"""A training registers what it can stand for, once per model, whatever store fails on its way."""

import numpy as np
import pytest

from batch.training.boosting import BoostingParameters
from batch.training.job import EVALUATION, LabelledHistory, TrainingJob, TrainingPorts, TrainingReport
from batch.training.labelled import NotEnoughHistory
from batch.training.pipeline import Facts, plan
from batch.training.settings import Algorithm, TrainingSettings
from ray_fraud.scoring.model import Model
from ray_fraud.stores.errors import StoreUnavailable
from ray_fraud.stores.hold_outs.memory import MemoryHoldOuts
from ray_fraud.stores.ledger.memory import MemoryDatabase
from ray_fraud.stores.ledger.memory_registry import MemoryRegistry
from ray_fraud.stores.ledger.model_events import Cause
from ray_fraud.stores.ledger.registry import ModelStatus, NewModel, Share
from ray_fraud.stores.models.memory import MemoryModelFiles
from tests.batch.test_training_pipeline import history
from tests.scoring.sample_models import trained

ROWS = history(days=16, per_day=150)
SETTINGS = TrainingSettings(
    holdout_days=4,
    gap_days=1,
    train_days=6,
    folds=1,
    fold_days=3,
    alerts_per_day=20,
    top_k=10,
    algorithms=(Algorithm.GRADIENT_BOOSTING,),
    gradient_boosting=(BoostingParameters(trees=10, learning_rate=0.3, leaves=4, min_leaf=20),),
)
BECAUSE = Cause(why="a test")


class World:
    def __init__(self) -> None:
        self.database = MemoryDatabase(now_ms=lambda: 1_000)
        self.registry = MemoryRegistry(self.database)
        self.models = MemoryModelFiles()
        self.hold_outs = MemoryHoldOuts()
        self.rows = ROWS

    def run(self) -> TrainingReport:
        ports = TrainingPorts(
            lambda _: LabelledHistory(self.rows, Facts(lake_version=3)),
            self.registry,
            self.models,
            self.hold_outs,
        )
        return TrainingJob(ports, SETTINGS).run(BECAUSE)

    def first_model(self) -> str:
        """The production version of a fresh platform."""
        model = trained()
        manifest, digest = model.manifest, self.models.put(*model)
        row = self.registry.register(NewModel(manifest.model_name, digest, digest, manifest.threshold))
        self.registry.set_split([Share(row.id, ModelStatus.PRODUCTION, 10_000)])
        return digest


def test_a_candidate_is_registered_with_its_evaluation_and_compared() -> None:
    world = World()
    production = world.first_model()
    report = world.run()
    (candidate,) = report.candidates
    assert candidate.label == "gradient_boosting:1"
    assert (report.rows, report.frauds) == (len(ROWS), int(ROWS.fraud.sum()))
    row = next(row for row in world.registry.versions() if row.label == candidate.label)
    assert row.status is ModelStatus.TRAINING
    assert row.metrics[EVALUATION]["average_precision"] == candidate.evaluation.average_precision
    manifest = world.models.load(candidate.digest).manifest
    assert (manifest.version, manifest.threshold) == (row.version, row.threshold)
    hold_out = world.hold_outs.load(candidate.digest, production)
    assert hold_out is not None
    later = ROWS.between(*plan(ROWS, SETTINGS).final.test)
    assert (hold_out.labels == later.fraud).all()
    assert (hold_out.cards == later.user_ids).all()
    assert (hold_out.candidate == Model(*world.models.load(candidate.digest)).score(later.features)).all()
    assert (hold_out.production == Model(*world.models.load(production)).score(later.features)).all()
    assert report.production_evaluation is not None
    assert report.compared == 1
    assert world.registry.history()[-1].reason == "a test"


def test_the_next_training_makes_the_next_version_and_judges_those_under_test() -> None:
    world = World()
    production = world.first_model()
    first = world.run().candidates[0]
    versions = {row.model_digest: row.id for row in world.registry.versions()}
    world.registry.set_split(
        [
            Share(versions[production], ModelStatus.PRODUCTION, 9_500),
            Share(versions[first.digest], ModelStatus.TESTING, 500),
        ]
    )
    world.rows = ROWS.take(np.arange(len(ROWS)) < len(ROWS) - 100)
    report = world.run()
    assert report.candidates[0].label == "gradient_boosting:2"
    assert report.compared == 2
    newer = world.hold_outs.load(first.digest, production)
    assert newer is not None
    assert newer.ends == ROWS.event_ms[-101] / 1000


def test_without_a_production_version_there_is_nothing_to_compare_with() -> None:
    world = World()
    report = world.run()
    assert (report.production, report.compared, len(report.candidates)) == (None, 0, 1)


def test_too_little_history_changes_nothing() -> None:
    world = World()
    world.rows = ROWS.take(ROWS.event_ms < ROWS.event_ms[0])
    with pytest.raises(NotEnoughHistory):
        world.run()
    assert world.registry.versions() == []


class FailsOnce:
    """A store one of whose calls is lost."""

    def __init__(self, store: object, name: str) -> None:
        self._store, self._name = store, name

    def __getattr__(self, name: str) -> object:
        if name == self._name:
            self._name = ""
            raise StoreUnavailable("lake", "lost")
        return getattr(self._store, name)


@pytest.mark.parametrize(
    ("store", "call"), [("models", "put"), ("hold_outs", "put"), ("registry", "register")]
)
def test_a_registered_version_is_always_whole(store: str, call: str) -> None:
    """T43: whatever ends a training before its last step leaves nothing in the registry."""
    world = World()
    production = world.first_model()
    whole = getattr(world, store)
    setattr(world, store, FailsOnce(whole, call))
    with pytest.raises(StoreUnavailable):
        world.run()
    setattr(world, store, whole)
    assert len(world.registry.versions()) == 1
    candidate = world.run().candidates[0]
    assert candidate.label == "gradient_boosting:1"
    assert world.models.load(candidate.digest)
    assert world.hold_outs.load(candidate.digest, production) is not None
