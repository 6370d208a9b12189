"""The whole loop in one command: verdicts, a training, a test beside production, a promotion, all unattended.

    bring up → history, judged as it comes → train → test → more days, judged → promotion → what it was worth

Weeks of event time pass in minutes: the generator replays them, a simulated analyst judges alerts and brings
chargebacks with the delays of that time, and the cold path runs its own schedule meanwhile. In the end the
first model and the promoted one are compared with the ground truth on days that neither was trained on.

Never: printing; a step that a platform would not do by itself (only waiting for its schedule is cut short).
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np

from batch.training.labelled import LabelledRows
from batch.training.lake_rows import COLUMNS, labelled_rows
from cluster.local.bench.children import end
from cluster.local.cold_path_client import (
    NoColdPath,
    batch_status,
    run_batch,
    run_training,
    training_status,
)
from cluster.local.failures import GeneratorError
from cluster.local.hot_path import hot_path_status
from cluster.local.running import Running, bring_down, bring_up
from cluster.local.split_in_force import wait_in_force
from cluster.local.stack import LocalStack
from ray_fraud.domain.batch_settings import (
    BatchSettings,
    FeatureSettings,
    PromotionSettings,
    TrainingPeriods,
)
from ray_fraud.domain.evaluation import Evaluation
from ray_fraud.domain.known_labels import KnownLabels
from ray_fraud.domain.verdicts import Origin, Verdict
from ray_fraud.generator.label_log import open_label_log
from ray_fraud.scoring.model import Model
from ray_fraud.stores.lake import lake_filesystem
from ray_fraud.stores.ledger.model_events import EventAction, ModelEvent
from ray_fraud.stores.ledger.postgres import PostgresLedger
from ray_fraud.stores.ledger.postgres_registry import PostgresRegistry
from ray_fraud.stores.ledger.postgres_session import PATIENT
from ray_fraud.stores.ledger.registry import ModelVersion
from ray_fraud.stores.models.lake import LakeModelFiles
from ray_fraud.stores.tables.feature_columns import ML_FEATURES
from ray_fraud.stores.tables.period import PeriodRows

Progress = Callable[[str], None]

DAY_SECONDS = 86_400
START = datetime(2026, 5, 1, tzinfo=UTC).timestamp()
PATIENCE_SECONDS = 900.0
SETTLE_SECONDS = 300.0
TICK_SECONDS = 1.0
READ_ROWS = 50_000
NAME = "ray-fraud demo"
SCENARIOS = ("card_testing", "terminal_compromise", "stolen_card", "account_takeover")
"""Frauds of one user or one merchant: what a model of single transactions can learn."""
LEARNING = BatchSettings(
    interval_minutes=0.5,
    features=FeatureSettings(label_maturity_days=2.0, refresh_minutes=360.0),
    training=TrainingPeriods(
        interval_hours=8_784.0,
        new_verdicts=1_000_000,
        holdout_days=7.0,
        gap_days=2.0,
        train_days=13.0,
        folds=2,
        fold_days=5.0,
        alerts_per_day=80.0,
        top_k=20,
    ),
    promotion=PromotionSettings(test_percent=30.0),
)
"""Weeks instead of months; a training only when this command asks for it."""


@dataclass(frozen=True, slots=True)
class LearningPlan:
    history_days: float = 36.0
    test_days: float = 12.0
    users: int = 400
    fraud_share: float = 0.03
    days_per_minute: float = 15.0
    """Event time per minute of the stream."""
    seed: int = 42


class Judged(msgspec.Struct, frozen=True):
    """One model on the last days, against the ground truth."""

    model: str
    evaluation: Evaluation


class LearningStep(msgspec.Struct, frozen=True):
    """Something that happened to model versions."""

    at_ms: int
    action: EventAction
    models: tuple[str, ...]
    """Those whose status or share it changed, production's among them."""
    production: str | None
    """Afterwards."""
    reason: str


class LearningResult(msgspec.Struct, frozen=True):
    first: Judged
    promoted: Judged | None
    """None: no candidate was good enough."""
    training: dict[str, Any]
    """See `batch.training.job.TrainingReport`."""
    steps: Sequence[LearningStep]
    """All that happened to model versions, oldest first."""
    verdicts: dict[str, int]
    """Of the simulated analyst, by kind."""
    seconds: float


