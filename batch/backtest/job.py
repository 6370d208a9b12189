"""One backtest: fold, train, score, measure.

    history → features and broken rules → models (trained here, or given) → scores → measures of the test

Never: a row of the test in a choice; a label before its delay.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from batch.backtest.fold_part import FoldSettings, Outcome
from batch.backtest.history import History, labelled_past
from batch.backtest.measure import GivenModel, Judge, RuleResult, days_with_rows, rule_results
from batch.backtest.parts import RunParts
from batch.backtest.request import BacktestRefused, BacktestRequest, Periods, periods_of
from batch.backtest.training import RunTraining
from batch.training.labelled import LabelledRows, Period
from batch.training.pipeline import Facts, Fit
from batch.training.settings import Algorithm
from batch.training.trained_model import TrainedModel
from ray_fraud.domain.compromised import known_compromised
from ray_fraud.domain.evaluation import Evaluation
from ray_fraud.domain.feature_tables import Bools, Floats, Ints
from ray_fraud.domain.windows import DAY_MS
from ray_fraud.scoring.model import Model

SCORED_ROWS = 20_000
"""In one call of a model."""

Tell = Callable[[str, int, int], None]
"""(step, done, in all)."""


class ModelResult(msgspec.Struct, frozen=True):
    model: str
    version: int
    trained: bool
    """Whether this backtest trained it."""
    evaluation: Evaluation
    cross_validation: float | None = None
    """Mean average precision over the folds of its training."""
    parameters: dict[str, int | float] = {}


class BacktestReport(msgspec.Struct, frozen=True):
    periods: Periods
    rows: int
    """Of the history."""
    duplicates: int
    test_rows: int
    test_frauds: int
    excluded: int
    """Rows of the test left out since their cards were known as compromised."""
    models: list[ModelResult]
    rules: list[RuleResult]
    seconds: dict[str, float]
    """By step."""


class Backtested(NamedTuple):
    """The report, and what it was made of."""

    report: BacktestReport
    outcome: Outcome
    test: Bools
    """The rows that were judged, shape (n,)."""
    models: list[GivenModel]
    scores: list[Floats]
    """Of the judged rows, by model."""


def backtest(
    history: History,
    request: BacktestRequest,
    given: Sequence[GivenModel],
    run_parts: RunParts,
    run_training: RunTraining,
    tell: Tell,
) -> Backtested:
    """Runs it.

    Raises:
        BacktestRefused: the periods do not fit the history.
        NotEnoughHistory: the training period has too few frauds.
        FoldEnded: a process ended before its time.
    """
    clock = _Clock()
    periods = periods_of(request, int(history.event_ms[0]), int(history.event_ms[-1]))
    outcome = run_parts(
        history,
        labelled_past(history),
        FoldSettings(
            detection=request.detection,
            delay_ms=request.delays.features_ms,
            refresh_ms=request.refresh_ms,
            profile_days=request.profile_days,
        ),
        lambda done, in_all: tell("features", done, in_all),
    )
    clock.stop("features")
    test, excluded = _test_rows(history, outcome, request, periods)
    fits = _trained(history, outcome, request, periods, run_training, tell)
    clock.stop("training")
    models = [*given, *(GivenModel(each.model, each.model.manifest.threshold) for each in fits)]
    means = [*(None for _ in given), *(each.cross_validation for each in fits)]
    scores = [_scores(each.model, outcome.features[test]) for each in models]
    clock.stop("scores")
    judge = Judge(history, test, days_with_rows(_within(history, periods.test), periods.test), request.top_k)
    evaluations = [judge.of(values, each.threshold) for each, values in zip(models, scores, strict=True)]
    rules = rule_results(history, outcome, test, request.rules, judge, models, scores)
    clock.stop("measures")
    report = BacktestReport(
        periods=periods,
        rows=len(history),
        duplicates=int((~outcome.processed).sum()),
        test_rows=int(test.sum()),
        test_frauds=int(history.fraud[test].sum()),
        excluded=excluded,
        models=list(map(_result, models, evaluations, means)),
        rules=rules,
        seconds=clock.seconds,
    )
    return Backtested(report, outcome, test, models, scores)


def _result(each: GivenModel, evaluation: Evaluation, cross_validation: float | None) -> ModelResult:
    manifest = each.model.manifest
    return ModelResult(
        manifest.model_name,
        manifest.version,
        cross_validation is not None,
        evaluation,
        cross_validation,
        manifest.training.parameters,
    )


def _within(history: History, period: Period) -> Ints:
    """Event times of all rows of a period, those too that are not judged."""
    event_ms = history.event_ms
    return event_ms[(event_ms >= period.from_ms) & (event_ms < period.until_ms)]


class _Clock:
    """How long each step took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._began = time.monotonic()

    def stop(self, step: str) -> None:
        now = time.monotonic()
        self.seconds[step] = round(now - self._began, 3)
        self._began = now


def _test_rows(
    history: History, outcome: Outcome, request: BacktestRequest, periods: Periods
) -> tuple[Bools, int]:
    """The rows that are judged, and how many were left out as known."""
    event_ms = history.event_ms
    test = outcome.processed & (event_ms >= periods.test.from_ms) & (event_ms < periods.test.until_ms)
    known = np.zeros(len(test), np.bool_)
    if request.exclude_compromised:
        known = test & known_compromised(
            history.user_ids,
            event_ms,
            history.fraud,
            known_from_ms=periods.known_from_ms,
            delay_ms=request.delays.filter_ms,
        )
    left = test & ~known
    if not left.any():
        raise BacktestRefused("the test period has no row that could be judged; choose another one")
    return left, int(known.sum())


def _trained(
    history: History,
    outcome: Outcome,
    request: BacktestRequest,
    periods: Periods,
    run_training: RunTraining,
    tell: Tell,
) -> list[Fit]:
    """Models of the training period; their folds have the gap that labels take to come."""
    period = periods.train
    if period is None:
        return []
    event_ms = history.event_ms
    learnt = outcome.processed & (event_ms >= period.from_ms) & (event_ms < period.until_ms)
    rows = LabelledRows(
        outcome.features[learnt], history.fraud[learnt], history.user_ids[learnt], event_ms[learnt]
    )
    settings = msgspec.structs.replace(
        request.training, gap_days=request.delays.training_ms / DAY_MS, top_k=request.top_k
    )
    done: list[Algorithm] = []

    def told(algorithm: Algorithm) -> None:
        done.append(algorithm)
        tell("training", len(done), len(settings.algorithms))

    tell("training", 0, len(settings.algorithms))
    return run_training(rows, period, settings, Facts(labels_until=periods.test.from_ms / 1000), told)


def _scores(model: TrainedModel, features: NDArray[np.float32]) -> Floats:
    """Scores of rows, on all cores: a model runs on one, and a row's score depends on that row alone."""
    loaded = Model(*model)
    pieces = [features[start : start + SCORED_ROWS] for start in range(0, len(features), SCORED_ROWS)]
    with ThreadPoolExecutor() as pool:
        return np.concatenate(list(pool.map(loaded.score, pieces)))
