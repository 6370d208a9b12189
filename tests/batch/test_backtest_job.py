"""A whole backtest: half-open periods, delays, the filter, models and rules by the same measures."""

import msgspec
import numpy as np
import pytest

from batch.backtest.alerts_file import alerts_of
from batch.backtest.history import Delays, History
from batch.backtest.job import Backtested, backtest
from batch.backtest.measure import GivenModel, days_with_rows
from batch.backtest.parts import run_here
from batch.backtest.request import BacktestRefused, BacktestRequest, periods_of
from batch.backtest.training import train_here
from batch.training.boosting import BoostingParameters
from batch.training.bootstrap import bootstrap_models
from batch.training.labelled import NotEnoughHistory, Period
from batch.training.pipeline import folds_within
from batch.training.settings import Algorithm, IsolationParameters, TrainingSettings
from ray_fraud.domain.alert import HOT_RULES, RuleName
from ray_fraud.domain.compromised import known_compromised
from ray_fraud.domain.evaluation import evaluate
from ray_fraud.domain.settings import DetectionSettings, HighAmountSettings
from ray_fraud.domain.windows import DAY_MS, HOUR_MS
from ray_fraud.scoring.model import Model
from tests.batch.labelled_world import START_S, Labelled, history_from, labelled_records

START_MS = round(START_S * 1000)
LABELLED = labelled_records(1_200, days=20, seed=8)
TRAINING = TrainingSettings(
    algorithms=(Algorithm.ISOLATION_FOREST, Algorithm.GRADIENT_BOOSTING),
    alerts_per_day=5,
    isolation_forest=(IsolationParameters(trees=10),),
    gradient_boosting=(BoostingParameters(trees=10, leaves=4, min_leaf=5),),
)


def day(number: float) -> int:
    return START_MS + round(number * DAY_MS)


REQUEST = BacktestRequest(
    train=Period(day(2), day(12)),
    test=Period(day(14), day(18)),
    delays=Delays(DAY_MS, 2 * DAY_MS, DAY_MS),
    detection=DetectionSettings(high_amount=HighAmountSettings(limit=400.0)),
    training=TRAINING,
    refresh_ms=12 * HOUR_MS,
    top_k=5,
)


def run(
    history: History, request: BacktestRequest = REQUEST, given: tuple[GivenModel, ...] = ()
) -> Backtested:
    return backtest(history, request, given, run_here, train_here, lambda *_: None)


@pytest.fixture(scope="module")
def history() -> History:
    return history_from(LABELLED)


@pytest.fixture(scope="module")
def done(history: History) -> Backtested:
    return run(history)


def test_models_are_measured_on_the_rows_of_the_test(history: History, done: Backtested) -> None:
    event_ms = history.event_ms
    test = done.outcome.processed & (event_ms >= day(14)) & (event_ms < day(18))
    assert done.report.test_rows == test.sum()
    assert done.report.excluded == 0
    assert [each.model for each in done.report.models] == ["isolation_forest", "gradient_boosting"]
    for result, each, scores in zip(done.report.models, done.models, done.scores, strict=True):
        values = Model(*each.model).score(done.outcome.features[test])
        assert values.tolist() == scores.tolist()
        assert result.evaluation == evaluate(
            history.fraud[test],
            values,
            history.user_ids[test],
            event_ms[test] // DAY_MS,
            history.amounts[test],
            threshold=each.threshold,
            period_days=4.0,
            k=5,
        )
        assert result.trained
        assert result.evaluation.average_precision is not None