def run_learning(stack: LocalStack, plan: LearningPlan, progress: Progress) -> LearningResult:
    """Runs the whole loop on a stack of its own and ends it.

    Raises:
        LocalStackError, StoreError, HotPathNotReady, NoColdPath, GeneratorError, TimeoutError: the message
            says what to do.
    """
    began = time.monotonic()
    try:
        running = bring_up(stack, progress, batch=LEARNING)
        # Without it the days would pass before features hear of the first verdict.
        progress("waiting for the cold path")
        batch_status(0, PATIENCE_SECONDS)
        training_status(0, PATIENCE_SECONDS)
        verdicts = _judged_days(stack, plan, START, plan.history_days, progress)
        _batch(progress, "the lake is brought up to date")
        progress("training on what the verdicts say")
        trained = run_training(_Fits(progress), PATIENCE_SECONDS)
        if trained["status"] != "done":
            raise NoColdPath(f"the training failed: {trained['error']}")
        _batch(progress, "candidates go into their test")
        _wait_until_decided_by(running)
        test_start = START + plan.history_days * DAY_SECONDS
        for kind, number in _judged_days(stack, plan, test_start, plan.test_days, progress).items():
            verdicts[kind] += number
        _batch(progress, "the rules of promotion decide")
        progress("comparing with the ground truth")
        result = _compared(running, plan, test_start, trained["report"], verdicts, time.monotonic() - began)
    except BaseException:
        bring_down(stack, progress)
        raise
    bring_down(stack, progress)
    return result


class _Fits:
    """A line whenever there are more."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._last = progress, -1

    def __call__(self, done: int, in_all: int) -> None:
        if done != self._last:
            self._last = done
            self._progress(f"training: {done} of {in_all} fits")


def _judged_days(
    stack: LocalStack, plan: LearningPlan, start: float, days: float, progress: Progress
) -> dict[str, int]:
    """Streams so many days and has them judged while they come; the verdicts by kind."""
    first = datetime.fromtimestamp(start, UTC)
    progress(f"{days:g} days from {first:%Y-%m-%d}, judged as they come")
    speed = plan.days_per_minute * DAY_SECONDS / 60.0
    scenarios = [text for name in SCENARIOS for text in ("--scenario", name)]
    generator = [
        "generate", "--start", f"{first:%Y-%m-%dT%H:%M:%S}", "--days", str(days), "--speed", str(speed),
        "--users", str(plan.users), "--seed", str(plan.seed),
        "--fraud-share", str(plan.fraud_share), *scenarios,
    ]  # fmt: skip
    analyst = [
        "verdicts", "simulate", "--event-time", "--delay", "21600", "--capacity-per-day", "60",
        "--chargeback-delay", str(2 * DAY_SECONDS),
    ]  # fmt: skip
    with ExitStack() as closing_:
        judging = closing_.enter_context(_child(stack, analyst))
        sending = closing_.enter_context(_child(stack, generator))
        _wait_for(sending, "the generator", PATIENCE_SECONDS)
        _settle()
        judging.terminate()
        output = _wait_for(judging, "the simulated analyst", SETTLE_SECONDS)
    last = _report(_run_to_end(stack, [*analyst, "--seconds", "0"]))
    during = _report(output)
    kinds = ("true_fraud", "false_positive", "chargebacks")
    return {kind: int(during[kind]) + int(last[kind]) for kind in kinds}


@contextmanager
def _child(stack: LocalStack, arguments: Sequence[str]) -> "Iterator[subprocess.Popen[bytes]]":
    """A command of ours as a process that ends with the block."""
    place = ["--data-dir", str(stack.paths.data_dir), "--output", "json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "ray_fraud.cli", *arguments, *place],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        end(process)


def _wait_for(process: "subprocess.Popen[bytes]", what: str, seconds: float) -> bytes:
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"{what} has not ended within {seconds:.0f} s") from error
    if process.returncode != 0:
        raise GeneratorError(f"{what} ended with exit code {process.returncode}; run it alone to see why")
    return output


def _run_to_end(stack: LocalStack, arguments: Sequence[str]) -> bytes:
    with _child(stack, arguments) as process:
        return _wait_for(process, " ".join(arguments[:2]), SETTLE_SECONDS)


def _report(output: bytes) -> dict[str, Any]:
    data: dict[str, Any] = msgspec.json.decode(output)["data"]
    return data


def _settle() -> None:
    """Waits until all that was sent has been decided."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline:
        partitions = hot_path_status()["partitions"]
        if all((p.get("log_end") or 0) <= p.get("settled_offset", -1) for p in partitions):
            return
        time.sleep(TICK_SECONDS)
    raise TimeoutError(f"the stream has not settled within {SETTLE_SECONDS:.0f} s")


