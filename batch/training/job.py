"""One training: labelled rows → candidates → files → comparisons with production → registry.

    rows → train → per model: file, hold-out beside production's scores, and last its row in the registry

A registered version therefore has all that its test and promotion need; a killed training leaves files
that nobody names. The rules of promotion do the rest.

Never: a split changed; a version registered before its files are there.
"""

import logging
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import msgspec

from batch.training.labelled import LabelledRows
from batch.training.pipeline import Facts, Trained, held_out, plan, train
from batch.training.search import RunTasks, Scores, Tell, run_here, untold
from batch.training.settings import Algorithm, TrainingSettings
from ray_fraud.domain.evaluation import Evaluation
from ray_fraud.domain.promotion import HoldOut
from ray_fraud.domain.windows import DAY_MS
from ray_fraud.scoring.model import Model
from ray_fraud.stores.hold_outs.port import HoldOuts
from ray_fraud.stores.ledger.model_events import Cause
from ray_fraud.stores.ledger.registry import LIVE, ModelStatus, ModelVersion, NewModel, Registry
from ray_fraud.stores.models.port import ModelFiles

logger = logging.getLogger(__name__)

EVALUATION = "evaluation"
"""Where the registry's metrics have the figures of the hold-out."""


class Candidate(msgspec.Struct, frozen=True):
    """A version that this training has registered."""

    label: str
    digest: str
    cross_validation: float
    tried: int
    """Choices of parameters."""
    evaluation: Evaluation


class TrainingReport(msgspec.Struct):
    """What one training did."""

    rows: int = 0
    frauds: int = 0
    labelled: int = 0
    """All rows with a label, of which `rows` are a sample where they are fewer."""
    first_ms: int | None = None
    """Event times of the first and the last labelled row, unix milliseconds."""
    last_ms: int | None = None
    candidates: list[Candidate] = []
    """Best in cross-validation first."""
    production: str | None = None
    production_evaluation: Evaluation | None = None
    """On the same hold-out."""
    compared: int = 0
    """Versions whose scores now lie beside production's on this hold-out."""
    seconds: float = 0.0


class LabelledHistory(NamedTuple):
    rows: LabelledRows
    facts: Facts
    until_ms: int | None = None
    """Where the hold-out ends, unix milliseconds; None: with the last row."""


class History(Protocol):
    def __call__(self, settings: TrainingSettings) -> LabelledHistory:
        """All labelled rows that a training may look at.

        Raises:
            StoreError: lake or PostgreSQL did not answer.
        """


class TrainingPorts(NamedTuple):
    history: History
    registry: Registry
    models: ModelFiles
    hold_outs: HoldOuts


class TrainingJob:
    """The steps, with their outside given, so that each can be made to fail."""

    def __init__(
        self,
        ports: TrainingPorts,
        settings: TrainingSettings,
        run_tasks: RunTasks = run_here,
        tell: Tell = untold,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._ports = ports
        self._settings = settings
        self._run_tasks = run_tasks
        self._tell = tell
        self._now = now

    def run(self, cause: Cause) -> TrainingReport:
        """Trains and registers.

        Raises:
            NotEnoughHistory: nothing was made.
            ExportMismatch: nothing was registered; a defect.
            StoreError: what was registered before stays, and is whole.
        """
        began = self._now()
        history = self._ports.history(self._settings)
        rows = history.rows
        report = TrainingReport(len(rows), int(rows.fraud.sum()), round(rows.represented))
        if rows.weights is not None:
            logger.info("training: a sample of %d of %d rows; see max_rows", len(rows), report.labelled)
        if len(rows):
            report.first_ms, report.last_ms = int(rows.event_ms[0]), int(rows.event_ms[-1])
        versions = self._ports.registry.versions()
        trained = train(
            rows,
            self._settings,
            lambda algorithm: next_version(versions, algorithm),
            until_ms=history.until_ms,
            facts=history.facts,
            run_tasks=self._run_tasks,
            tell=self._tell,
        )
        periods = plan(rows, self._settings, history.until_ms)
        holdout = held_out(rows, periods.final, self._settings)
        production = next((row for row in versions if row.status is ModelStatus.PRODUCTION), None)
        beside = None if production is None else self._scores(production, holdout)
        if production is not None and beside is not None:
            report.production = production.label
            report.production_evaluation = holdout.evaluate(
                beside,
                production.threshold,
                period_days=self._settings.holdout_days,
                k=self._settings.top_k,
                late_share=history.facts.late_share,
            )
            report.compared += self._compare_tested(versions, production, beside, holdout)
        for each in trained:
            digest = self._ports.models.put(*each.model)
            if production is not None and beside is not None:
                self._ports.hold_outs.put(
                    digest, production.model_digest, hold_out(holdout, each.holdout_scores, beside)
                )
                report.compared += 1
            report.candidates.append(self._register(each, digest, cause))
        report.seconds = self._now() - began
        return report

    def _register(self, trained: Trained, digest: str, cause: Cause) -> Candidate:
        manifest = trained.model.manifest
        metrics = {
            EVALUATION: msgspec.to_builtins(trained.evaluation),
            "cross_validation": trained.cross_validation,
            "training_rows": manifest.training.rows,
            "alert_share": manifest.training.alert_share,
        }
        row = self._ports.registry.register(
            NewModel(manifest.model_name, digest, digest, manifest.threshold, metrics), cause=cause
        )
        logger.info("training: registered %s", row.label)
        return Candidate(row.label, digest, trained.cross_validation, trained.tried, trained.evaluation)

    def _scores(self, version: ModelVersion, holdout: LabelledRows) -> Scores:
        return Model(*self._ports.models.load(version.model_digest)).score(holdout.features)

    def _compare_tested(
        self,
        versions: Sequence[ModelVersion],
        production: ModelVersion,
        beside: Scores,
        holdout: LabelledRows,
    ) -> int:
        """Versions under test are judged by newer transactions, too."""
        tested = [row for row in versions if row.status in LIVE and row.id != production.id]
        for row in tested:
            self._ports.hold_outs.put(
                row.model_digest,
                production.model_digest,
                hold_out(holdout, self._scores(row, holdout), beside),
            )
        return len(tested)


def hold_out(rows: LabelledRows, candidate: Scores, production: Scores) -> HoldOut:
    """The rows with both models' scores."""
    return HoldOut(
        labels=rows.fraud,
        cards=rows.user_ids,
        days=rows.event_ms // DAY_MS,
        candidate=candidate,
        production=production,
        begins=float(rows.event_ms[0]) / 1000,
        ends=float(rows.event_ms[-1]) / 1000,
    )


def next_version(versions: Sequence[ModelVersion], algorithm: Algorithm) -> int:
    """The number that the registry gives to the next version of that name."""
    numbers = [row.version for row in versions if row.model_name == algorithm.value]
    return max(numbers, default=0) + 1
