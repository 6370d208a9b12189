"""One search for patterns: the newest hours of the lake, every rule, the findings stored as cold alerts.

Each search looks at all of its look-back again, so a pattern that two batches share is seen whole by the
second; the store keeps each pattern once.

Never: reading what no rule reads; a finding that names rows instead of records.
"""

import logging
import time
from collections import Counter
from typing import Any

import msgspec
import pyarrow as pa

from batch.patterns.config import PatternConfig
from batch.patterns.look import LookAt
from batch.patterns.rows import Seen
from ray_fraud.domain.patterns.finding import Finding
from ray_fraud.stores.findings.port import FindingStore, Member, Pattern, Place

logger = logging.getLogger(__name__)


class PatternReport(msgspec.Struct):
    """What one search did."""

    rows: int = 0
    left_out: int = 0
    """Rows of the look-back beyond `max_rows`."""
    duplicates: int = 0
    """Records with the id and payload of an earlier one: they count once."""
    whole: bool = True
    """All users and cells were looked at, not only those with rows since the last search."""
    found: dict[str, int] = {}
    """Patterns by rule, known ones too."""
    new: dict[str, int] = {}
    """New findings by rule."""
    grown: int = 0
    seconds: float = 0.0


class Memory:
    """What the searches of one process have seen; a new process begins with a whole one."""

    def __init__(self) -> None:
        self._seen = Seen()
        self._since_whole = 0

    def since(self, config: PatternConfig) -> Seen | None:
        """For the next search; None if it has to be a whole one."""
        due = self._since_whole == 0 or self._since_whole >= config.whole_every
        return None if due else self._seen

    def keep(self, seen: Seen, *, whole: bool) -> None:
        """Once the findings are stored."""
        self._seen = self._seen + seen
        self._since_whole = 1 if whole else self._since_whole + 1


def search(
    look_at: LookAt, store: FindingStore, cluster_id: str, config: PatternConfig, memory: Memory
) -> PatternReport:
    """Looks once, and stores everything that was found or nothing.

    Raises:
        StoreError: the lake, a task or PostgreSQL failed; the next search looks at the same again.
    """
    began = time.monotonic()
    since = memory.since(config)
    look = look_at(since)
    if look.left_out:
        logger.warning(
            "patterns: only the newest %d of %d rows of %g h are looked at; see look_back_hours and max_rows",
            config.max_rows,
            look.rows,
            config.look_back_hours,
        )
    saved = store.save([pattern_of(finding, look.members, cluster_id) for finding in look.findings])
    memory.keep(look.seen, whole=since is None)
    return PatternReport(
        rows=look.rows,
        left_out=look.left_out,
        duplicates=look.duplicates,
        whole=since is None,
        found=dict(Counter(finding.rule.value for finding in look.findings)),
        new=dict(Counter(rule.value for rule in saved.new)),
        grown=saved.grown,
        seconds=time.monotonic() - began,
    )


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
