"""Unusually many different users in one place within one window, against that place's own baseline.

The baseline of a cell is the mean number of different users of its other windows in which there was anybody:
a market square is crowded every noon, a parking lot never. A cell without another such window counts as
empty. The first and the last window of the period are judged and are no baseline: mostly they are cut.

Never: counting one user twice in a window.
"""

import numpy as np

from ray_fraud.domain.alert import RuleName
from ray_fraud.domain.patterns.columns import NONE, PatternColumns
from ray_fraud.domain.patterns.finding import Finding, Ints
from ray_fraud.domain.patterns.frequency import MINUTE_MS
from ray_fraud.domain.patterns.poisson import poisson_tail
from ray_fraud.domain.patterns.runs import run_numbers, run_starts
from ray_fraud.domain.patterns.settings import GeographicSettings
from ray_fraud.domain.patterns.sorting import order_of
from ray_fraud.domain.patterns.totals import Totals


def geographic_clusters(
    columns: PatternColumns, settings: GeographicSettings, totals: Totals
) -> list[Finding]:
    """Findings by cell and window."""
    window_ms = round(settings.window_minutes * MINUTE_MS)
    placed = np.flatnonzero(columns.cell.codes != NONE)
    windows = totals.placed.windows(window_ms)
    if not len(placed) or windows < settings.windows:
        return []
    cell, window = columns.cell.codes[placed], columns.event_ms[placed] // window_ms
    order = order_of(cell, window, columns.user_id[placed])
    rows, cell, window = placed[order], cell[order], window[order]
    users = columns.user_id[rows]
    starts = run_starts(cell, window)
    new_user = np.zeros(len(rows), np.int64)
    new_user[run_starts(cell, window, users)] = 1
    different = np.add.reduceat(new_user, starts)
    cells = run_numbers(run_starts(cell[starts]), len(starts))
    usual = ~np.isin(window[starts], totals.placed.edges(window_ms))
    # The window itself does not vouch for its own normality.
    others = np.bincount(cells, weights=different * usual)[cells] - different * usual
    occupied = np.bincount(cells, weights=usual)[cells] - usual
    mean = np.maximum(others / np.maximum(occupied, 1), 1.0 / windows)
    hit = (different >= settings.users) & (poisson_tail(different, mean) < settings.surprise)
    ends = np.append(starts[1:], len(rows))
    return [
        _finding(
            columns, rows[starts[index] : ends[index]], int(different[index]), float(mean[index]), settings
        )
        for index in np.flatnonzero(hit).tolist()
    ]


def _finding(
    columns: PatternColumns, members: Ints, different: int, mean: float, settings: GeographicSettings
) -> Finding:
    window_ms = round(settings.window_minutes * MINUTE_MS)
    members = members[order_of(columns.event_ms[members], columns.user_id[members])]
    first, last = int(columns.event_ms[members[0]]), int(columns.event_ms[members[-1]])
    cell = columns.cell.names[int(columns.cell.codes[members[0]])]
    reason = (
        f"{different} users in cell {cell} within {settings.window_minutes:g} min, where {mean:.3g} are usual"
    )
    return Finding(
        RuleName.GEOGRAPHIC_CLUSTER,
        f"cell:{cell}",
        first // window_ms * window_ms,
        first,
        last,
        settings.severity,
        reason,
        tuple(np.unique(columns.user_id[members]).tolist()),
        tuple(members.tolist()),
    )
