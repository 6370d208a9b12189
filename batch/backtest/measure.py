"""What rules and models did with the test: every one by the same measures.

Never: a row outside of the test.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from batch.backtest.fold_part import Outcome
from batch.backtest.history import History
from batch.patterns.columns_of import pattern_columns, with_cells
from batch.patterns.rules import find_patterns
from batch.training.labelled import Period
from batch.training.trained_model import TrainedModel
from ray_fraud.domain.alert import HOT_RULES, RuleName
from ray_fraud.domain.evaluation import Evaluation, evaluate
from ray_fraud.domain.feature_tables import Bools, Floats, Ints
from ray_fraud.domain.patterns.settings import PatternSettings
from ray_fraud.domain.windows import DAY_MS


class GivenModel(NamedTuple):
    """A model that is judged as it is."""

    model: TrainedModel
    threshold: float
    """The registry's, which may differ from the manifest's."""


class RuleResult(msgspec.Struct, frozen=True):
    """What one rule did; precision, recall, F1 and money are of transactions."""

    rule: RuleName
    model: str | None
    """Whose scores, for the rule that needs one."""
    alerts: int
    """Of a pattern rule: patterns, each of several transactions."""
    alerts_per_day: float
    precision: float
    recall: float
    f1: float
    money_caught: float
    money_missed: float


def days_with_rows(event_ms: Ints, period: Period) -> float:
    """How much of a period lies on UTC days that have a row: a day without any is one without data.

    `event_ms`: shape (n,), all within the period.
    """
    days = np.unique(event_ms // DAY_MS)
    begins = np.maximum(days * DAY_MS, period.from_ms)
    ends = np.minimum((days + 1) * DAY_MS, period.until_ms)
    return float((ends - begins).sum() / DAY_MS)


class Judge:
    """The test that all models and rules are measured by."""

    def __init__(self, history: History, test: Bools, days: float, k: int) -> None:
        self.fraud = history.fraud[test]
        self._cards = history.user_ids[test]
        self._days = history.event_ms[test] // DAY_MS
        self._amounts = history.amounts[test]
        self._period_days = days
        self._k = k

    def of(self, scores: Floats, threshold: float) -> Evaluation:
        return evaluate(
            self.fraud,
            scores,
            self._cards,
            self._days,
            self._amounts,
            threshold=threshold,
            period_days=self._period_days,
            k=self._k,
        )

    def of_rule(
        self, rule: RuleName, hit: Bools, model: str | None = None, alerts: int | None = None
    ) -> RuleResult:
        """`alerts`: how many there were, if not one per transaction."""
        found = self.of(hit.astype(np.float64), 0.5)
        count = found.alerts if alerts is None else alerts
        return RuleResult(
            rule,
            model,
            count,
            count / self._period_days,
            found.precision,
            found.recall,
            found.f1,
            found.money_caught,
            found.money_missed,
        )


def rule_results(
    history: History,
    outcome: Outcome,
    test: Bools,
    rules: Sequence[RuleName],
    judge: Judge,
    models: Sequence[GivenModel],
    scores: Sequence[Floats],
) -> list[RuleResult]:
    """What these rules did: hot ones first, the one that needs a score once per model.

    Args:
        history, outcome: all rows.
        test: those that are judged, shape (n,).
        rules: which.
        judge: of the test.
        models, scores: whose scores of the test's rows.
    """
    without_model = [
        judge.of_rule(rule, outcome.broke(rule)[test])
        for rule in (RuleName.HIGH_AMOUNT, RuleName.GEO_VELOCITY)
        if rule in rules
    ]
    by_model = [
        judge.of_rule(RuleName.ML_ANOMALY, values > each.threshold, each.model.manifest.label)
        for each, values in zip(models, scores, strict=True)
        if RuleName.ML_ANOMALY in rules
    ]
    patterns = [rule for rule in rules if rule not in HOT_RULES]
    return [*without_model, *by_model, *(_patterns(history, test, patterns, judge) if patterns else ())]


def _patterns(history: History, test: Bools, rules: Sequence[RuleName], judge: Judge) -> list[RuleResult]:
    """Pattern rules look at the whole test at once; a transaction counts as found if a pattern has it."""
    rows = history.rows.filter(pa.array(test))
    placed = with_cells(rows.append_column("event_time", rows["record_time"]))
    found = find_patterns(pattern_columns(placed), PatternSettings())
    results = []
    for rule in rules:
        of_rule = [finding for finding in found if finding.rule is rule]
        hit = np.zeros(rows.num_rows, np.bool_)
        for finding in of_rule:
            hit[list(finding.rows)] = True
        results.append(judge.of_rule(rule, hit, alerts=len(of_rule)))
    return results
