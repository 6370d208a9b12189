"""Which label a transaction has in a training, by what was known when: one rule for everything that learns,
chooses or judges.

    …  learnt and chosen on | immature at the hold-out's begin | hold-out | immature now → newest event
       as known at the begin  no label                           as known now  no label

A transaction has a label at a moment once it is older than the *maturity*: fraud if the verdict known last by
then says so, else legitimate. A younger one has none, not even if it was judged: what is judged early are
production's own alerts, and figures of these alone say that whatever agrees with production is right.

Verdicts may come after the history has ended, where it is replayed: given a maturity after its newest event
or later, a verdict says nothing about when it would have been known, and counts as soon as its transaction is
mature.

Never: a label of a transaction that is younger than the maturity; a verdict that was not known by then; a
clock.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ray_fraud.domain.verdicts import Verdict, labels_at

MOST_LATE = 0.9
"""Where a few labels tell that nearly all frauds come late, they tell too little."""
Key = tuple[str, int]
"""(transaction id, user id)"""
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class KnownLabels:
    """The labels of a history whose last days are held out; moments are unix milliseconds of event time."""

    begin_ms: int
    """Where the hold-out begins."""
    end_ms: int
    """Where it ends: what comes then is not mature."""
    maturity_ms: int
    before: Mapping[Key, Verdict]
    """What was known when the hold-out began, and counts for earlier transactions."""
    by_now: Mapping[Key, Verdict]
    """What is known now, and counts for the hold-out."""
    late_share: float = 0.0
    """Of the frauds, so many become known when their transactions count as legitimate already."""

    @property
    def keys(self) -> set[Key]:
        """The transactions that somebody judged."""
        return {*self.before, *self.by_now}

    def mature(self, event_ms: Ints) -> Bools:
        """Which transactions have a label, by their event times, shape (n,)."""
        early = event_ms <= self.begin_ms - self.maturity_ms
        return (early & (event_ms < self.begin_ms)) | ((event_ms >= self.begin_ms) & (event_ms < self.end_ms))

    def fraud(self, key: Key, event_ms: int) -> bool:
        """The label of a mature transaction."""
        said = (self.before if event_ms < self.begin_ms else self.by_now).get(key)
        return said is not None and said.fraud is True


def known_labels(
    verdicts: Iterable[Verdict], *, newest_ms: int, now_ms: int, maturity_ms: int, holdout_ms: int
) -> KnownLabels:
    """The labels of a history that ends with its newest event.

    Args:
        verdicts: all of them, in any order.
        newest_ms: the newest event.
        now_ms: until then verdicts are known; on the clock that stamps them.
        maturity_ms, holdout_ms: see the module; the hold-out's last row is a maturity older than the newest.
    """
    said = [verdict for verdict in verdicts if verdict.known_ms <= now_ms]
    end_ms = newest_ms - maturity_ms + 1
    begin_ms = end_ms - holdout_ms
    in_time = [each for each in said if each.known_ms <= begin_ms or each.known_ms > newest_ms + maturity_ms]
    by_now = labels_at(said, now_ms)
    return KnownLabels(
        begin_ms,
        end_ms,
        maturity_ms,
        labels_at(in_time, now_ms),
        by_now,
        _late_share(by_now.values(), newest_ms, maturity_ms),
    )


def _late_share(labels: Iterable[Verdict], newest_ms: int, maturity_ms: int) -> float:
    """The share of frauds that take more than a maturity to become known; at most `MOST_LATE`, 0 if nothing
    tells.

    A fraud is among the labels only if it took no longer than it is old, so that long delays are rarer there
    than they are. Lynden-Bell's estimate (1971) for values that are cut off at the right: the product of
    1 - d / r over the delays s above a maturity; d frauds took s, r took at most s and are at least s old.
    What takes longer than the oldest fraud is old is seen by nobody.
    """
    frauds = [
        (label.known_ms - label.event_ms, newest_ms - label.event_ms)
        for label in labels
        if label.fraud and label.event_ms is not None and label.known_ms <= newest_ms
    ]
    if not frauds:
        return 0.0
    delays, ages = np.sort(np.array(frauds, np.int64), axis=0).T
    late, took = np.unique(delays[delays > maturity_ms], return_counts=True)
    could = np.searchsorted(delays, late, side="right") - np.searchsorted(ages, late, side="left")
    return min(1.0 - float(np.prod(1.0 - took / could)), MOST_LATE)