def test_rules_are_measured_by_their_transactions(history: History, done: Backtested) -> None:
    by_name = {(each.rule, each.model): each for each in done.report.rules}
    assert set(by_name) == {
        (RuleName.HIGH_AMOUNT, None),
        (RuleName.GEO_VELOCITY, None),
        (RuleName.ML_ANOMALY, "isolation_forest:1"),
        (RuleName.ML_ANOMALY, "gradient_boosting:1"),
    }
    high = by_name[RuleName.HIGH_AMOUNT, None]
    rows = done.test & (history.amounts > 400.0)
    caught = rows & history.fraud
    assert (high.alerts, high.alerts_per_day) == (rows.sum(), rows.sum() / 4)
    assert high.precision == caught.sum() / rows.sum()
    assert high.recall == caught.sum() / (done.test & history.fraud).sum()
    assert high.money_caught == pytest.approx(history.amounts[caught].sum())
    learned = done.report.models[1].evaluation
    anomaly = by_name[RuleName.ML_ANOMALY, "gradient_boosting:1"]
    assert (anomaly.alerts, anomaly.precision) == (learned.alerts, learned.precision)


def test_periods_include_their_start_and_not_their_end(history: History) -> None:
    moments = history.event_ms
    start, end = int(moments[400]), int(moments[700])
    request = msgspec.structs.replace(REQUEST, train=None, test=Period(start, end))
    found = run(history, request)
    expected = found.outcome.processed & (moments >= start) & (moments < end)
    assert found.test.tolist() == expected.tolist()
    assert found.test[400]
    assert not found.test[700]
    assert found.report.models == []


def test_labels_that_come_too_late_are_not_learnt(done: Backtested) -> None:
    late = msgspec.structs.replace(REQUEST, train=Period(day(2), day(13.5)))
    periods = periods_of(late, day(0), day(20))
    assert periods.train == REQUEST.train, "the test begins at day 14, and labels take two days"
    changed = [
        Labelled(each.record, each.fraud != (day(12) <= each.record.timestamp_ms < day(14)))
        for each in LABELLED
    ]
    delays = Delays(30 * DAY_MS, 2 * DAY_MS, DAY_MS)
    digests = [
        [
            each.model.manifest.onnx_sha256
            for each in run(history_from(rows), msgspec.structs.replace(late, delays=delays)).models
        ]
        for rows in (LABELLED, changed)
    ]
    assert digests[0] == digests[1]


def test_labels_of_the_test_change_only_its_measures(history: History, done: Backtested) -> None:
    changed = [
        Labelled(each.record, each.fraud != (each.record.timestamp_ms >= day(14))) for each in LABELLED
    ]
    # Features of the test may show its own earlier verdicts: only what is learnt is compared.
    other = run(history_from(changed))
    assert [each.model.manifest.digest for each in other.models] == [
        each.model.manifest.digest for each in done.models
    ]
    assert other.report.models[1].evaluation != done.report.models[1].evaluation


def test_known_cards_are_left_out_if_so_asked_for(history: History, done: Backtested) -> None:
    request = msgspec.structs.replace(REQUEST, exclude_compromised=True, training=TRAINING)
    found = run(history, msgspec.structs.replace(request, train=None, known_from_ms=day(2)))
    known = known_compromised(
        history.user_ids, history.event_ms, history.fraud, known_from_ms=day(2), delay_ms=DAY_MS
    )
    assert found.report.excluded == (done.test & known).sum()
    assert 0 < found.report.excluded < done.report.test_rows
    assert found.test.tolist() == (done.test & ~known).tolist()


def test_given_models_are_judged_as_they_are(history: History, done: Backtested) -> None:
    made = bootstrap_models(done.outcome.features)[0]
    request = msgspec.structs.replace(REQUEST, train=None, rules=(RuleName.ML_ANOMALY,))
    found = run(history, request, (GivenModel(made, 0.7),))
    (result,) = found.report.models
    assert (result.model, result.version, result.trained) == ("isolation_forest", 1, False)
    assert result.evaluation.threshold == 0.7
    assert [each.rule for each in found.report.rules] == [RuleName.ML_ANOMALY]


