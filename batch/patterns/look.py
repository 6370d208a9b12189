"""What one look at the lake gives, and the look that needs one process and all rows in its memory.

It is what the look by shards has to equal, and what tests and benchmarks compare that with.

Never: a store of findings.
"""

from collections.abc import Callable
from typing import NamedTuple

import pyarrow as pa

from batch.patterns.columns_of import COLUMNS, pattern_columns, with_cells
from batch.patterns.config import PatternConfig
from batch.patterns.rows import PLACE, READ, Seen, cut_after, first_of_each, seen_in
from batch.patterns.rules import find_patterns
from ray_fraud.domain.feature_tables import ProfileTable
from ray_fraud.domain.patterns.finding import Finding, moved
from ray_fraud.domain.patterns.totals import span_of
from ray_fraud.stores.tables.port import TransactionTable

HOUR_MS = 3_600_000


class Look(NamedTuple):
    """What was looked at and found."""

    rows: int
    """Of the look-back."""
    left_out: int
    """Of them, beyond `max_rows`."""
    duplicates: int
    findings: list[Finding]
    members: pa.Table
    """Rows of the table that hold the findings' members: their positions are positions here."""
    seen: Seen
    """How far it looked."""
    reach_ms: int
    """From the first to the last event that was looked at."""


LookAt = Callable[[Seen | None], Look]
"""With what earlier looks have seen, users and cells without a row since are left out; None: nothing is."""
Profiles = Callable[[], ProfileTable]
"""Gives users' habits over completed days, wherever it is called; `ProfileTable` itself gives none."""


def look_span_ms(config: PatternConfig) -> int:
    return round(config.look_back_hours * HOUR_MS)


def look_in_process(
    table: TransactionTable,
    config: PatternConfig,
    since: Seen | None = None,
    *,
    profiles: Profiles = ProfileTable,
) -> Look:
    """Looks at all rows of the look-back in this process.

    Raises:
        StoreUnavailable: the lake does not answer.
    """
    rows = table.recent(READ, look_span_ms(config)).combine_chunks()
    read, left_out = rows.num_rows, max(0, rows.num_rows - config.max_rows)
    if left_out:
        rows = rows.filter(cut_after(rows, config.max_rows).of(rows))
    return look_at_rows(rows, config, since, profiles())._replace(rows=read, left_out=left_out)


def look_at_rows(rows: pa.Table, config: PatternConfig, since: Seen | None, profiles: ProfileTable) -> Look:
    """Looks at rows with the columns `READ`, in any order; `members` are all of them."""
    if not rows.num_rows:
        return Look(0, 0, 0, [], rows, Seen(), 0)
    kept = first_of_each(rows)
    new = None if since is None else since.new_in(rows)[kept]
    # What is only told of members is not copied.
    columns = pattern_columns(with_cells(rows.select(COLUMNS).take(kept)))
    findings = moved(find_patterns(columns, config.settings, new, profiles), kept)
    seen = seen_in(rows.select(PLACE).take(kept))
    reach_ms = span_of(columns.event_ms).length_ms
    return Look(rows.num_rows, 0, rows.num_rows - len(kept), findings, rows, seen, reach_ms)
