"""From labelled rows to candidates: search, final fit, calibration, threshold, and the hold-out's verdict.

    … older | fold tests … | gap | hold-out (newest mature days)

Parameters, calibration and threshold are chosen on the folds' test rows, which their fits had not seen; these
and the final fit end a gap before the hold-out, where labels are known when it begins; the hold-out only
measures.

Never: a clock, a store, a row of the hold-out in any choice.
"""

import logging
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from batch.training.calibration import calibration_points
from batch.training.fit import Fitted, fit
from batch.training.labelled import Fold, LabelledRows, NotEnoughHistory, Period, both_classes, time_folds
from batch.training.sampler import as_they_come
from batch.training.search import Choice, RunTasks, Scores, Tell, run_here, search, untold
from batch.training.settings import Algorithm, TrainingSettings
from batch.training.threshold import choose_threshold
from batch.training.trained_model import TrainedModel, quantiles_of, with_references
from ray_fraud.domain.evaluation import Evaluation
from ray_fraud.scoring.link import calibrated
from ray_fraud.scoring.model import Model

logger = logging.getLogger(__name__)


class Facts(msgspec.Struct, frozen=True):
    """Where the rows came from, and what is known of their labels."""

    lake_version: int | None = None
    labels_until: float | None = None
    """Verdicts known by then took part, unix seconds."""
    late_share: float = 0.0
    """Of the frauds, so many become known when their rows count as legitimate already."""


class Trained(msgspec.Struct, frozen=True):
    """A model with all that its promotion is judged by."""

    model: TrainedModel
    evaluation: Evaluation
    """On the hold-out."""
    holdout_scores: Scores
    """Of the hold-out's rows, in their order."""
    cross_validation: float
    """Mean average precision over the folds."""
    tried: int
    """Choices of parameters."""


class Plan(msgspec.Struct, frozen=True):
    """The periods of one training."""

    folds: tuple[Fold, ...]
    final: Fold
    """The last training period, and the hold-out."""


class Fit(msgspec.Struct, frozen=True):
    """A model that is judged elsewhere."""

    model: TrainedModel
    cross_validation: float
    """Mean average precision over the folds."""
    tried: int
    """Choices of parameters."""


def plan(rows: LabelledRows, settings: TrainingSettings, until_ms: int | None = None) -> Plan:
    """The periods; the hold-out ends at `until_ms` (unix milliseconds), else with the newest row.

    Raises:
        NotEnoughHistory: the labelled history is too short, or the hold-out has not both kinds of rows.
    """
    if not len(rows):
        raise NotEnoughHistory("there are no labelled rows; give verdicts, or wait until they mature")
    first, until = int(rows.event_ms[0]), int(rows.event_ms[-1]) + 1 if until_ms is None else until_ms
    periods = {"gap_days": settings.gap_days, "train_days": settings.train_days}
    (final,) = time_folds(first, until, count=1, test_days=settings.holdout_days, **periods)
    folds = time_folds(
        first, final.train.until_ms, count=settings.folds, test_days=settings.fold_days, **periods
    )
    holdout = held_out(rows, final, settings)
    if not both_classes(holdout):
        raise NotEnoughHistory(
            f"the hold-out of {settings.holdout_days:g} days has {int(holdout.fraud.sum())} frauds among "
            f"{len(holdout)} labelled rows; both kinds are needed"
        )
    return Plan(tuple(folds), final)


def held_out(rows: LabelledRows, final: Fold, settings: TrainingSettings) -> LabelledRows:
    """The rows that judge, in the shares in which they came."""
    return as_they_come(rows.between(*final.test), settings.seed)


def train(
    rows: LabelledRows,
    settings: TrainingSettings,
    versions: Callable[[Algorithm], int],
    *,
    until_ms: int | None = None,
    facts: Facts | None = None,
    run_tasks: RunTasks = run_here,
    tell: Tell = untold,
) -> list[Trained]:
    """The best model of each algorithm, best in cross-validation first.

    Deterministic: equal rows, settings and versions give equal model files.

    Args:
        rows: labelled as `ray_fraud.domain.known_labels` says.
        settings: periods, budget, algorithms, seed.
        versions: the number that the next version of an algorithm gets.
        until_ms: where the hold-out ends, see `plan`.
        facts: go into the manifests.
        run_tasks: where the fits of the search run.
        tell: (fits done, fits in all).

    Raises:
        NotEnoughHistory: see `plan`.
        ExportMismatch: an exported model scores unlike the fitted one.
    """
    periods = plan(rows, settings, until_ms)
    choices = search(rows, periods.folds, settings, run_tasks, tell)
    if not choices:
        raise NotEnoughHistory("no fold has a fraud in its test period; wait for more verdicts")
    supervised = both_classes(rows.between(*periods.final.train))
    return [
        _finished(rows, periods, choice, settings, versions(choice.algorithm), facts or Facts())
        for choice in choices
        if supervised or choice.algorithm is Algorithm.ISOLATION_FOREST
    ]


