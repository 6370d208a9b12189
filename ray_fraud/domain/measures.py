"""How good a model is on labelled transactions: the measures of a hold-out.

| measure | says |
| --- | --- |
| AUC ROC | how often a fraud scores above an honest transaction |
| average precision (AP) | precision over all recalls, for rare frauds |
| precision, recall, F1 | what one threshold does |
| card precision@k | of k cards looked at each day, how many were really used for fraud |

Scores are higher for fraud; an alert is a score *above* the threshold, as in the hot path. Equal scores are
one step: no measure depends on the order of the rows.

Never: a model, a file, a clock, a random draw (see `ray_fraud.domain.bootstrap` for intervals).
"""

from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from ray_fraud.domain.intervals import Z_95 as Z_95
from ray_fraud.domain.intervals import Interval as Interval
from ray_fraud.domain.intervals import wilson
from ray_fraud.domain.intervals import wilson_interval as wilson_interval

Labels = NDArray[np.bool_]
"""Shape (n,); true for fraud."""
Values = NDArray[np.float64]
"""Shape (n,); finite scores, higher is more suspicious."""
Ids = NDArray[np.int64]
"""Shape (n,); cards (users) or days since 1970."""


class AtThreshold(msgspec.Struct, frozen=True):
    """What a threshold does with labelled transactions."""

    true_alerts: int
    false_alerts: int
    missed: int
    quiet: int
    """Honest transactions without an alert."""

    @property
    def precision(self) -> float:
        """Alerts that were fraud; 0 without an alert."""
        return _ratio(self.true_alerts, self.true_alerts + self.false_alerts)

    @property
    def recall(self) -> float:
        """Frauds that alerted; 0 without a fraud."""
        return _ratio(self.true_alerts, self.true_alerts + self.missed)

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall; 0 if both are."""
        return _ratio(2 * self.true_alerts, 2 * self.true_alerts + self.false_alerts + self.missed)


class CardDays(NamedTuple):
    """One entry per day and card, by day."""

    days: Ids
    cards: Ids
    """Index into `known_cards`."""
    scores: Values
    """The card's highest score of that day."""
    labels: Labels
    """Whether one of its transactions of that day was fraud."""
    known_cards: Ids
    """The cards themselves, ascending."""


def auc_roc(labels: Labels, scores: Values) -> float:
    """The probability that a random fraud scores above a random honest transaction; a tie counts half.

    Mann–Whitney's U over its maximum (Hanley & McNeil 1982).

    Raises:
        ValueError: lengths differ, a score is not finite, or one of the two kinds is missing.
    """
    check_rows(labels, scores)
    frauds = int(labels.sum())
    honest = len(labels) - frauds
    if not frauds or not honest:
        raise ValueError(f"labels: {frauds} frauds and {honest} honest rows, AUC ROC needs one of each")
    _, group, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    middle_ranks = np.cumsum(sizes) - (sizes - 1) / 2.0
    rank_sum = float(middle_ranks[group][labels].sum())
    return (rank_sum - frauds * (frauds + 1) / 2.0) / (frauds * honest)


def average_precision(labels: Labels, scores: Values, weights: Values | None = None) -> float:
    """Σ (recall_i − recall_{i−1}) · precision_i over the distinct scores, from the highest down.

    No interpolation, which would be too good (Davis & Goadrich 2006); scikit-learn's definition. Each row
    counts as `weights` rows, shape (n,), above 0.

    Raises:
        ValueError: lengths differ, a score is not finite, or there is no fraud.
    """
    check_rows(labels, scores)
    if not labels.any():
        raise ValueError("labels: no fraud, average precision needs at least 1")
    order = np.argsort(-scores, kind="stable")
    ends = step_ends(scores[order])
    counts = np.ones(len(scores)) if weights is None else weights[order]
    found = np.cumsum(counts * labels[order])[ends]
    gained = np.diff(found, prepend=0.0)
    return float((gained * (found / np.cumsum(counts)[ends])).sum() / found[-1])


def at_threshold(labels: Labels, scores: Values, threshold: float) -> AtThreshold:
    """Counts of alerts and frauds when scores above `threshold` alert.

    Raises:
        ValueError: lengths differ, or a score is not finite.
    """
    check_rows(labels, scores)
    alerts = scores > threshold
    true_alerts = int((alerts & labels).sum())
    false_alerts = int(alerts.sum()) - true_alerts
    missed = int(labels.sum()) - true_alerts
    return AtThreshold(true_alerts, false_alerts, missed, len(labels) - true_alerts - false_alerts - missed)


