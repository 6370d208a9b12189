"""What is known about merchants at a moment: from their transactions and what is known of them.

    transactions by day + labelled transactions → (moment) → the merchants' feature table

A transaction counts as fraud from the moment its verdict is known, and as legitimate once it is older than
labels take to come (the *maturity*) and nobody has called it fraud; in between it says nothing.

Never: a label that is not known at the moment; a clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ray_fraud.domain.feature_tables import Bools, Ints, MerchantTable, UserRiskTable
from ray_fraud.domain.windows import DAY_MS

SHORT_DAYS, LONG_DAYS = 7, 30
"""Windows, in days before the moment from which labels are mature."""
MAX_RUN = 256
"""A longer run of frauds counts as one of this length, which began with the oldest of its newest ones."""
NEVER = -1
"""Of a moment that there is none of, unix milliseconds."""


@dataclass(frozen=True, eq=False)
class MerchantHistory:
    """m merchants that have a known fraud; others may be among them and never get into a table.

    `daily` counts all of their transactions; the labelled ones (e rows) are in order of merchant and event
    time, of each merchant at least the newest `MAX_RUN` that count and every known fraud.
    """

    merchant_ids: Sequence[str]
    first_day: int
    """UTC day (days since 1970-01-01) of the first column of `daily`."""
    daily: Ints
    """Transactions by merchant and day, shape (m, days)."""
    starts: Ints
    """Where the labelled transactions of each merchant begin, and the end: shape (m + 1,)."""
    event_ms: Ints
    """Shape (e,), ascending within a merchant."""
    fraud: Bools
    """Shape (e,)."""

    @cached_property
    def _days_until(self) -> Ints:
        """Transactions before each day, shape (m, days + 1)."""
        until = np.zeros((len(self.daily), self.daily.shape[1] + 1), np.int64)
        np.cumsum(self.daily, axis=1, out=until[:, 1:])
        return until

    @cached_property
    def _frauds_until(self) -> Ints:
        """Frauds among the labelled transactions before each, shape (e + 1,)."""
        return np.concatenate(([0], np.cumsum(self.fraud)))

    @cached_property
    def _keys(self) -> tuple[Ints, int, int]:
        """(merchant, event time) as one ascending number each, the first event time, the merchants' width."""
        first = int(self.event_ms.min()) if len(self.event_ms) else 0
        width = int(self.event_ms.max()) - first + 2 if len(self.event_ms) else 2
        merchant = np.repeat(np.arange(len(self.merchant_ids)), np.diff(self.starts))
        return merchant * width + (self.event_ms - first), first, width

    @cached_property
    def _last_legitimate(self) -> Ints:
        """Position of the last legitimate transaction up to each, of any merchant; -1 for none; (e,)."""
        positions = np.where(self.fraud, -1, np.arange(len(self.fraud)))
        return np.maximum.accumulate(positions) if len(positions) else positions

    @cached_property
    def _last_fraud(self) -> Ints:
        """The same of frauds."""
        positions = np.where(self.fraud, np.arange(len(self.fraud)), -1)
        return np.maximum.accumulate(positions) if len(positions) else positions

    def since(self, from_ms: int) -> Ints:
        """Position of each merchant's first labelled transaction at or after a moment, shape (m,)."""
        keys, first, width = self._keys
        offset = min(max(from_ms - first, 0), width - 1)
        return np.searchsorted(keys, np.arange(len(self.merchant_ids)) * width + offset)

    def table_at(self, as_of_ms: int, maturity_ms: int, until_ms: int | None = None) -> MerchantTable:
        """The table at a moment; nothing of it is older than the first of the `LONG_DAYS` days.

        Args:
            as_of_ms: the moment, unix milliseconds.
            maturity_ms: so old is a transaction that counts as legitimate while nothing else is known.
            until_ms: only labelled transactions at or before it are known by then; None: all are.
        """
        ends = self.starts[1:] if until_ms is None else self.since(until_ms + 1)
        mature_ms = as_of_ms - maturity_ms
        frauds_until = self._frauds_until
        frauds = {
            days: frauds_until[ends] - frauds_until[np.minimum(self.since(mature_ms - days * DAY_MS), ends)]
            for days in (SHORT_DAYS, LONG_DAYS)
        }
        listed = np.flatnonzero(frauds[LONG_DAYS])
        # A history that was read for one moment has no earlier days: a longer one may not tell more.
        begins = self.since((mature_ms // DAY_MS - LONG_DAYS) * DAY_MS)
        run, run_began_ms, last_fraud_ms = self._runs(begins[listed], ends[listed])
        return MerchantTable(
            [self.merchant_ids[index] for index in listed.tolist()],
            self._mature(mature_ms // DAY_MS)[listed],
            frauds[SHORT_DAYS][listed],
            frauds[LONG_DAYS][listed],
            run,
            run_began_ms,
            last_fraud_ms,
        )

    def _mature(self, until_day: int) -> Ints:
        """Transactions of the `LONG_DAYS` days before that day, shape (m,)."""
        first, last = (
            min(max(day - self.first_day, 0), self.daily.shape[1])
            for day in (until_day - LONG_DAYS, until_day)
        )
        counts: Ints = self._days_until[:, last] - self._days_until[:, first]
        return counts

    def _runs(self, begins: Ints, ends: Ints) -> tuple[Ints, Ints, Ints]:
        """Length and first moment of the run of frauds that each merchant ends with, and its last fraud.

        Every merchant has a fraud between `begins` and `ends`, shape (k,).
        """
        final = ends - 1
        run = np.minimum(final - np.maximum(self._last_legitimate[final], begins - 1), MAX_RUN)
        began = np.where(run > 0, self.event_ms[np.minimum(ends - run, final)], NEVER)
        return run, began, self.event_ms[self._last_fraud[final]]


def user_risk(user_ids: Ints, event_ms: Ints, as_of_ms: int, maturity_ms: int) -> UserRiskTable:
    """The users' table at a moment.

    Args:
        user_ids, event_ms: of the transactions that are known as fraud by then, shape (f,), in any order.
        as_of_ms: the moment, unix milliseconds.
        maturity_ms: as in `MerchantHistory.table_at`.
    """
    users, row_of = np.unique(user_ids, return_inverse=True)
    recent = event_ms >= as_of_ms - maturity_ms - LONG_DAYS * DAY_MS
    last = np.full(len(users), NEVER)
    np.maximum.at(last, row_of, event_ms)
    return UserRiskTable(
        users, np.bincount(row_of, weights=recent, minlength=len(users)).astype(np.int64), last
    )