def test_pattern_rules_count_the_transactions_of_their_patterns(history: History) -> None:
    rules = (RuleName.SMALL_AMOUNTS, RuleName.COORDINATED)
    request = msgspec.structs.replace(REQUEST, train=None, rules=rules, test=Period(day(0), day(20)))
    small, coordinated = run(history, request).report.rules
    assert (small.rule, coordinated.rule) == rules
    assert small.alerts > 0
    assert 0 < small.precision <= 1
    assert small.money_caught > 0


def test_the_alerts_of_the_test_have_their_uids(history: History, done: Backtested) -> None:
    table = alerts_of(history, done)
    assert table.num_rows == sum(each.alerts for each in done.report.rules)
    assert (
        len(set(zip(table["alert_uid"].to_pylist(), table["model"].to_pylist(), strict=True)))
        == table.num_rows
    )
    assert set(table["rule_name"].to_pylist()) <= {rule.value for rule in HOT_RULES}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"test": Period(day(18), day(18))}, "the test period is empty"),
        ({"test": Period(day(40), day(41))}, "the test period has no row"),
        ({"train": Period(day(-9), day(-8))}, "the training period has no row"),
        ({"test": Period(day(3), day(4))}, "no label of the training period is known"),
    ],
)
def test_periods_that_do_not_fit_are_refused(changes: dict[str, Period], said: str) -> None:
    with pytest.raises(BacktestRefused, match=said):
        periods_of(msgspec.structs.replace(REQUEST, **changes), day(0), day(20))


def test_the_test_begins_when_labels_of_the_training_are_known() -> None:
    found = periods_of(msgspec.structs.replace(REQUEST, test=None), day(0), day(20))
    assert found.test == Period(day(14), day(20) + 1)
    assert found.known_from_ms == day(2)
    whole = periods_of(msgspec.structs.replace(REQUEST, test=None, train=None), day(0), day(20))
    assert whole.test == Period(day(0), day(20) + 1)


def test_a_training_without_frauds_is_refused() -> None:
    honest = history_from([Labelled(each.record, False) for each in LABELLED])
    with pytest.raises(NotEnoughHistory, match="0 frauds among"):
        run(honest)


@pytest.mark.parametrize("days", [1.0, 7.0, 30.0, 90.0])
def test_folds_lie_in_their_period(days: float) -> None:
    period = Period(day(0), day(days))
    folds = folds_within(period, TrainingSettings())
    assert folds[-1].test.until_ms == period.until_ms
    for fold in folds:
        assert period.from_ms <= fold.train.from_ms < fold.train.until_ms < fold.test.from_ms
        assert fold.train.days >= period.days / 4
    assert len(folds) == {1.0: 1, 7.0: 1, 30.0: 1, 90.0: 3}[days]


def test_no_verdict_comes_at_once() -> None:
    with pytest.raises(ValueError, match="training_ms: 0"):
        Delays(1, 0, 1)


def test_frauds_are_among_the_judged_rows(done: Backtested) -> None:
    assert 0 < done.report.test_frauds < done.report.test_rows
    assert np.isfinite(np.concatenate(done.scores)).all()


def test_a_label_delay_that_passes_the_end_of_the_data_is_told_in_those_words() -> None:
    request = BacktestRequest(train=Period(0, 10 * DAY_MS), delays=Delays(1, 7 * DAY_MS, 1))
    with pytest.raises(BacktestRefused, match="the label delay passes the end of the data"):
        periods_of(request, 0, 12 * DAY_MS)
    assert periods_of(request, 0, 20 * DAY_MS).test.from_ms == 17 * DAY_MS


def test_days_without_a_row_are_no_days_of_data() -> None:
    noon = DAY_MS // 2
    year = Period(noon, 365 * DAY_MS)
    assert days_with_rows(np.array([noon, noon + 1]), year) == 0.5
    assert days_with_rows(np.array([noon, 5 * DAY_MS, 5 * DAY_MS + 1, 364 * DAY_MS]), year) == 2.5
