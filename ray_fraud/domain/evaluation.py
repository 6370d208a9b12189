"""What a model did with labelled transactions: one row of every table that compares models.

Never: rows that the model was trained on, unless its maker says so.
"""

import msgspec
import numpy as np

from ray_fraud.domain.measures import (
    Ids,
    Interval,
    Labels,
    Values,
    at_threshold,
    auc_roc,
    average_precision,
    card_precision_at,
    card_share,
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
    precision_interval: Interval | None = None
    """95 %, of the precision, by cards; its upper bound allows for frauds that will become known late. None:
    of an earlier release, whose hold-outs also had rows whose labels had not matured."""


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
    late_share: float = 0.0,
) -> Evaluation:
    """Measures n rows.

    Args:
        labels, scores, cards, days, amounts: shape (n,); amounts in base currency.
        threshold: a score above it is an alert.
        period_days: length of the period that the rows are all transactions of, above 0.
        k: cards looked at per day.
        late_share: of the frauds, so many are among the rows without being known as such yet; below 1.

    Raises:
        ValueError: as the measures; a period that is not positive.
    """
    if period_days <= 0 or not 0.0 <= late_share < 1.0:
        raise ValueError(
            f"period_days, late_share: {period_days} and {late_share}, must be above 0, and in [0, 1)"
        )
    frauds = int(labels.sum())
    counts = at_threshold(labels, scores, threshold)
    alerting = scores > threshold
    caught = labels & alerting
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
        precision_interval=_with_late(
            card_share(labels[alerting], cards[alerting]), alerts, frauds * late_share / (1.0 - late_share)
        ),
    )


def _with_late(known: Interval, alerts: int, late: float) -> Interval:
    """As if each fraud that is not known yet had alerted: some may have, and count as false alerts."""
    return Interval(known.value, known.low, min(1.0, known.high + late / alerts) if alerts else known.high)
