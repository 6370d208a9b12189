"""Times that do not fit the user: hours improbable under the own history, bursts, robot-like intervals.

History is what lies before: a takeover that lasts an hour does not make its own hour usual.

Never: a judgement on a user with too short a history.
"""

import numpy as np

from ray_fraud.domain.alert import RuleName
from ray_fraud.domain.patterns.columns import PatternColumns
from ray_fraud.domain.patterns.counting import sizes
from ray_fraud.domain.patterns.finding import Bools, Finding, Floats, Ints, grid_start, moved
from ray_fraud.domain.patterns.frequency import crowded
from ray_fraud.domain.patterns.runs import dense, episodes, run_numbers, run_starts
from ray_fraud.domain.patterns.settings import TemporalSettings
from ray_fraud.domain.patterns.totals import Totals

SECOND_MS, HOUR_MS, DAY_MS = 1_000, 3_600_000, 86_400_000
_THURSDAY = 3
"""Weekday of 1 January 1970, Monday = 0."""
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def temporal(columns: PatternColumns, settings: TemporalSettings, totals: Totals) -> list[Finding]:
    """Findings of `unusual_hours`, `burst` and `robot`, each by user and time."""
    if not len(columns):
        return []
    return [
        *_unusual(columns, settings),
        *_bursts(columns, settings, totals),
        *_robots(columns, settings, totals),
    ]


def hour_shares(columns: PatternColumns, settings: TemporalSettings) -> tuple[Floats, Ints]:
    """How usual each row's time was for its user until `unusual_hours` before it.

    The share of the user's transactions within one hour of that time of day, times the share of that weekday
    in sevenths (1 for one that is as frequent as any); half a transaction is added so that none is zero.

    Returns:
        Shape (n,) in the order of `by_user`: the share, and the number of transactions it rests on.
    """
    rows = columns.by_user
    users, at_ms = columns.user_id[rows], columns.event_ms[rows]
    until = at_ms - round(settings.unusual_hours * HOUR_MS)
    user = run_numbers(run_starts(users), len(users))
    hour, weekday = at_ms // HOUR_MS % 24, (at_ms // DAY_MS + _THURSDAY) % 7
    total = _earlier(user, at_ms, user, until)
    near = np.zeros(len(rows), np.int64)
    for shift in (-1, 0, 1):
        near += _earlier(user * 24 + hour, at_ms, user * 24 + (hour + shift) % 24, until)
    same_day = _earlier(user * 7 + weekday, at_ms, user * 7 + weekday, until)
    hour_share: Floats = (near + 0.5) / (total + 4.0)
    day_share: Floats = (same_day + 0.5) / (total + 3.5)
    share: Floats = hour_share * np.minimum(7.0 * day_share, 1.0)
    return share, total


def _earlier(group: Ints, at_ms: Ints, wanted: Ints, until: Ints) -> Ints:
    """For each row: how many rows of the group `wanted` lie at or before `until`, shape (n,)."""
    base, width = int(min(at_ms.min(), until.min())), int(at_ms.max() - min(at_ms.min(), until.min())) + 2
    keys = np.sort(group * width + (at_ms - base))
    first = np.searchsorted(keys, wanted * width, "left")
    last = np.searchsorted(keys, wanted * width + (until - base), "right")
    counts: Ints = np.maximum(last - first, 0)
    return counts


def _unusual(columns: PatternColumns, settings: TemporalSettings) -> list[Finding]:
    """Of users who have a history at all; mostly few have."""
    known = np.flatnonzero(sizes(columns.user_id) > settings.history)
    return moved(_unusual_of(columns.at(known), settings), known) if len(known) else []


def _unusual_of(columns: PatternColumns, settings: TemporalSettings) -> list[Finding]:
    rows = columns.by_user
    share, total = hour_shares(columns, settings)
    odd = (total >= settings.history) & (share < settings.hour_share)
    chosen, shares, known = rows[odd], share[odd], total[odd]
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
