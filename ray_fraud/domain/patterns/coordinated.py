"""Groups of users joined by merchant, place or device, by similar amounts and by time.

A group is at least so many different users who pay similar amounts at one merchant (in one cell, from one
device) within one window, where so many are improbable at that merchant's own rate of such amounts. Groups
that share a transaction are one finding: connected components, so a ring that uses two shops of one place is
found once.

Never: a group in which one user counts twice.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ray_fraud.domain.alert import RuleName
from ray_fraud.domain.patterns.columns import NONE, Codes, PatternColumns
from ray_fraud.domain.patterns.crowds import Usual, crowds, may_be_crowded
from ray_fraud.domain.patterns.finding import Finding, Ints, grid_start
from ray_fraud.domain.patterns.frequency import MINUTE_MS
from ray_fraud.domain.patterns.poisson import poisson_tail
from ray_fraud.domain.patterns.runs import episodes
from ray_fraud.domain.patterns.settings import CoordinatedSettings
from ray_fraud.domain.patterns.sorting import order_of
from ray_fraud.domain.patterns.totals import Crowd, Totals, crowd_of

GRIDS = 2
"""Amounts are put into two grids of buckets, each twice as wide as `amount_spread` and shifted by half a
bucket: whatever lies within the spread lies whole in a bucket of one of them."""


Group = tuple[str, Ints]
"""(`merchant:name`, positions of its rows in order of time)."""


class _Grid(NamedTuple):
    """Rows that a column joins, in buckets of similar amounts."""

    kind: str
    number: int
    codes: Codes
    rows: Ints
    """Positions, ascending."""
    group: Ints
    """A number for each pair of code and bucket, shape (rows,): pairs are slow to compare."""

    @property
    def name(self) -> str:
        """Under which its totals are found."""
        return f"{self.kind}/{self.number}"


def join_crowds(columns: PatternColumns, settings: CoordinatedSettings) -> dict[str, Crowd]:
    """What `groups_of` needs to know of all rows."""
    return {grid.name: crowd_of(grid.group) for grid in _grids(columns, settings)}


def coordinated(columns: PatternColumns, settings: CoordinatedSettings, totals: Totals) -> list[Finding]:
    """One finding for groups that share a row."""
    return findings_of(columns, groups_of(columns, settings, totals), settings)


def groups_of(columns: PatternColumns, settings: CoordinatedSettings, totals: Totals) -> list[Group]:
    """Every group of one merchant, cell or device; one transaction may be in several."""
    return [
        group for grid in _grids(columns, settings) for group in _of_one_grid(columns, grid, settings, totals)
    ]


def findings_of(
    columns: PatternColumns, groups: Sequence[Group], settings: CoordinatedSettings
) -> list[Finding]:
    """Groups that share a row, directly or through others, as one finding; only their rows count."""
    return [_finding(columns, together, settings) for together in _joined(groups)]


def _grids(columns: PatternColumns, settings: CoordinatedSettings) -> Iterator[_Grid]:
    half = -math.log(1.0 - settings.amount_spread)
    paid = columns.amount > 0
    logs = np.log(columns.amount, where=paid, out=np.zeros(len(columns)))
    buckets = [np.floor((logs + number * half) / (2.0 * half)).astype(np.int64) for number in range(GRIDS)]
    for kind, codes in (("merchant", columns.merchant), ("cell", columns.cell), ("device", columns.device)):
        rows = np.flatnonzero((codes.codes != NONE) & paid)
        if not len(rows):
            continue
        code = codes.codes[rows]
        for number, of_all in enumerate(buckets):
            bucket = of_all[rows]
            bucket -= bucket.min()
            yield _Grid(kind, number, codes, rows, code * (bucket.max() + 1) + bucket)


def _of_one_grid(
    columns: PatternColumns, grid: _Grid, settings: CoordinatedSettings, totals: Totals
) -> list[Group]:
    window_ms = round(settings.window_minutes * MINUTE_MS)
    codes = grid.codes
    usual = Usual(window_ms, totals.events.length_ms, totals.joined[grid.name])
    at_ms = columns.event_ms[grid.rows]
    # Few may have a crowd, and it is sorting that takes time.
    some = np.flatnonzero(may_be_crowded(grid.group, at_ms, settings.users, settings.surprise, usual))
    order = some[order_of(grid.group[some], at_ms[some])]
    rows, group, at_ms = grid.rows[order], grid.group[order], at_ms[order]
    covered, mean = crowds(group, at_ms, settings.users, settings.surprise, usual)
    found = []
    for episode in episodes(covered, group, at_ms, window_ms):
        members = rows[episode]
        different = len(np.unique(columns.user_id[members]))
        least = np.array([mean[episode].min()])
        if different >= settings.users and poisson_tail(np.array([different]), least)[0] < settings.surprise:
            found.append((f"{grid.kind}:{codes.names[int(codes.codes[members[0]])]}", members))
    return found


def _joined(groups: Sequence[Group]) -> list[list[Group]]:
    """Groups that share a row, directly or through others, together."""
    if not groups:
        return []
    # A graph of groups and rows: as large as the groups together, however much they overlap.
    rows, members = np.unique(np.concatenate([rows for _, rows in groups]), return_inverse=True)
    owners = np.repeat(np.arange(len(groups)), [len(rows) for _, rows in groups])
    nodes = len(groups) + len(rows)
    edges = (np.ones(len(members), np.int8), (owners, len(groups) + members))
    _, labels = connected_components(coo_array(edges, shape=(nodes, nodes)), directed=False)
    together: dict[int, list[Group]] = {}
    for label, group in zip(labels[: len(groups)].tolist(), groups, strict=True):
        together.setdefault(label, []).append(group)
    return list(together.values())


def _finding(columns: PatternColumns, groups: list[Group], settings: CoordinatedSettings) -> Finding:
    window_ms = round(settings.window_minutes * MINUTE_MS)
    members = np.unique(np.concatenate([rows for _, rows in groups]))
    members = members[np.argsort(columns.event_ms[members], kind="stable")]
    # The join that explains most; of equals the first by name, whatever the order of the rows.
    subject = min(groups, key=lambda group: (-len(group[1]), group[0]))[0]
    users = np.unique(columns.user_id[members])
    amounts = columns.amount[members]
    first, last = int(columns.event_ms[members[0]]), int(columns.event_ms[members[-1]])
    reason = (
        f"{len(users)} users pay {amounts.min():,.2f} to {amounts.max():,.2f} at {subject} within "
        f"{(last - first) / MINUTE_MS:,.3g} min"
    )
    return Finding(
        RuleName.COORDINATED,
        subject,
        grid_start(first, window_ms),
        first,
        last,
        settings.severity,
        reason,
        tuple(users.tolist()),
        tuple(members.tolist()),
    )
