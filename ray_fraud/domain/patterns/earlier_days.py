"""Crowds that come again: billing runs, canteens at noon, the shops on the day that salaries are paid.

A merchant's own earlier days, at that hour and amount, say how many different users may pay there within one
window. A group is no finding while it is no more than a factor above the busiest of them. A shared device is
compared with its own earlier days.

Never: the day of the group itself; a loop over rows.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ray_fraud.domain.patterns.finding import Finding, Floats, Ints
from ray_fraud.domain.patterns.frequency import MINUTE_MS
from ray_fraud.domain.patterns.settings import CoordinatedSettings
from ray_fraud.domain.windows import DAY_MS

LENGTH_MS = 30 * MINUTE_MS
"""Lengths are rounded up to it, so that a crowd that goes on asks the same again."""
DEVICE = "device:"


class Question(NamedTuple):
    """How many users at most paid such amounts there, within such a time, at that hour of an earlier day."""

    column: str
    """`merchant_id` or `device_id`."""
    names: tuple[str, ...]
    """Of the column, ascending; together they are one crowd."""
    first_ms: int
    """Beginning of the hour that the group began in, unix milliseconds."""
    length_ms: int
    low: float
    """The amounts, base currency, both included."""
    high: float


class Group(NamedTuple):
    """A part of a finding that is judged by itself."""

    users: int
    question: Question


class EarlierRows(NamedTuple):
    """Rows of earlier days that a question is about, in any order; shape (n,) each."""

    user_id: Ints
    event_ms: Ints


Busiest = Callable[[Sequence[Question]], Mapping[Question, int]]
"""Answers questions; one that is left out has no answer, and its group stays a finding."""


def groups_in(
    finding: Finding,
    user_ids: Ints,
    amounts: Floats,
    merchants: Sequence[str | None],
    settings: CoordinatedSettings,
) -> list[Group]:
    """Each merchant with as many users as a finding needs, and the others together; of a device, all of it.

    Args:
        user_ids, amounts, merchants: of the finding's members, in their order, shape (m,).
        settings: how many users that is.
    """
    if finding.subject.startswith(DEVICE):
        question = _question(finding, "device_id", (finding.subject.removeprefix(DEVICE),), amounts, settings)
        return [Group(len(finding.users), question)]
    names = np.array([name or "" for name in merchants], np.object_)
    large = [name for name in sorted(set(names)) if _different(user_ids[names == name]) >= settings.users]
    found = [
        Group(
            _different(user_ids[names == name]),
            _question(finding, "merchant_id", (name,), amounts[names == name], settings),
        )
        for name in large
    ]
    others = ~np.isin(names, large) if large else np.ones(len(names), np.bool_)
    left = _different(user_ids[others])
    if left >= settings.users or not found:
        together = tuple(sorted(set(names[others])))
        found.append(Group(left, _question(finding, "merchant_id", together, amounts[others], settings)))
    return found


def is_usual(groups: Sequence[Group], busiest: Mapping[Question, int], settings: CoordinatedSettings) -> bool:
    """Whether earlier days explain all of them."""
    return all(group.users <= settings.growth * busiest.get(group.question, 0) for group in groups)


def busiest_before(rows: EarlierRows, question: Question, settings: CoordinatedSettings) -> int:
    """Different users within the question's length at about its hour, on the busiest of the earlier days.

    Of a user who pays twice on a day the first payment counts.
    """
    slack_ms = round(settings.earlier_slack_minutes * MINUTE_MS)
    begin_ms = question.first_ms - slack_ms
    days_back = -((rows.event_ms - begin_ms) // DAY_MS)
    at_ms = (rows.event_ms - begin_ms) % DAY_MS
    reach_ms = 2 * slack_ms + question.length_ms
    within = (days_back >= 1) & (days_back <= settings.earlier_days) & (at_ms <= reach_ms)
    if not within.any():
        return 0
    days, users, at_ms = days_back[within], rows.user_id[within], at_ms[within]
    order = np.lexsort((at_ms, users, days))
    days, users, at_ms = days[order], users[order], at_ms[order]
    first = np.append(True, (days[1:] != days[:-1]) | (users[1:] != users[:-1]))
    moments = np.sort(days[first] * (2 * DAY_MS) + at_ms[first])
    until = np.searchsorted(moments, moments + question.length_ms, side="right")
    return int((until - np.arange(len(moments))).max())


def hours_of(question: Question, settings: CoordinatedSettings) -> tuple[int, int]:
    """The earlier days that a question looks at, `[since_ms, until_ms)`, unix milliseconds."""
    slack_ms = round(settings.earlier_slack_minutes * MINUTE_MS)
    until_ms = question.first_ms + question.length_ms + slack_ms - DAY_MS
    return question.first_ms - slack_ms - settings.earlier_days * DAY_MS, until_ms + 1


def _question(
    finding: Finding, column: str, names: tuple[str, ...], amounts: Floats, settings: CoordinatedSettings
) -> Question:
    hour_ms = 60 * MINUTE_MS
    first_ms = finding.first_ms // hour_ms * hour_ms
    window_ms = round(settings.window_minutes * MINUTE_MS)
    length_ms = -(-max(finding.last_ms - finding.first_ms, window_ms) // LENGTH_MS) * LENGTH_MS
    # Steps of the spread, so that a crowd that grows asks the same again.
    step = -math.log(1.0 - settings.amount_spread)
    low = math.exp((math.floor(math.log(float(amounts.min())) / step) - 1) * step)
    high = math.exp((math.ceil(math.log(float(amounts.max())) / step) + 1) * step)
    return Question(column, names, first_ms, length_ms, low, high)


def _different(user_ids: Ints) -> int:
    return len(np.unique(user_ids))