def train_within(
    rows: LabelledRows,
    period: Period,
    settings: TrainingSettings,
    versions: Callable[[Algorithm], int],
    *,
    facts: Facts | None = None,
    run_tasks: RunTasks = run_here,
    tell: Tell = untold,
) -> list[Fit]:
    """The best model of each algorithm, made of the rows of a period and of no others; see `train`.

    Parameters, calibration and threshold are chosen on folds within the period; the model is then fitted on
    all of it. Of `settings` the periods say how long the folds are if the period is long enough.

    Raises:
        NotEnoughHistory: the period has no fraud, or no row that is none, in any fold.
        ExportMismatch: an exported model scores unlike the fitted one.
    """
    learnt = rows.between(*period)
    if not both_classes(learnt):
        raise NotEnoughHistory(
            f"the training period has {int(learnt.fraud.sum())} frauds among {len(learnt)} labelled rows; "
            "both kinds are needed"
        )
    folds = folds_within(period, settings)
    choices = search(learnt, folds, settings, run_tasks, tell)
    if not choices:
        raise NotEnoughHistory("no fold of the training period has a fraud in its test; take a longer period")
    return [
        Fit(
            _completed(
                fit(learnt, choice.parameters, version=versions(choice.algorithm), seed=settings.seed),
                choice,
                learnt,
                folds,
                settings,
                facts or Facts(),
            ),
            choice.average_precision,
            choice.tried,
        )
        for choice in choices
    ]


def folds_within(period: Period, settings: TrainingSettings) -> tuple[Fold, ...]:
    """Folds that lie in a period as a whole, the last one ending with it.

    Tests and gaps have the lengths of the settings, at most a quarter of the period each; there are as many
    folds as leave half of the period to training.
    """
    test_days = min(settings.fold_days, period.days / 4)
    gap_days = min(settings.gap_days, period.days / 4)
    count = max(1, min(settings.folds, int((period.days / 2 - gap_days) // test_days)))
    train_days = period.days - gap_days - count * test_days
    return tuple(
        time_folds(*period, count=count, test_days=test_days, gap_days=gap_days, train_days=train_days)
    )


def _finished(
    rows: LabelledRows,
    periods: Plan,
    choice: Choice,
    settings: TrainingSettings,
    version: int,
    facts: Facts,
) -> Trained:
    learnt = rows.between(*periods.final.train)
    fitted = fit(learnt, choice.parameters, version=version, seed=settings.seed)
    model = _completed(fitted, choice, rows, periods.folds, settings, facts)
    model = with_references(model, as_they_come(learnt, settings.seed).features)
    holdout = held_out(rows, periods.final, settings)
    found = Model(*model).score(holdout.features)
    evaluation = holdout.evaluate(
        found,
        model.manifest.threshold,
        period_days=periods.final.test.days,
        k=settings.top_k,
        late_share=facts.late_share,
    )
    logger.info("training: %s: %s", model.manifest.label, evaluation)
    return Trained(model, evaluation, found, choice.average_precision, choice.tried)


def _completed(
    fitted: Fitted,
    choice: Choice,
    rows: LabelledRows,
    folds: Sequence[Fold],
    settings: TrainingSettings,
    facts: Facts,
) -> TrainedModel:
    """The model with calibration and threshold from the rows that the folds' fits had not seen."""
    telling = [fold for fold in folds if rows.between(*fold.test).fraud.any()]
    fraud = np.concatenate([rows.between(*fold.test).fraud for fold in telling])
    weights = np.concatenate([_weights(rows.between(*fold.test)) for fold in telling])
    points = calibration_points(np.concatenate(choice.unseen), fraud, weights)
    scores = calibrated(points, np.concatenate(choice.unseen))
    days = sum(fold.test.days for fold in telling)
    threshold = choose_threshold(scores, fraud, days, settings.alerts_per_day, weights).value
    alerts = float(weights[scores > threshold].sum()) / days
    if alerts > 2.0 * settings.alerts_per_day:
        logger.warning(
            "training: %s: %.3g alerts a day, budget %g: that many rows share the highest scores",
            fitted.candidate.model_name,
            alerts,
            settings.alerts_per_day,
        )
    draft = fitted.candidate.draft()
    manifest = msgspec.structs.replace(
        draft,
        calibration=points,
        threshold=threshold,
        score_quantiles=quantiles_of(scores, weights),
        training=msgspec.structs.replace(
            draft.training,
            alert_share=alerts * days / float(weights.sum()),
            lake_version=facts.lake_version,
            labels_until=facts.labels_until,
        ),
    )
    return TrainedModel(manifest, fitted.candidate.onnx, fitted.candidate.explain)


def _weights(rows: LabelledRows) -> Scores:
    return np.ones(len(rows)) if rows.weights is None else rows.weights
