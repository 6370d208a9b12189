"""What one look reads: one version of the table, its newest rows, files together in pieces.

    the newest rows by time → the newest `max_rows` of them (by files, then to the row) → pieces, shards

Never: rows of the table, but for the one column that says which are the newest where there are too many.
"""

import msgspec
import numpy as np
import pyarrow as pa

from batch.patterns.config import PatternConfig
from batch.patterns.look import look_span_ms
from batch.patterns.rows import PLACE, Cut, cut_after
from batch.scoring.plan import pieces_of
from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.tables.columns import TRANSACTIONS
from ray_fraud.stores.tables.period import PeriodRows, newest_rows

CUT_BATCH_ROWS = 100_000
ONE_TASK_SHARDS = 2
"""So many shards' rows one task looks at sooner than two, which have to exchange them."""


class Plan(msgspec.Struct, frozen=True):
    version: int
    """Of the table."""
    since_ms: int
    until_ms: int
    """Event times `[since_ms, until_ms)` are read, unix milliseconds."""
    cut: Cut | None
    """Of those, what is looked at; None: all."""
    pieces: list[tuple[str, ...]]
    """Files that one task reads."""
    rows: int
    """That are looked at, duplicates too."""
    left_out: int
    shards: int


def plan_of(lake: LakeLocation, config: PatternConfig) -> Plan | None:
    """None for a table without rows.

    Raises:
        StoreError: the lake does not answer, or has no such table.
    """
    period = newest_rows(lake, TRANSACTIONS, look_span_ms(config))
    if period is None:
        return None
    rows = period.count()
    left_out = max(0, rows - config.max_rows)
    cut = None
    if left_out:
        period = _narrowed(lake, period, config.max_rows)
        cut = _cut(lake, period, config.max_rows)
        rows = config.max_rows
    pieces = [piece.paths for piece in pieces_of(period.files(), config.shard_rows)]
    shards = 1 if rows <= ONE_TASK_SHARDS * config.shard_rows else -(-rows // config.shard_rows)
    return Plan(period.version, period.since_ms, period.until_ms, cut, pieces, rows, left_out, shards)


def _narrowed(lake: LakeLocation, period: PeriodRows, max_rows: int) -> PeriodRows:
    """A shorter period that has the newest `max_rows` rows, as far as the files' statistics tell."""
    known = [(file.first_ms, file.rows) for file in period.files() if file.first_ms is not None]
    held = 0
    for first_ms, rows in sorted(known, reverse=True):
        held += rows
        if held >= max_rows:
            since_ms = max(period.since_ms, first_ms)
            return PeriodRows(lake, period.name, since_ms, period.until_ms, period.version)
    return period


def _cut(lake: LakeLocation, period: PeriodRows, max_rows: int) -> Cut | None:
    """The last of the newest `max_rows` rows; None if there are no more than those."""
    paths = [file.path for file in period.files()]
    parts = period.read(paths, ["event_time"], CUT_BATCH_ROWS)
    event_us = np.concatenate([part["event_time"].cast(pa.int64()).to_numpy() for _, part in parts])
    if len(event_us) <= max_rows:
        return None
    last_us = int(np.partition(event_us, len(event_us) - max_rows)[len(event_us) - max_rows])
    newer = int((event_us > last_us).sum())
    at_ms = last_us // 1_000
    moment = PeriodRows(lake, period.name, at_ms, at_ms + 1, period.version)
    rows = pa.concat_tables(
        part for _, part in moment.read(paths, ["event_time", *PLACE], CUT_BATCH_ROWS)
    ).combine_chunks()
    rows = rows.filter(rows["event_time"].cast(pa.int64()).to_numpy() == last_us)
    return cut_after(rows, max_rows - newer)
