"""All pattern rules over one table, and over parts of it.

    totals of the parts, added up → findings of users, of places, groups → groups that share a row joined

Users may be in one part only for the rules of users, a merchant, cell or device for those that join by it.

Never: a parameter of its own; a judgement by one part's totals.
"""

import numpy as np

from ray_fraud.domain.feature_tables import ProfileTable
from ray_fraud.domain.patterns.columns import NONE, PatternColumns
from ray_fraud.domain.patterns.coordinated import Group, findings_of, groups_of, join_crowds
from ray_fraud.domain.patterns.finding import Bools, Finding, in_order, moved
from ray_fraud.domain.patterns.frequency import frequency, small_amounts
from ray_fraud.domain.patterns.geographic import geographic_clusters
from ray_fraud.domain.patterns.settings import PatternSettings
from ray_fraud.domain.patterns.temporal import NO_PROFILES, temporal
from ray_fraud.domain.patterns.totals import Totals, crowd_of, span_of


def totals_of_users(columns: PatternColumns, settings: PatternSettings) -> Totals:
    """Of a part that has all rows of its users: everything but the joins."""
    return Totals(
        events=span_of(columns.event_ms),
        placed=span_of(columns.event_ms[columns.cell.codes != NONE]),
        users=crowd_of(columns.user_id),
        small=crowd_of(columns.user_id[small_amounts(columns, settings.frequency)]),
    )


def totals_of_joins(columns: PatternColumns, settings: PatternSettings) -> Totals:
    """Of a part that has all rows of its merchants, cells and devices: the joins alone."""
    return Totals(joined=join_crowds(columns, settings.coordinated))


def user_findings(
    columns: PatternColumns,
    settings: PatternSettings,
    totals: Totals,
    new: Bools | None = None,
    profiles: ProfileTable = NO_PROFILES,
) -> list[Finding]:
    """Findings of the rules of users. With `new`, shape (n,), only of users who have such a row."""
    if new is not None:
        rows = np.flatnonzero(np.isin(columns.user_id, columns.user_id[new]))
        return moved(user_findings(columns.at(rows), settings, totals, None, profiles), rows)
    return [
        *frequency(columns, settings.frequency, totals),
        *temporal(columns, settings.temporal, totals, profiles),
    ]


def place_findings(
    columns: PatternColumns, settings: PatternSettings, totals: Totals, new: Bools | None = None
) -> list[Finding]:
    """Findings of the rule of places. With `new`, shape (n,), only of cells that have such a row."""
    if new is not None:
        codes = columns.cell.codes
        rows = np.flatnonzero(np.isin(codes, codes[new & (codes != NONE)]))
        return moved(place_findings(columns.at(rows), settings, totals), rows)
    return geographic_clusters(columns, settings.geographic, totals)


def join_groups(columns: PatternColumns, settings: PatternSettings, totals: Totals) -> list[Group]:
    """Groups of one merchant, cell or device each."""
    return groups_of(columns, settings.coordinated, totals)


def all_findings(
    columns: PatternColumns, found: list[Finding], groups: list[Group], settings: PatternSettings
) -> list[Finding]:
    """What the parts found, as positions in `columns`, put together and in order."""
    return in_order([*found, *findings_of(columns, groups, settings.coordinated)])


def find_patterns(
    columns: PatternColumns,
    settings: PatternSettings,
    new: Bools | None = None,
    profiles: ProfileTable = NO_PROFILES,
) -> list[Finding]:
    """Findings of every rule, in the order of `in_order`.

    Args:
        new: rows that no search has seen, shape (n,). Then users and cells without one are left out: they
            give what they gave before. Groups are looked for among all, since a new row may join old ones.
        profiles: users' habits over completed days, as far as they are known.
    """
    if not len(columns):
        return []
    totals = totals_of_users(columns, settings) + totals_of_joins(columns, settings)
    found = [
        *user_findings(columns, settings, totals, new, profiles),
        *place_findings(columns, settings, totals, new),
    ]
    return all_findings(columns, found, join_groups(columns, settings, totals), settings)
