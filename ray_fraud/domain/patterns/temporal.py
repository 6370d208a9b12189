"""Times that do not fit the user: hours improbable under the own history, bursts, robot-like intervals.

A user's history is the profile of completed days, where there is one: a search looks at hours, habits take
weeks. Without one it is what lies before in the table: a takeover that lasts an hour does not make its own
hour usual.

Never: a judgement on a user with too short a history.
"""

from typing import NamedTuple

import numpy as np

from ray_fraud.domain.alert import RuleName
from ray_fraud.domain.feature_tables import HOURS, WEEKDAYS, ProfileTable
from ray_fraud.domain.patterns.columns import PatternColumns
from ray_fraud.domain.patterns.counting import sizes
from ray_fraud.domain.patterns.finding import Bools, Finding, Floats, Ints, grid_start
from ray_fraud.domain.patterns.frequency import crowded
from ray_fraud.domain.patterns.runs import dense, episodes, run_numbers, run_starts
from ray_fraud.domain.patterns.settings import TemporalSettings
from ray_fraud.domain.patterns.sorting import order_of
from ray_fraud.domain.patterns.totals import Totals, span_of

SECOND_MS, HOUR_MS, DAY_MS = 1_000, 3_600_000, 86_400_000
_THURSDAY = 3
"""Weekday of 1 January 1970, Monday = 0."""
KNOWN_WEEKDAYS = 5
"""On so many a user was seen before a weekday can be unusual …"""
KNOWN_HOURS_WEEKDAYS = 3
"""… and on so many before an hour can be: one busy day is no habit."""
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


NO_PROFILES = ProfileTable()


class OddTimes(NamedTuple):
    """Rows at times that are unusual for their user, arrays of shape (n,)."""

    rows: Ints
    shares: Floats
    """How usual the time is."""
    known: Ints
    """Transactions that this rests on."""


def temporal(
    columns: PatternColumns,
    settings: TemporalSettings,
    totals: Totals,
    profiles: ProfileTable = NO_PROFILES,
) -> list[Finding]:
    """Findings of `unusual_hours`, `burst` and `robot`, each by user and time."""
    if not len(columns):
        return []
    return [
        *_unusual(columns, settings, profiles),
        *_bursts(columns, settings, totals),
        *_robots(columns, settings, totals),
    ]


def odd_times(columns: PatternColumns, settings: TemporalSettings, profiles: ProfileTable) -> OddTimes:
    """The rows whose time has less than `hour_share` of its user's history, by user and time."""
    profile = profiles.rows_of(columns.user_id)
    known = profile >= 0
    known[known] = _has_habits(profiles, settings.history)[profile[known]]
    with_profile = _odd_by_profile(columns, settings, profiles, np.where(known, profile, -1))
    others = np.empty(0, np.int64)
    if span_of(columns.event_ms).length_ms >= round(settings.history_days * DAY_MS):
        # Mostly few have as many rows.
        others = np.flatnonzero(~known & (sizes(columns.user_id) > settings.history))
    by_table = _odd_by_table(columns.at(others), settings)
    found = OddTimes(
        np.concatenate((with_profile.rows, others[by_table.rows])),
        np.concatenate((with_profile.shares, by_table.shares)),
        np.concatenate((with_profile.known, by_table.known)),
    )
    order = order_of(columns.user_id[found.rows], columns.event_ms[found.rows], found.rows)
    return OddTimes(found.rows[order], found.shares[order], found.known[order])


def _has_habits(profiles: ProfileTable, history: int) -> Bools:
    """Which profiles say what is usual; those of earlier releases tell no weekdays and are believed."""
    enough: Bools = profiles.counts >= history
    if len(profiles.weekdays):
        enough &= np.count_nonzero(profiles.weekdays, axis=1) >= KNOWN_HOURS_WEEKDAYS
    return enough


