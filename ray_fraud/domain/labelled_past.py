"""A past whose frauds are known, seen from any of its moments: what a platform would have known by then.

    labelled transactions + delay → (moment) → feature tables

A fraud is known its delay after its event time, and everything of that age that was no fraud counts as
legitimate: what the refresher makes of verdicts that come after that delay.

Never: a label that is younger than its delay; a clock.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ray_fraud.domain.daily_habits import DailyHabits
from ray_fraud.domain.feature_tables import (
    MIN_PROFILE,
    FeatureTables,
    Ints,
    MerchantTable,
    ProfileTable,
    UserRiskTable,
)
from ray_fraud.domain.merchant_history import MerchantHistory, user_risk
from ray_fraud.domain.windows import DAY_MS


@dataclass(frozen=True, eq=False)
class LabelledPast:
    """What is known of merchants and users in the end, and when it became known."""

    merchants: MerchantHistory
    """Of every merchant that ever had a fraud, with all of its transactions labelled."""
    fraud_users: Ints
    """Users of the frauds, in order of event time, shape (f,)."""
    fraud_ms: Ints
    """Their event times, unix milliseconds, ascending."""

    def risks_at(self, as_of_ms: int, delay_ms: int) -> tuple[MerchantTable, UserRiskTable]:
        """What is known of merchants and users at a moment (unix milliseconds), a delay behind the events."""
        known = int(np.searchsorted(self.fraud_ms, as_of_ms - delay_ms, side="right"))
        users = user_risk(self.fraud_users[:known], self.fraud_ms[:known], as_of_ms, delay_ms)
        return self.merchants.table_at(as_of_ms, delay_ms, as_of_ms - delay_ms), users


class Refresh(NamedTuple):
    """One moment at which tables are made anew."""

    position: int
    """Of the record that was the newest then; the tables hold for the records behind it."""
    as_of_ms: int
    """Its event time, unix milliseconds."""


def refreshes(event_ms: Ints, every_ms: int) -> Iterator[Refresh]:
    """The moments of a log in order of event time: its first record, then whenever a day has ended or so
    much time has passed since the last one, by the events' own times.

    Args:
        event_ms: event times, unix milliseconds, ascending, shape (n,).
        every_ms: above 0.
    """
    if every_ms <= 0:
        raise ValueError(f"every_ms: {every_ms}, must be above 0")
    position = 0
    while position < len(event_ms):
        as_of_ms = int(event_ms[position])
        yield Refresh(position, as_of_ms)
        due_ms = min(as_of_ms + every_ms, (as_of_ms // DAY_MS + 1) * DAY_MS)
        position = max(position + 1, int(np.searchsorted(event_ms, due_ms)))


class TablesOfThePast:
    """The feature tables at one moment after another."""

    def __init__(self, past: LabelledPast, habits: DailyHabits, delay_ms: int, profile_days: int) -> None:
        """`habits` may be those of some users only: the others have no profiles then."""
        self._past = past
        self._habits = habits
        self._delay_ms = delay_ms
        self._profile_days = profile_days
        self._profiles = ProfileTable()
        self._until_day: int | None = None

    def at(self, as_of_ms: int) -> FeatureTables:
        """The tables of a moment that is not before the last one."""
        day = as_of_ms // DAY_MS
        if day != self._until_day:
            self._profiles = self._habits.profiles(day - self._profile_days, day)
            self._until_day = day
        merchants, users = self._past.risks_at(as_of_ms, self._delay_ms)
        return FeatureTables(merchants, users, self._profiles)


def first_refresh(
    past: LabelledPast, user_ids: Ints, event_ms: Ints, every_ms: int, delay_ms: int, profile_days: int
) -> int | None:
    """Position of the first moment whose tables have something in them: a platform's first tables do.

    Args:
        past: what is known in the end.
        user_ids, event_ms: of all records, in order of event time, shape (n,).
        every_ms, delay_ms, profile_days: as of the tables.
    """
    begins, ends = _days_with_a_profile(user_ids, event_ms, profile_days)
    for refresh in refreshes(event_ms, every_ms):
        day = refresh.as_of_ms // DAY_MS
        known = len(past.fraud_ms) and past.fraud_ms[0] <= refresh.as_of_ms - delay_ms
        if known or ((begins <= day) & (day < ends)).any():
            return refresh.position
    return None


def _days_with_a_profile(user_ids: Ints, event_ms: Ints, profile_days: int) -> tuple[Ints, Ints]:
    """Spans of days `[begin, end)` in each of which some user has `MIN_PROFILE` records of completed days."""
    order = np.argsort(user_ids, kind="stable")
    users, days = user_ids[order], event_ms[order] // DAY_MS
    ahead = MIN_PROFILE - 1
    last, first = slice(ahead, None), slice(0, max(0, len(users) - ahead))
    same = users[last] == users[first]
    begins, ends = days[last][same] + 1, days[first][same] + profile_days + 1
    some = begins < ends
    return begins[some], ends[some]