def card_precision_at(labels: Labels, scores: Values, cards: Ids, days: Ids, k: int) -> float:
    """Card precision@k: hits / k of each day, mean over the days that have rows.

    Per day, cards that an earlier day found are dropped; a card has the highest score and label of its
    transactions of that day; the k best are looked at (equal scores: the lower card first), and those that
    are fraud are hits and found from then on. A day with fewer than k cards still divides by k. Dal Pozzolo
    et al. 2015, as in the handbook of Le Borgne et al. 2022.

    Raises:
        ValueError: lengths differ, a score is not finite, there are no rows, or `k` is below 1.
    """
    daily = card_days(labels, scores, cards, days)
    if k < 1:
        raise ValueError(f"k: {k}, must be at least 1")
    found = np.zeros(len(daily.known_cards), np.bool_)
    hits = 0
    slices = day_slices(daily)
    for day in slices:
        best = [row for row in best_first(daily, day) if not found[daily.cards[row]]][:k]
        right = [row for row in best if daily.labels[row]]
        found[daily.cards[right]] = True
        hits += len(right)
    return hits / (k * len(slices))


def card_share(hits: Labels, cards: Ids) -> Interval:
    """The share of hits among n transactions, and its 95 % interval where those of a card go together.

    Wilson's interval for as many independent trials as tell as much: n over the design effect, the variance
    between cards over that of independent transactions, at least 1 (Kish 1965; Korn & Graubard 1998). If all
    or none are hits, a card is one trial.

    Args:
        hits, cards: shape (n,). No row at all is the whole range from 0 to 1, with the value 0.

    Raises:
        ValueError: lengths differ.
    """
    if hits.shape != cards.shape:
        raise ValueError(f"hits, cards: shapes {hits.shape} and {cards.shape}, must be alike")
    trials = len(hits)
    if not trials:
        return Interval(0.0, 0.0, 1.0)
    known, card = np.unique(cards, return_inverse=True)
    share = float(hits.mean())
    if share in (0.0, 1.0) or len(known) == 1:
        return wilson(share, len(known), Z_95)
    apart = np.bincount(card, weights=hits - share)
    between = len(known) / (len(known) - 1) * float((apart**2).sum())
    effect = max(1.0, between / (trials * share * (1.0 - share)))
    return wilson(share, trials / effect, Z_95)


def card_days(labels: Labels, scores: Values, cards: Ids, days: Ids) -> CardDays:
    """Transactions gathered by day and card.

    Raises:
        ValueError: lengths differ, a score is not finite, or there are no rows.
    """
    check_rows(labels, scores)
    if not len(cards) == len(days) == len(labels):
        raise ValueError(
            f"cards, days: {len(cards)} and {len(days)} rows, must be {len(labels)} as the labels"
        )
    if not len(labels):
        raise ValueError("labels: no rows, card precision needs at least 1")
    known_cards, card = np.unique(cards, return_inverse=True)
    known_days, day = np.unique(days, return_inverse=True)
    pairs, pair = np.unique(day.astype(np.int64) * len(known_cards) + card, return_inverse=True)
    best = np.full(len(pairs), -np.inf)
    np.maximum.at(best, pair, scores)
    fraud = np.zeros(len(pairs), np.bool_)
    fraud[pair[labels]] = True
    return CardDays(known_days[pairs // len(known_cards)], pairs % len(known_cards), best, fraud, known_cards)


def day_slices(daily: CardDays) -> list[slice]:
    """The entries of each day, in order of the days."""
    starts = np.flatnonzero(np.diff(daily.days, prepend=daily.days[0] - 1))
    ends = [*starts[1:].tolist(), len(daily.days)]
    return [slice(start, end) for start, end in zip(starts.tolist(), ends, strict=True)]


def best_first(daily: CardDays, day: slice) -> NDArray[np.int64]:
    """Indices of a day's entries by falling score; equal ones by card."""
    order: NDArray[np.int64] = np.argsort(-daily.scores[day], kind="stable").astype(np.int64)
    return order + np.int64(day.start)


def step_ends(falling: Values) -> NDArray[np.int64]:
    """The last index of every run of equal scores."""
    if not len(falling):
        return np.empty(0, np.int64)
    return np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1).astype(np.int64)


def check_rows(labels: Labels, scores: Values) -> None:
    """Raises `ValueError` if rows are of different number, or a score is not finite."""
    if labels.ndim != 1 or labels.shape != scores.shape:
        raise ValueError(f"labels, scores: shapes {labels.shape} and {scores.shape}, must be (n,) and (n,)")
    if labels.dtype != np.bool_:
        raise ValueError(f"labels: dtype {labels.dtype}, must be bool")
    if not np.isfinite(scores).all():
        row = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise ValueError(f"scores: {scores[row]} in row {row}, must be finite")


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
