"""Rows with labels, and how they are cut by time.

Never: a row whose label was not known at the moment that the training stands for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from ray_fraud.domain.evaluation import Evaluation, evaluate
from ray_fraud.domain.features import FEATURE_NAMES
from ray_fraud.domain.windows import DAY_MS

Rows32 = NDArray[np.float32]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
AMOUNT = FEATURE_NAMES.index("amount")


@dataclass(frozen=True)
class LabelledRows:
    """n rows in order of event time."""

    features: Rows32
    """The whole catalogue as it was known at each moment, shape (n, len(FEATURES)), NaN where missing."""
    fraud: Bools
    user_ids: Ints
    event_ms: Ints
    """Unix milliseconds."""
    weights: NDArray[np.float64] | None = None
    """Rows that each stands for, shape (n,), where they are a sample; None: they are all there are."""

    def __post_init__(self) -> None:
        if self.weights is not None and len(self.weights) != len(self):
            raise ValueError(f"labelled rows: {len(self.weights)} weights of {len(self)} rows")
        if len({len(self.features), len(self.fraud), len(self.user_ids), len(self.event_ms)}) != 1:
            raise ValueError("labelled rows: columns differ in length")
        if len(self) and (np.diff(self.event_ms) < 0).any():
            raise ValueError("labelled rows: event times go back")

    def __len__(self) -> int:
        return len(self.event_ms)

    @property
    def days(self) -> Ints:
        """UTC day of each row (days since 1970-01-01), shape (n,)."""
        days: Ints = self.event_ms // DAY_MS
        return days

    def between(self, from_ms: int, until_ms: int) -> "LabelledRows":
        """Rows with `from_ms <= event_ms < until_ms`; a view."""
        first, last = np.searchsorted(self.event_ms, (from_ms, until_ms)).tolist()
        part = slice(first, last)
        return self._at(part)

    def evaluate(
        self,
        scores: NDArray[np.float64],
        threshold: float,
        *,
        period_days: float,
        k: int,
        late_share: float = 0.0,
    ) -> Evaluation:
        """All measures of a model's scores of these rows, shape (n,); see `ray_fraud.domain.evaluation`.

        Of an even sample of cards and days so many fewer cards are looked at, and what is told by day or in
        money is that of all rows.
        """
        times = self.represented / max(1, len(self))
        found = evaluate(
            self.fraud,
            scores,
            self.user_ids,
            self.days,
            self.features[:, AMOUNT].astype(np.float64),
            threshold=threshold,
            period_days=period_days,
            k=max(1, round(k / times)),
            late_share=late_share,
        )
        return msgspec.structs.replace(
            found,
            k=k,
            alerts_per_day=found.alerts_per_day * times,
            money_caught=found.money_caught * times,
            money_missed=found.money_missed * times,
        )

    def take(self, rows: Bools) -> "LabelledRows":
        """The chosen rows, shape (n,) of booleans."""
        return self._at(rows)

    @property
    def represented(self) -> float:
        """How many rows these stand for."""
        return float(len(self) if self.weights is None else self.weights.sum())

    def _at(self, rows: slice | Bools) -> "LabelledRows":
        weights = None if self.weights is None else self.weights[rows]
        return LabelledRows(
            self.features[rows], self.fraud[rows], self.user_ids[rows], self.event_ms[rows], weights
        )


class Period(NamedTuple):
    """`[from_ms, until_ms)`, unix milliseconds."""

    from_ms: int
    until_ms: int

    @property
    def days(self) -> float:
        return (self.until_ms - self.from_ms) / DAY_MS


class Fold(NamedTuple):
    """One step forward in time: what is learnt, and a later period that judges it."""

    train: Period
    test: Period


class NotEnoughHistory(Exception):
    """There is too little labelled history; wait for more, or shorten the periods of the settings."""


def time_folds(
    first_ms: int, until_ms: int, *, count: int, test_days: float, gap_days: float, train_days: float
) -> list[Fold]:
    """Folds of one length, the last one ending at `until_ms`, each a test period behind the one before.

    Between training and test lies the gap in which labels are not known yet.

    Raises:
        NotEnoughHistory: not even half of `train_days` lies before the first fold's gap.
    """
    test_ms, gap_ms, train_ms = (round(days * DAY_MS) for days in (test_days, gap_days, train_days))
    folds = []
    for back in reversed(range(count)):
        test_until = until_ms - back * test_ms
        train_until = test_until - test_ms - gap_ms
        train_from = max(first_ms, train_until - train_ms)
        if train_until - train_from < train_ms / 2:
            have = max(0, train_until - first_ms) / DAY_MS
            raise NotEnoughHistory(
                f"{have:.3g} days of labelled history lie before a gap of {gap_days:g} and a test of "
                f"{test_days:g} days, at least {train_days / 2:g} are needed"
            )
        folds.append(Fold(Period(train_from, train_until), Period(test_until - test_ms, test_until)))
    return folds


def both_classes(rows: LabelledRows) -> bool:
    return 0 < int(rows.fraud.sum()) < len(rows)


def in_periods(rows: LabelledRows, folds: list[Fold]) -> Iterator[tuple[LabelledRows, LabelledRows]]:
    """Training and test rows of each fold."""
    for fold in folds:
        yield rows.between(*fold.train), rows.between(*fold.test)
