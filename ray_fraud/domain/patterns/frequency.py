"""Too many transactions of a user in a window, or too many small ones.

What is too many depends on the user: a number that is improbable at the user's own rate outside of the
window, and at least the configured one.

Never: a neighbour in another user's history.
"""

import numpy as np

from ray_fraud.domain.alert import RuleName, Severity
from ray_fraud.domain.patterns.columns import PatternColumns
from ray_fraud.domain.patterns.crowds import Usual, crowds, may_be_crowded
from ray_fraud.domain.patterns.finding import Bools, Finding, Ints, grid_start
from ray_fraud.domain.patterns.poisson import surprising_count
from ray_fraud.domain.patterns.runs import episodes
from ray_fraud.domain.patterns.settings import FrequencySettings
from ray_fraud.domain.patterns.sorting import order_of
from ray_fraud.domain.patterns.totals import Crowd, Totals

MINUTE_MS = 60_000


def small_amounts(columns: PatternColumns, settings: FrequencySettings) -> Bools:
    """Which rows have a small amount, shape (n,)."""
    small: Bools = columns.amount <= settings.small_amount
    return small


def frequency(columns: PatternColumns, settings: FrequencySettings, totals: Totals) -> list[Finding]:
    """Findings of `frequency` and `small_amounts`, by user and time."""
    everything = np.ones(len(columns), np.bool_)
    small = small_amounts(columns, settings)
    span_ms = totals.events.length_ms
    window_ms = round(settings.window_minutes * MINUTE_MS)
    small_window_ms = round(settings.small_window_minutes * MINUTE_MS)
    many = crowded(columns, everything, window_ms, settings.count, settings.surprise, span_ms, totals.users)
    many_small = crowded(
        columns, small, small_window_ms, settings.small_count, settings.surprise, span_ms, totals.small
    )
    return [
        *_findings(columns, many, window_ms, RuleName.FREQUENCY, settings.severity),
        *_findings(columns, many_small, small_window_ms, RuleName.SMALL_AMOUNTS, settings.small_severity),
    ]


def crowded(
    columns: PatternColumns,
    chosen: Bools,
    window_ms: int,
    count: int,
    surprise: float,
    span_ms: int,
    everybody: Crowd,
) -> tuple[list[Ints], Ints]:
    """Episodes of more chosen rows of a user than fit its own rate; `everybody`: of chosen rows, by user.

    Returns:
        The episodes as positions in the columns, and for each how many would have been too many.
    """
    rows = np.flatnonzero(chosen)
    users, at_ms = columns.user_id[rows], columns.event_ms[rows]
    usual = Usual(window_ms, span_ms, everybody)
    some = np.flatnonzero(may_be_crowded(users, at_ms, count, surprise, usual))
    some = some[order_of(users[some], at_ms[some])]
    rows, users, at_ms = rows[some], users[some], at_ms[some]
    covered, mean = crowds(users, at_ms, count, surprise, usual)
    found = episodes(covered, users, at_ms, window_ms)
    least = np.array([mean[episode].min() for episode in found])
    return [rows[episode] for episode in found], surprising_count(least, surprise, count)


def _findings(
    columns: PatternColumns,
    found: tuple[list[Ints], Ints],
    window_ms: int,
    rule: RuleName,
    severity: Severity,
) -> list[Finding]:
    return [
        _finding(columns, members, enough, window_ms, rule, severity)
        for members, enough in zip(found[0], found[1].tolist(), strict=True)
    ]


def _finding(
    columns: PatternColumns, members: Ints, enough: int, window_ms: int, rule: RuleName, severity: Severity
) -> Finding:
    first, last = int(columns.event_ms[members[0]]), int(columns.event_ms[members[-1]])
    amounts = columns.amount[members]
    what = "transactions" if rule is RuleName.FREQUENCY else f"amounts up to {amounts.max():,.2f}"
    user = int(columns.user_id[members[0]])
    reason = (
        f"{len(members)} {what} in {_minutes(last - first)}, {amounts.sum():,.2f} in all; "
        f"{enough} in {_minutes(window_ms)} are too many for this user"
    )
    return Finding(
        rule,
        f"user:{user}",
        grid_start(first, window_ms),
        first,
        last,
        severity,
        reason,
        (user,),
        tuple(members.tolist()),
    )


def _minutes(milliseconds: int) -> str:
    return f"{milliseconds / MINUTE_MS:,.3g} min"
