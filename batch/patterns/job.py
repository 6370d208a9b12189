"""One search for patterns: the newest hours of the lake, every rule, the findings stored as cold alerts.

Each run looks at all of its look-back again, so a pattern that two batches share is seen whole by the second;
the store keeps each pattern once.

Never: reading what no rule reads; a finding that names rows instead of records.
"""

import logging
from collections import Counter
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batch.patterns.columns_of import COLUMNS, pattern_columns
from batch.patterns.config import PatternConfig
from batch.patterns.rules import find_patterns
from ray_fraud.domain.patterns.finding import Finding
from ray_fraud.stores.findings.port import FindingStore, Member, Pattern, Place
from ray_fraud.stores.tables.port import TransactionTable

logger = logging.getLogger(__name__)

HOUR_MS = 3_600_000
READ = (*COLUMNS, "topic_id", "partition", "offset", "record_time", "transaction_id", "payload_digest")


class PatternReport(msgspec.Struct):
    """What one search did."""

    rows: int = 0
    left_out: int = 0
    """Rows of the look-back beyond `max_rows`."""
    duplicates: int = 0
    """Records with the id and payload of an earlier one: they count once."""
    found: dict[str, int] = {}
    """Patterns by rule, known ones too."""
    new: dict[str, int] = {}
    """New findings by rule."""
    grown: int = 0


def search(
    table: TransactionTable, store: FindingStore, cluster_id: str, config: PatternConfig
) -> PatternReport:
    """Looks once.

    Raises:
        StoreError: the lake or PostgreSQL does not answer; the next run looks at the same again.
    """
    rows = table.recent(READ, round(config.look_back_hours * HOUR_MS)).combine_chunks()
    report = PatternReport(rows=rows.num_rows)
    if rows.num_rows > config.max_rows:
        report.left_out = rows.num_rows - config.max_rows
        logger.warning(
            "patterns: only the newest %d of %d rows of %g h are looked at; see look_back_hours and max_rows",
            config.max_rows,
            rows.num_rows,
            config.look_back_hours,
        )
        rows = rows.take(pc.select_k_unstable(rows, config.max_rows, [("event_time", "descending")]))
    different = without_duplicates(rows)
    report.duplicates = rows.num_rows - different.num_rows
    findings = find_patterns(pattern_columns(different), config.settings)
    saved = store.save([pattern_of(finding, different, cluster_id) for finding in findings])
    report.found = dict(Counter(finding.rule.value for finding in findings))
    report.new = dict(Counter(rule.value for rule in saved.new))
    report.grown = saved.grown
    return report


def without_duplicates(rows: pa.Table) -> pa.Table:
    """The first record, by partition and offset, of each payload."""
    if not rows.num_rows:
        return rows
    ordered = rows.sort_by([("partition", "ascending"), ("offset", "ascending")])
    numbers = pa.array(np.arange(ordered.num_rows))
    numbered = pa.table({"digest": ordered["payload_digest"], "row": numbers})
    first = numbered.group_by("digest").aggregate([("row", "min")])["row_min"]
    return ordered.take(np.sort(first.to_numpy()))


def pattern_of(finding: Finding, rows: pa.Table, cluster_id: str) -> Pattern:
    """The finding with its members as records of the log."""
    members = rows.take(list(finding.rows)).to_pylist()
    return Pattern(
        finding.uid,
        finding.rule,
        finding.subject,
        finding.window_start_ms,
        finding.severity,
        finding.reason,
        tuple(_member(row, cluster_id) for row in members),
    )


def _member(row: dict[str, Any], cluster_id: str) -> Member:
    return Member(
        place=Place(cluster_id, row["topic_id"], row["partition"], row["offset"]),
        transaction_id=row["transaction_id"],
        user_id=row["user_id"],
        event_ms=round(row["event_time"].timestamp() * 1000),
        record_ms=round(row["record_time"].timestamp() * 1000),
        amount=row["amount"],
        lat=row["lat"],
        lon=row["lon"],
    )
