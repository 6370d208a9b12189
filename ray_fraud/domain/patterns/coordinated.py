"""Groups of users joined by merchant, place or device, by similar amounts and by time.

A group is at least so many different users who pay similar amounts at one merchant (in one cell, from one
device) within one window, where so many are improbable at that merchant's own rate of such amounts. Groups
that share a transaction are one finding: connected components, so a ring that uses two shops of one place is
found once.

Never: a group in which one user counts twice.
"""

import math

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ray_fraud.domain.alert import RuleName
from ray_fraud.domain.patterns.columns import NONE, Codes, PatternColumns
from ray_fraud.domain.patterns.finding import Finding, Ints, grid_start
from ray_fraud.domain.patterns.frequency import MINUTE_MS
from ray_fraud.domain.patterns.runs import crowds, episodes, poisson_tail, run_numbers, run_starts
from ray_fraud.domain.patterns.settings import CoordinatedSettings

GRIDS = 2
"""Amounts are put into two grids of buckets, each twice as wide as `amount_spread` and shifted by half a
bucket: whatever lies within the spread lies whole in a bucket of one of them."""


def coordinated(columns: PatternColumns, settings: CoordinatedSettings) -> list[Finding]:
    """Findings in order of their first transaction."""
    groups: list[tuple[str, Ints]] = []
    for kind, codes in (("merchant", columns.merchant), ("cell", columns.cell), ("device", columns.device)):
        groups += _groups(columns, kind, codes, settings)
    found = [_finding(columns, group, settings) for group in _joined(groups)]
    return sorted(found, key=lambda finding: (finding.first_ms, finding.subject))


def _groups(
    columns: PatternColumns, kind: str, codes: Codes, settings: CoordinatedSettings
) -> list[tuple[str, Ints]]:
    """(`merchant:name`, positions of its rows in order of time) of every group joined by this column."""
    rows = np.flatnonzero((codes.codes != NONE) & (columns.amount > 0))
    if not len(rows):
        return []
    half = -math.log(1.0 - settings.amount_spread)
    logs = np.log(columns.amount[rows])
    found: list[tuple[str, Ints]] = []
    for grid in range(GRIDS):
        bucket = np.floor((logs + grid * half) / (2.0 * half)).astype(np.int64)
        order = np.lexsort((columns.event_ms[rows], bucket, codes.codes[rows]))
        found += _of_one_grid(columns, kind, codes, rows[order], bucket[order], settings)
    return found


def _of_one_grid(
    columns: PatternColumns,
    kind: str,
    codes: Codes,
    rows: Ints,
    bucket: Ints,
    settings: CoordinatedSettings,
) -> list[tuple[str, Ints]]:
    """`rows` in order of (code, bucket, time)."""
    window_ms = round(settings.window_minutes * MINUTE_MS)
    group = run_numbers(run_starts(codes.codes[rows], bucket), len(rows))
    at_ms = columns.event_ms[rows]
    covered, mean = crowds(group, at_ms, window_ms, settings.users, settings.surprise, columns.span_ms)
    found = []
    for episode in episodes(covered, group, at_ms, window_ms):
        members = rows[episode]
        different = len(np.unique(columns.user_id[members]))
        usual = np.array([mean[episode].min()])
        if different >= settings.users and poisson_tail(np.array([different]), usual)[0] < settings.surprise:
            found.append((f"{kind}:{codes.names[int(codes.codes[members[0]])]}", members))
    return found


def _joined(groups: list[tuple[str, Ints]]) -> list[list[tuple[str, Ints]]]:
    """Groups that share a row, directly or through others, together."""
    if not groups:
        return []
    # A graph of groups and rows: as large as the groups together, however much they overlap.
    rows, members = np.unique(np.concatenate([rows for _, rows in groups]), return_inverse=True)
    owners = np.repeat(np.arange(len(groups)), [len(rows) for _, rows in groups])
    nodes = len(groups) + len(rows)
    edges = (np.ones(len(members), np.int8), (owners, len(groups) + members))
    _, labels = connected_components(coo_array(edges, shape=(nodes, nodes)), directed=False)
    together: dict[int, list[tuple[str, Ints]]] = {}
    for label, group in zip(labels[: len(groups)].tolist(), groups, strict=True):
        together.setdefault(label, []).append(group)
    return list(together.values())


def _finding(
    columns: PatternColumns, groups: list[tuple[str, Ints]], settings: CoordinatedSettings
) -> Finding:
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
