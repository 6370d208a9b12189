"""One ingest: from the committed positions to the log's ends of this moment.

    view → bounds → plan → gaps → files → commit      until the ends are reached

Gaps are recorded before the commit that goes past them, so none is ever silent. Whatever ends the process
before the commit leaves files that nothing names; the next run reads the same offsets again.

Never: deciding by what the hot path did; a commit of offsets that were not all seen.
"""

import logging
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from batch.ingest.commit import commit, quarantine
from batch.ingest.config import IngestConfig
from batch.ingest.manifest import Written, joined
from batch.ingest.plan import Plan, Slice, plan_ingest
from batch.ingest.shared_places import SharedPlace, SharedPlaces
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.timeline import ControlEvent, EventKind
from ray_fraud.stores.log.port import LogBounds
from ray_fraud.stores.tables.port import Append, LogGapRow, TransactionTable

logger = logging.getLogger(__name__)

Bounds = Callable[[], Mapping[PartitionId, LogBounds]]
ReadAndWrite = Callable[[list[Slice]], Iterable[Written]]
Progress = Callable[["IngestReport"], None]
Timeline = Callable[[PartitionId], Sequence[ControlEvent]]
"""The control timeline of a partition."""


class IngestReport(msgspec.Struct):
    """What one ingest did."""

    accepted: int = 0
    rejected: dict[str, int] = {}
    holes: int = 0
    quarantined: int = 0
    """Accepted records that no row of the table can hold; they are in the table `quarantine`."""
    misrouted: int = 0
    """Accepted records of users that belong to another partition; see docs/producers.md."""
    files: int = 0
    commits: int = 0
    version: int | None = None
    """Of the table after the last commit; None if there was nothing to read."""
    new_gaps: list[LogGapRow] = []
    to_read: int = 0
    """Offsets between the positions at the start and the log's ends then."""
    seconds: float = 0.0
    placeholder_locations: int = 0
    """Accepted rows with lat = lon = 0, which counts as no location."""
    shared_places: list[SharedPlace] = []
    """Exact coordinates that unusually many users share."""
    complete: bool = False
    """Everything up to the ends at the start is in the table."""


class Ingest:
    """The steps, with their outside given, so that each can be made to fail."""

    def __init__(
        self,
        config: IngestConfig,
        table: TransactionTable,
        bounds: Bounds,
        read_and_write: ReadAndWrite,
        *,
        timeline: Timeline = lambda _: (),
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        progress: Progress = lambda _: None,
    ) -> None:
        self._config = config
        self._table = table
        self._bounds = bounds
        self._read_and_write = read_and_write
        self._timeline = timeline
        self._now = now
        self._sleep = sleep
        self._progress = progress
        self._shared = SharedPlaces()

    def run(self) -> IngestReport:
        """Reads up to the log's ends of this moment.

        Raises:
            StoreError: what was committed before stays; the next run goes on from there.
        """
        began = self._now()
        report = IngestReport()
        self._table.create()
        ends = self._bounds()
        while not report.complete:
            view = self._table.view()
            positions = {partition: view.position(partition) for partition in ends}
            plan = self._plan(view.last_positions(), positions, ends)
            if not report.commits:
                report.to_read = plan.to_read
            # Before anything is read: what there is to do is known of a run that fails, too.
            self._progress(report)
            self._declare(plan.gaps, report)
            if plan.ranges:
                self._take(plan, report)
            report.complete = plan.complete
            report.seconds = self._now() - began
            self._progress(report)
        return report

    def _take(self, plan: Plan, report: IngestReport) -> None:
        """Reads, writes and commits one plan."""
        topic = self._config.connections.topics.transactions
        held = {whole.partition: self._settings(whole.partition) for whole in plan.ranges}
        slices = [msgspec.structs.replace(one, settings=held[one.partition]) for one in plan.slices]
        blocks = list(self._read_and_write(slices))
        reads, files = joined(topic, plan.ranges, blocks)
        report.quarantined += quarantine(self._table, blocks, round(self._now() * 1000), self._sleep)
        report.version = commit(self._table, Append(uuid.uuid4().hex, reads, files), self._sleep)
        report.commits += 1
        report.files += len(files)
        report.misrouted += sum(block.misrouted for block in blocks)
        rejected = Counter(report.rejected)
        for read in reads:
            report.accepted += read.accepted
            report.holes += read.holes
            rejected.update(read.rejected)
        report.rejected = dict(rejected)
        for block in blocks:
            report.placeholder_locations += block.placeholders
            self._shared.add(block.partition, block.shared)
        report.shared_places = self._shared.most_shared()

    def _settings(self, partition: PartitionId) -> tuple[ControlEvent, ...]:
        return tuple(event for event in self._timeline(partition) if event.kind is EventKind.SETTINGS)

    def _plan(
        self,
        known: Sequence[tuple[str, PartitionId, int]],
        positions: Mapping[PartitionId, int | None],
        ends: Mapping[PartitionId, LogBounds],
    ) -> Plan:
        return plan_ingest(
            self._config.connections.topics.transactions,
            ends,
            {partition: position for partition, position in positions.items() if position is not None},
            known,
            noticed_ms=round(self._now() * 1000),
            slice_records=self._config.slice_records,
            commit_records=self._config.commit_records,
        )

    def _declare(self, gaps: Sequence[LogGapRow], report: IngestReport) -> None:
        new = self._table.record_gaps(gaps) if gaps else []
        for gap in new:
            logger.error(
                "ingest: %s: offsets from %d to %s are lost: %s",
                gap.partition,
                gap.from_offset,
                "its end" if gap.to_offset is None else gap.to_offset,
                gap.reason,
            )
        report.new_gaps = [*report.new_gaps, *new]