def _batch(progress: Progress, what: str) -> None:
    """One run of the cold path, and what its rules of promotion did."""
    progress(what)
    done = run_batch(lambda _: None, PATIENCE_SECONDS)
    if done["status"] != "done":
        raise NoColdPath(f"the cold path failed: {done['error']}")
    models = done["report"]["models"]
    if "failed" in models:
        raise NoColdPath(f"the rules of promotion failed: {models['failed']}")
    for step in models["steps"]:
        progress(f"{step['model']} {step['outcome'].replace('_', ' ')}: {'; '.join(step['reasons'])}")


def _wait_until_decided_by(running: Running) -> None:
    """Waits until every partition decides by the registry's present split: no day is tested by another."""
    postgres = running.config.connections.postgres
    with ExitStack() as closing_:
        registry = closing_.enter_context(closing(PostgresRegistry(postgres, name=NAME, limits=PATIENT)))
        ledger = closing_.enter_context(closing(PostgresLedger(postgres, name=NAME, limits=PATIENT)))
        found = wait_in_force(ledger, registry.current_split().digest, SETTLE_SECONDS)
    behind = [str(each.partition) for each in found if not each.known]
    if behind:
        raise TimeoutError(
            f"partitions {', '.join(behind)} do not decide by the new split within {SETTLE_SECONDS:.0f} s"
        )


def _compared(
    running: Running,
    plan: LearningPlan,
    from_seconds: float,
    training: dict[str, Any],
    verdicts: dict[str, int],
    seconds: float,
) -> LearningResult:
    connections = running.config.connections
    with closing(PostgresRegistry(connections.postgres, name=NAME, limits=PATIENT)) as registry:
        versions, events = registry.versions(), registry.history()
    rows = _true_rows(running, from_seconds, plan.test_days)
    files = LakeModelFiles(*lake_filesystem(connections.lake))

    def judged(version: ModelVersion) -> Judged:
        scores = Model(*files.load(version.model_digest)).score(rows.features)
        k = LEARNING.training.top_k
        return Judged(
            version.label, rows.evaluate(scores, version.threshold, period_days=plan.test_days, k=k)
        )

    first, promoted = first_and_promoted(versions, events)
    return LearningResult(
        judged(first),
        judged(promoted) if promoted else None,
        training,
        steps_of(versions, events),
        verdicts,
        seconds,
    )


def steps_of(versions: Sequence[ModelVersion], events: Sequence[ModelEvent]) -> list[LearningStep]:
    """The registry's events with the names of the versions in them."""
    labels = {version.id: version.label for version in versions}
    return [
        LearningStep(
            event.at_ms,
            event.action,
            tuple(labels[number] for number in event.models),
            None if event.production is None else labels[event.production],
            event.reason,
        )
        for event in events
    ]


def first_and_promoted(
    versions: Sequence[ModelVersion], events: Sequence[ModelEvent]
) -> tuple[ModelVersion, ModelVersion | None]:
    """The version that the platform began with, and the one that was promoted last, whatever came after.

    Args:
        versions: all of the registry, at least one.
        events: oldest first.
    """
    first = min(versions, key=lambda version: version.id)
    by_id = {version.id: version for version in versions}
    promotions = [event.production for event in events if event.action is EventAction.PROMOTED]
    # The first split is on record as a promotion, too.
    later = [by_id[number] for number in promotions if number is not None and number != first.id]
    return first, later[-1] if later else None


def _true_rows(running: Running, from_seconds: float, days: float) -> LabelledRows:
    """The features of the last days as they were known, with the generator's ground truth."""
    connections = running.config.connections
    with closing(open_label_log(connections)) as log:
        truths = {
            (truth.transaction_id, truth.user_id): Verdict(
                0, truth.transaction_id, truth.user_id, None, None, truth.is_fraud, 0, Origin.SIMULATED
            )
            for truth in log.to_the_end()
        }
    from_ms = round(from_seconds * 1000)
    until_ms = from_ms + round(days * DAY_SECONDS * 1000)
    period = PeriodRows(connections.lake, ML_FEATURES, from_ms, until_ms)
    tables = (table for _, table in period.read([file.path for file in period.files()], COLUMNS, READ_ROWS))
    known = KnownLabels(from_ms, until_ms, 0, {}, truths)
    return labelled_rows(tables, known, np.iinfo(np.int64).max)
