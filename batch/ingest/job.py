"""One ingest: from the committed positions to the log's ends of this moment.

    cut-offs followed → view → bounds → plan → gaps → files → commit      until the ends are reached

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
from batch.ingest.follow import CutOffs, Forget, follow, noticed_by_owners, places_of
from batch.ingest.manifest import Written, joined
from batch.ingest.plan import Plan, Slice, plan_ingest
from batch.ingest.shared_places import SharedPlace, SharedPlaces
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.timeline import ControlEvent, EventKind, damage_in
from ray_fraud.stores.errors import StoreUnavailable
from ray_fraud.stores.ledger.port import EpochRow
from ray_fraud.stores.log.port import LogBounds
from ray_fraud.stores.tables.port import Append, LogGapRow, LogPlace, ReadRange, TableView, TransactionTable
from ray_fraud.stores.tables.take_back import TakenBack

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
    taken_back: list[TakenBack] = []
    """What the log has lost and the lake had read; see docs/lake.md."""
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
        cut_offs: CutOffs = lambda _: {},
        epochs: Callable[[PartitionId], Sequence[EpochRow]] = lambda _: (),
        forget: Forget = lambda _partition, _offset: None,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        progress: Progress = lambda _: None,
    ) -> None:
        self._config = config
        self._table = table
        self._bounds = bounds
        self._read_and_write = read_and_write
        self._timeline = timeline
        self._cut_offs = cut_offs
        self._epochs = epochs
        self._forget = forget
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
            if self._follow(view, ends, report):
                view = self._table.view()
            positions = {partition: view.position(partition) for partition in ends}
            plan = self._plan(view.last_positions(), positions, ends)
            if not report.commits:
                report.to_read = plan.to_read
            # Before anything is read: what there is to do is known of a run that fails, too.
            self._progress(report)
            self._declare(plan.gaps, report)
            if plan.ranges:
                self._take(plan, view, report)
            report.complete = plan.complete
            report.seconds = self._now() - began
            self._progress(report)
        return report

    def _follow(self, view: TableView, ends: Mapping[PartitionId, LogBounds], report: IngestReport) -> bool:
        """Takes back what the log has lost since it was read; whether there was any."""
        lost = {
            **noticed_by_owners(view, ends, self._epochs),
            **self._cut_offs(places_of(view, ends)),
        }
        if lost:
            topic = self._config.connections.topics.transactions
            noticed_ms = round(self._now() * 1000)
            gaps, taken = follow(self._table, topic, view, lost, self._forget, noticed_ms)
            report.new_gaps = [*report.new_gaps, *gaps]
            report.taken_back = [*report.taken_back, *taken]
        return bool(lost)

    def _slices(self, plan: Plan, view: TableView) -> list[Slice]:
        """With what holds in their partitions, and the leader epochs that are known of their begins."""
        timelines = {whole.partition: self._timeline(whole.partition) for whole in plan.ranges}
        held = {partition: _settings(events) for partition, events in timelines.items()}
        unreadable = {partition: tuple(damage_in(events)) for partition, events in timelines.items()}
        places = {whole.partition: view.place(whole.partition) for whole in plan.ranges}

        def epoch(piece: Slice) -> int:
            place = places[piece.partition]
            return place.leader_epoch if place and place.offset == piece.from_offset else -1

        return [
            msgspec.structs.replace(
                one,
                settings=held[one.partition],
                unreadable=unreadable[one.partition],
                leader_epoch=epoch(one),
            )
            for one in plan.slices
        ]

    def _check(self, blocks: Sequence[Written], ranges: Sequence[Slice]) -> None:
        """That the log still is the one that each block was read from.

        Raises:
            StoreUnavailable: it was cut off meanwhile; nothing may be committed, the next run reads it anew.
        """
        partitions = {whole.partition.partition: whole.partition for whole in ranges}
        places: dict[PartitionId, list[LogPlace]] = {}
        for block in blocks:
            if block.leader_epoch >= 0:
                place = LogPlace(block.last_offset + 1, block.leader_epoch)
                places.setdefault(partitions[block.partition], []).append(place)
        for partition, lost in self._cut_offs(places).items():
            raise StoreUnavailable(
                "kafka", f"{partition}: the log was cut off at {lost.offset} while it was read; read it again"
            )

    def _placed(self, read: ReadRange, view: TableView) -> ReadRange:
        place = view.place(read.partition)
        if place is None:
            return read
        return msgspec.structs.replace(
            read, position=place.offset, leader_epoch=max(read.leader_epoch, place.leader_epoch)
        )

    def _take(self, plan: Plan, view: TableView, report: IngestReport) -> None:
        """Reads, writes and commits one plan."""
        topic = self._config.connections.topics.transactions
        blocks, lost = self._read(self._slices(plan, view))
        ranges = [whole for whole in plan.ranges if whole.partition not in lost]
        if not ranges:
            raise _not_read(lost)
        self._check(blocks, ranges)
        reads, files = joined(topic, ranges, blocks)
        report.quarantined += quarantine(self._table, blocks, round(self._now() * 1000), self._sleep)
        reads = [self._placed(read, view) for read in reads]
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
        if lost:
            self._progress(report)
            raise _not_read(lost)

    def _read(self, slices: list[Slice]) -> tuple[list[Written], dict[PartitionId, StoreUnavailable]]:
        """What was written, and the partitions that were not read because their tasks were lost.

        A batch that ends each process that unpacks it ends tasks of its partition only: once one was lost for
        good, each partition is read by itself.
        """
        try:
            return list(self._read_and_write(slices)), {}
        except StoreUnavailable as error:
            partitions = sorted({one.partition for one in slices})
            if error.store != "ray":
                raise
            if len(partitions) == 1:
                return [], {partitions[0]: error}
        blocks: list[Written] = []
        lost: dict[PartitionId, StoreUnavailable] = {}
        for partition in partitions:
            read, failed = self._read([one for one in slices if one.partition == partition])
            blocks, lost = blocks + read, lost | failed
        return blocks, lost

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


def _settings(events: Sequence[ControlEvent]) -> tuple[ControlEvent, ...]:
    return tuple(event for event in events if event.kind is EventKind.SETTINGS)


def _not_read(lost: Mapping[PartitionId, StoreUnavailable]) -> StoreUnavailable:
    """Names the partitions; what the others had is committed."""
    told = "; ".join(f"{partition}: {error.message}" for partition, error in sorted(lost.items()))
    return StoreUnavailable(
        "ray",
        f"a task was lost; not read, while the other partitions were committed: {told}. If a batch ends each "
        "process that reads it, the hot path passes it over after three deaths; so does the next ingest",
    )
