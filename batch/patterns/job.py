"""One search for patterns: the newest hours of the lake, every rule, the findings stored as cold alerts.

Each search looks at all of its look-back again, so a pattern that two batches share is seen whole by the
second; the store keeps each pattern once.

Never: reading what no rule reads; a finding that names rows instead of records.
"""

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from batch.patterns.config import PatternConfig
from batch.patterns.earlier import vouched
from batch.patterns.look import Look, LookAt
from batch.patterns.rows import PLACE, Seen
from ray_fraud.domain.patterns.earlier_days import Busiest, Question
from ray_fraud.domain.patterns.finding import Finding
from ray_fraud.stores.findings.port import FindingStore, Member, Pattern, Place

logger = logging.getLogger(__name__)

MEMBER_COLUMNS = (*PLACE, "transaction_id", "user_id", "amount", "lat", "lon")
US_PER_MS = 1_000
MS_PER_MINUTE = 60_000


class PatternReport(msgspec.Struct):
    """What one search did."""

    rows: int = 0
    left_out: int = 0
    """Rows of the look-back beyond `max_rows`."""
    unsearched: int = 0
    """Rows, at least, that no search has looked at and none will: more came since the last one than fit."""
    reach_minutes: float = 0.0
    """From the first to the last event that was looked at."""
    duplicates: int = 0
    """Records with the id and payload of an earlier one: they count once."""
    whole: bool = True
    """All users and cells were looked at, not only those with rows since the last search."""
    found: dict[str, int] = {}
    """Patterns by rule, known ones too."""
    usual: int = 0
    """Groups that are no findings: the merchants' earlier days had such crowds at that hour."""
    new: dict[str, int] = {}
    """New findings by rule."""
    grown: int = 0
    seconds: float = 0.0
    look_seconds: float = 0.0
    """Of them, before anything was stored."""


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


def _unanswered(_: Sequence[Question]) -> Mapping[Question, int]:
    return {}


def search(
    look_at: LookAt,
    store: FindingStore,
    cluster_id: str,
    config: PatternConfig,
    memory: Memory,
    *,
    fresh: int = 0,
    busiest: Busiest = _unanswered,
) -> PatternReport:
    """Looks once, and stores everything that was found or nothing.

    Args:
        look_at, store, cluster_id, config: where it looks and what it finds goes to.
        memory: of the searches before.
        fresh: rows that came since the last search.
        busiest: what merchants' earlier days were like; by default nothing is known of them.

    Raises:
        StoreError: the lake, a task or PostgreSQL failed; the next search looks at the same again.
    """
    began = time.monotonic()
    since = memory.since(config)
    look = look_at(since)
    looked = time.monotonic()
    if look.left_out:
        _tell_left_out(look, config)
    unsearched = max(0, fresh - (look.rows - look.left_out))
    if unsearched:
        logger.error("patterns: %d rows are never looked at: more came at once than max_rows", unsearched)
    kept = vouched(look.findings, look.members, busiest, config.settings.coordinated)
    saved = store.save(patterns_of(kept.findings, look.members, cluster_id))
    memory.keep(look.seen, whole=since is None)
    return PatternReport(
        rows=look.rows,
        left_out=look.left_out,
        unsearched=unsearched,
        reach_minutes=look.reach_ms / MS_PER_MINUTE,
        duplicates=look.duplicates,
        whole=since is None,
        found=dict(Counter(finding.rule.value for finding in kept.findings)),
        usual=kept.usual,
        new=dict(Counter(rule.value for rule in saved.new)),
        grown=saved.grown,
        seconds=time.monotonic() - began,
        look_seconds=looked - began,
    )


def _tell_left_out(look: Look, config: PatternConfig) -> None:
    logger.warning(
        "patterns: only the newest %d of %d rows of %g h are looked at; see look_back_hours and max_rows",
        config.max_rows,
        look.rows,
        config.look_back_hours,
    )
    places = config.settings.geographic
    needed = places.windows * places.window_minutes
    reach = look.reach_ms / MS_PER_MINUTE
    if reach < needed:
        logger.warning(
            "patterns: they reach back %.0f min, crowds in places are judged by %g; see max_rows",
            reach,
            needed,
        )


def patterns_of(findings: Sequence[Finding], rows: pa.Table, cluster_id: str) -> list[Pattern]:
    """The findings with their members as records of the log; `rows` holds those, and may hold others."""
    if not findings:
        return []
    numbers = sorted({row for finding in findings for row in finding.rows})
    members = dict(zip(numbers, _members(rows.take(numbers), cluster_id), strict=True))
    return [
        Pattern(
            finding.uid,
            finding.rule,
            finding.subject,
            finding.window_start_ms,
            finding.severity,
            finding.reason,
            tuple(members[row] for row in finding.rows),
        )
        for finding in findings
    ]


def _members(rows: pa.Table, cluster_id: str) -> list[Member]:
    columns = {name: rows[name].to_pylist() for name in MEMBER_COLUMNS}
    places = (Place(cluster_id, *place) for place in zip(*(columns[name] for name in PLACE), strict=True))
    milliseconds = (_milliseconds(rows[name]) for name in ("event_time", "record_time"))
    return list(
        map(
            Member,
            places,
            columns["transaction_id"],
            columns["user_id"],
            *milliseconds,
            columns["amount"],
            columns["lat"],
            columns["lon"],
        )
    )


def _milliseconds(times: pa.ChunkedArray) -> list[int]:
    """Unix milliseconds of times in microseconds; the table has none that lie between."""
    at: list[int] = pc.divide(times.cast(pa.int64()), US_PER_MS).to_pylist()
    return at
