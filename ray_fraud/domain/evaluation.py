"""What a model did with labelled transactions: one row of every table that compares models.

Never: rows that the model was trained on, unless its maker says so.
"""

import msgspec
import numpy as np

from ray_fraud.domain.measures import (
    Ids,
    Labels,
    Values,
    at_threshold,
    auc_roc,
    average_precision,
    card_precision_at,
)


class Evaluation(msgspec.Struct, frozen=True):
    """All measures of one model over one period. None where the rows cannot tell (no fraud, nothing else)."""

    rows: int
    frauds: int
    days: float
    """Length of the period."""
    threshold: float
    auc_roc: float | None
    average_precision: float | None
    card_precision_at_k: float | None
    k: int
    precision: float
    """Of transactions at the threshold, like recall and F1."""
    recall: float
    f1: float
    alerts: int
    alerts_per_day: float
    money_caught: float
    """Amounts of the frauds that alerted, base currency."""
    money_missed: float
    """Amounts of the others."""


def evaluate(
    labels: Labels,
    scores: Values,
    cards: Ids,
    days: Ids,
    amounts: Values,
    *,
    threshold: float,
    period_days: float,
    k: int,
) -> Evaluation:
    """Measures n rows.

    Args:
        labels, scores, cards, days, amounts: shape (n,); amounts in base currency.
        threshold: a score above it is an alert.
        period_days: length of the period that the rows are all transactions of, above 0.
        k: cards looked at per day.

    Raises:
        ValueError: as the measures; a period that is not positive.
    """
    if period_days <= 0:
        raise ValueError(f"period_days: {period_days}, must be above 0")
    frauds = int(labels.sum())
    counts = at_threshold(labels, scores, threshold)
    caught = labels & (scores > threshold)
    alerts = counts.true_alerts + counts.false_alerts
    return Evaluation(
        rows=len(labels),
        frauds=frauds,
        days=period_days,
        threshold=threshold,
        auc_roc=auc_roc(labels, scores) if 0 < frauds < len(labels) else None,
        average_precision=average_precision(labels, scores) if frauds else None,
        card_precision_at_k=card_precision_at(labels, scores, cards, days, k) if len(labels) else None,
        k=k,
        precision=counts.precision,
        recall=counts.recall,
        f1=counts.f1,
        alerts=alerts,
        alerts_per_day=alerts / period_days,
        money_caught=float(np.sum(amounts[caught])),
        money_missed=float(np.sum(amounts[labels & ~caught])),
    )
