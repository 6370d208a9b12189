"""Folding all partitions up to where both the lake and the hot path's decisions reach, and committing it.

    positions → stretches → fold (tasks) → commit of scores → commit of features      until nothing is left

The features' position is the one that counts: a stretch whose commit did not happen is folded again.

Never: an offset that the hot path has not decided; a commit of rows whose state is not written.
"""

import logging
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from batch.features.stretch import Stretch, StretchReport
from ray_fraud.domain.conversion import fold_began
from ray_fraud.domain.fold_version import FOLD_VERSION
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.split import Split
from ray_fraud.domain.timeline import ControlEvent
from ray_fraud.stores.ledger.port import EpochRow
from ray_fraud.stores.tables.positioned import Move, PositionedTable
from ray_fraud.stores.tables.retry import repeated

logger = logging.getLogger(__name__)

RANGES = "ray_fraud.ranges"
"""Key of a commit's metadata; JSON."""

FoldAll = Callable[[list[Stretch]], Iterable[StretchReport]]


class FeatureReport(msgspec.Struct):
    """What one job did."""

    rows: int = 0
    """New rows of `ml_features`."""
    duplicates: int = 0
    expected: int = 0
    """Alerts that the hot path has to have made for them."""
    missed: int = 0
    """Of them new to PostgreSQL; they are there now as cold ones."""
    unexpected: int = 0
    """Hot alerts that the fold does not give."""
    without_model: int = 0
    """Rows that the hot path decided by rules only."""
    found: int = 0
    """New alerts among those, by the present models."""
    stretches: int = 0
    passed_over: int = 0
    """Offsets that get no features: an older fold version has decided them, and no batch had folded them."""
    behind: int = 0
    """Offsets of the lake that the hot path had not decided."""
    unowned: int = 0
    """Of them those of partitions that no owner ever had: nobody has checked them."""
    seconds: float = 0.0


class PartitionFacts(msgspec.Struct, frozen=True):
    """What PostgreSQL says of a partition."""

    timeline: tuple[ControlEvent, ...]
    decided_offset: int
    epochs: tuple[EpochRow, ...] = ()


class FeatureJob:
    """The steps, with their outside given, so that each can be made to fail."""

    def __init__(
        self,
        features: PositionedTable,
        scores: PositionedTable,
        facts: Callable[[PartitionId], PartitionFacts],
        present: Callable[[], Split],
        fold_all: FoldAll,
        stretch_records: int,
    ) -> None:
        self._features = features
        self._scores = scores
        self._facts = facts
        self._present = present
        self._fold_all = fold_all
        self._stretch_records = stretch_records

    def run(self, positions: Mapping[PartitionId, int]) -> FeatureReport:
        """Folds what is new. `positions`: how far the lake has each partition.

        Raises:
            StoreError: what was committed before stays; the next run goes on from there.
        """
        began = time.monotonic()
        report = FeatureReport()
        self._features.create()
        self._scores.create()
        facts = {partition: self._facts(partition) for partition in positions}
        ends = {partition: min(positions[partition], facts[partition].decided_offset) for partition in facts}
        report.behind = sum(max(0, positions[partition] - end) for partition, end in ends.items())
        report.unowned = _unowned(positions, facts)
        present = self._present()
        while stretches := self._stretches(facts, ends, present):
            report.passed_over += sum(map(_passed_over, stretches))
            reports = list(self._fold_all(stretches))
            self._commit(stretches, reports)
            _add(report, reports)
        report.seconds = time.monotonic() - began
        return report

    def _stretches(
        self, facts: Mapping[PartitionId, PartitionFacts], ends: Mapping[PartitionId, int], present: Split
    ) -> list[Stretch]:
        stretches = []
        for partition, known in sorted(facts.items()):
            if not known.timeline:
                # Nobody has owned it yet.
                continue
            before = self._features.position(position_name(partition))
            began = fold_began(known.timeline, FOLD_VERSION)
            if began is None:
                logger.warning("features: %s is another fold version's; its release folds it", partition)
                continue
            begin = min(event.from_offset for event in known.timeline) if before is None else before
            # What an older version has decided is not folded again.
            begin = max(begin, began)
            end = min(ends[partition], begin + self._stretch_records)
            if begin < end:
                scored = self._scores.position(position_name(partition))
                stretches.append(
                    Stretch(partition, begin, end, before, scored, known.timeline, present, known.epochs)
                )
        return stretches

    def _commit(self, stretches: Sequence[Stretch], reports: Sequence[StretchReport]) -> None:
        """Scores first: what is committed there is left out when the stretch is folded again."""
        run_id = uuid.uuid4().hex
        rows = {report.partition: report.rows for report in reports}
        ranges = [
            {
                "partition": str(one.partition),
                "from": one.from_offset,
                "to": one.to_offset,
                "rows": rows[one.partition],
            }
            for one in stretches
        ]
        facts = {RANGES: msgspec.json.encode(ranges).decode()}
        scored = [
            Move(position_name(one.partition), one.scored, max(one.to_offset, one.scores_from))
            for one in stretches
        ]
        files = [file for report in reports for file in report.score_files]
        repeated(self._scores.name, lambda: self._scores.commit(run_id, scored, files, facts))
        folded = [Move(position_name(one.partition), one.before, one.to_offset) for one in stretches]
        files = [file for report in reports for file in report.feature_files]
        repeated(self._features.name, lambda: self._features.commit(run_id, folded, files, facts))


def _unowned(positions: Mapping[PartitionId, int], facts: Mapping[PartitionId, PartitionFacts]) -> int:
    """Offsets of the lake in partitions without a timeline; said once a run."""
    unowned = {one: positions[one] for one, known in facts.items() if not known.timeline and positions[one]}
    for partition, offsets in sorted(unowned.items()):
        logger.error(
            "features: %s: no owner ever had this partition; its %d offsets are in the lake and were not "
            "checked: was the topic grown? See `ray-fraud status`",
            partition,
            offsets,
        )
    return sum(unowned.values())


def position_name(partition: PartitionId) -> str:
    """Of a partition, in the tables of features and scores."""
    return f"fold:{partition}"


def _passed_over(stretch: Stretch) -> int:
    """Offsets between what is folded and the begin of a stretch."""
    life_start = min(event.from_offset for event in stretch.timeline)
    reached = life_start if stretch.before is None else stretch.before
    passed_over = stretch.from_offset - reached
    if passed_over:
        logger.error(
            "features: %s: offsets %d to %d get none: an older fold version has decided them, and no batch "
            "of its release had folded them",
            stretch.partition,
            reached,
            stretch.from_offset,
        )
    return passed_over


def _add(total: FeatureReport, reports: Sequence[StretchReport]) -> None:
    for each in reports:
        total.rows += each.rows
        total.duplicates += each.duplicates
        total.expected += each.expected
        total.missed += each.missed
        total.unexpected += each.unexpected
        total.without_model += each.without_model
        total.found += each.found
        total.passed_over += each.passed_over
    total.stretches += len(reports)