def _odd_by_profile(
    columns: PatternColumns, settings: TemporalSettings, profiles: ProfileTable, profile: Ints
) -> OddTimes:
    """`profile`: the row of each row's user among the profiles, shape (n,); -1 for none."""
    rows = np.flatnonzero(profile >= 0)
    at_ms, chosen = columns.event_ms[rows], profile[rows]
    hour, weekday = _hour_and_weekday(at_ms)
    near = np.zeros(len(rows), np.int64)
    for shift in (-1, 0, 1):
        near += profiles.hours[chosen, (hour + shift) % HOURS]
    total = profiles.counts[chosen]
    same_day = total
    if len(profiles.weekdays):
        # Who was here for a day or two has no weekdays yet: the first day of each would be unusual.
        weekly = np.count_nonzero(profiles.weekdays, axis=1)[chosen] >= KNOWN_WEEKDAYS
        same_day = np.where(weekly, profiles.weekdays[chosen, weekday], total)
    return _odd(rows, _share(near, same_day, total), total, settings)


def _odd_by_table(columns: PatternColumns, settings: TemporalSettings) -> OddTimes:
    """By each user's rows until `unusual_hours` before, if they reach back far enough."""
    if not len(columns):
        return _odd(np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64), settings)
    rows = columns.by_user
    users, at_ms = columns.user_id[rows], columns.event_ms[rows]
    until = at_ms - round(settings.unusual_hours * HOUR_MS)
    starts = run_starts(users)
    user = run_numbers(starts, len(users))
    hour, weekday = _hour_and_weekday(at_ms)
    total = _earlier(user, at_ms, user, until)
    near = np.zeros(len(rows), np.int64)
    for shift in (-1, 0, 1):
        near += _earlier(user * HOURS + hour, at_ms, user * HOURS + (hour + shift) % HOURS, until)
    same_day = _earlier(user * WEEKDAYS + weekday, at_ms, user * WEEKDAYS + weekday, until)
    reach_ms = at_ms - at_ms[starts][user]
    total[reach_ms < round(settings.history_days * DAY_MS)] = 0
    return _odd(rows, _share(near, same_day, total), total, settings)


def _hour_and_weekday(at_ms: Ints) -> tuple[Ints, Ints]:
    return at_ms // HOUR_MS % HOURS, (at_ms // DAY_MS + _THURSDAY) % WEEKDAYS


def _share(near: Ints, same_day: Ints, total: Ints) -> Floats:
    """How usual a time is for its user, shape (n,).

    The share of the user's transactions within one hour of that time of day, times the share of that weekday
    in sevenths (1 for one that is as frequent as any); half a transaction is added so that none is zero.
    """
    hour_share: Floats = (near + 0.5) / (total + 4.0)
    day_share: Floats = (same_day + 0.5) / (total + 3.5)
    share: Floats = hour_share * np.minimum(WEEKDAYS * day_share, 1.0)
    return share


def _odd(rows: Ints, share: Floats, total: Ints, settings: TemporalSettings) -> OddTimes:
    odd = (total >= settings.history) & (share < settings.hour_share)
    return OddTimes(rows[odd], share[odd], total[odd])


def _earlier(group: Ints, at_ms: Ints, wanted: Ints, until: Ints) -> Ints:
    """For each row: how many rows of the group `wanted` lie at or before `until`, shape (n,)."""
    base, width = int(min(at_ms.min(), until.min())), int(at_ms.max() - min(at_ms.min(), until.min())) + 2
    keys = np.sort(group * width + (at_ms - base))
    first = np.searchsorted(keys, wanted * width, "left")
    last = np.searchsorted(keys, wanted * width + (until - base), "right")
    counts: Ints = np.maximum(last - first, 0)
    return counts


def _unusual(columns: PatternColumns, settings: TemporalSettings, profiles: ProfileTable) -> list[Finding]:
    chosen, shares, known = odd_times(columns, settings, profiles)
    users, at_ms = columns.user_id[chosen], columns.event_ms[chosen]
    window_ms = round(settings.unusual_hours * HOUR_MS)
    found = []
    for episode in episodes(dense(users, at_ms, settings.unusual_count, window_ms), users, at_ms, window_ms):
        first = int(at_ms[episode[0]])
        day, hour = DAYS[(first // DAY_MS + _THURSDAY) % 7], first // HOUR_MS % 24
        reason = (
            f"{len(episode)} transactions around {day} {hour:02}:00 UTC, a time of at most "
            f"{shares[episode].max():.2%} of this user's {known[episode[0]]} before"
        )
        found.append(_finding(columns, chosen[episode], window_ms, RuleName.UNUSUAL_HOURS, reason, settings))
    return found


def _bursts(columns: PatternColumns, settings: TemporalSettings, totals: Totals) -> list[Finding]:
    window_ms = round(settings.burst_seconds * SECOND_MS)
    everything = np.ones(len(columns), np.bool_)
    found, needed = crowded(
        columns,
        everything,
        window_ms,
        settings.burst_count,
        settings.burst_surprise,
        totals.events.length_ms,
        totals.users,
    )
    return [
        _finding(
            columns,
            members,
            window_ms,
            RuleName.BURST,
            f"{len(members)} transactions in {_span(columns, members):,.3g} s; "
            f"{enough} in {settings.burst_seconds:g} s are too many for this user",
            settings,
        )
        for members, enough in zip(found, needed.tolist(), strict=True)
    ]


def _robots(columns: PatternColumns, settings: TemporalSettings, totals: Totals) -> list[Finding]:
    rows = columns.by_user
    users, at_ms = columns.user_id[rows], columns.event_ms[rows]
    # Moments, not rows: of transactions of the same millisecond none comes first.
    moments = run_starts(users, at_ms)
    covered = regular(users[moments], at_ms[moments], settings)[run_numbers(moments, len(rows))]
    window_ms = round(settings.unusual_hours * HOUR_MS)
    found = []
    for episode in episodes(covered, users, at_ms, totals.events.length_ms):
        members = rows[episode]
        steps = np.diff(np.unique(columns.event_ms[members])) / SECOND_MS
        reason = (
            f"{len(members)} transactions every {steps.mean():,.4g} s, "
            f"intervals between {steps.min():,.4g} and {steps.max():,.4g} s"
        )
        found.append(_finding(columns, members, window_ms, RuleName.ROBOT, reason, settings))
    return found


def regular(users: Ints, at_ms: Ints, settings: TemporalSettings) -> Bools:
    """Moments between which `robot_count` equal intervals lie in a row, shape (n,); by user and time."""
    size, steps = len(at_ms), settings.robot_count
    covered = np.zeros(size, np.bool_)
    if size <= steps:
        return covered
    intervals = np.diff(at_ms)
    windows = size - steps
    largest, smallest = intervals[:windows].copy(), intervals[:windows].copy()
    for shift in range(1, steps):
        np.maximum(largest, intervals[shift : shift + windows], out=largest)
        np.minimum(smallest, intervals[shift : shift + windows], out=smallest)
    mean = (at_ms[steps:] - at_ms[:windows]) / steps
    equal = (users[steps:] == users[:windows]) & (mean >= settings.robot_seconds * SECOND_MS)
    equal &= (largest - smallest) <= settings.robot_spread * mean
    marks = np.zeros(size + 1, np.int64)
    begins = np.flatnonzero(equal)
    np.add.at(marks, begins, 1)
    np.add.at(marks, begins + steps + 1, -1)
    return np.cumsum(marks[:-1]) > 0


def _span(columns: PatternColumns, members: Ints) -> float:
    return float(columns.event_ms[members[-1]] - columns.event_ms[members[0]]) / SECOND_MS


def _finding(
    columns: PatternColumns,
    members: Ints,
    window_ms: int,
    rule: RuleName,
    reason: str,
    settings: TemporalSettings,
) -> Finding:
    user, first = int(columns.user_id[members[0]]), int(columns.event_ms[members[0]])
    return Finding(
        rule,
        f"user:{user}",
        grid_start(first, window_ms),
        first,
        int(columns.event_ms[members[-1]]),
        settings.severity,
        reason,
        (user,),
        tuple(members.tolist()),
    )
