"""Following a log that lost records which the lake has: what is above the cut is other records' place now.

    position and leader epoch → where was the log cut off? → gap → dependents back → table back → read anew

Never: rows that go without a gap on record; a table back before what was made of its rows.
"""

import logging
from collections.abc import Callable, Mapping, Sequence

from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.cut_offs import LogHistory
from ray_fraud.stores.ledger.port import CutOff, EpochRow
from ray_fraud.stores.log.port import LogBounds, LogReader
from ray_fraud.stores.tables.port import LogGapRow, LogPlace, TableView, TransactionTable
from ray_fraud.stores.tables.take_back import TakenBack

logger = logging.getLogger(__name__)

Places = Mapping[PartitionId, Sequence[LogPlace]]
CutOffs = Callable[[Places], Mapping[PartitionId, CutOff]]
"""The losses that contradict any of the places."""
Forget = Callable[[PartitionId, int], None]
"""Takes back what was made of a partition's rows at and above an offset; may be repeated."""


def cut_offs_of(readers: Mapping[PartitionId, LogReader], places: Places) -> dict[PartitionId, CutOff]:
    """Asks the leaders of the partitions.

    Raises:
        StoreUnavailable: a broker does not answer.
    """
    found = {}
    for partition, kept in places.items():
        reader = readers[partition]
        lost = LogHistory(reader, reader.bounds()).cut_off(kept)
        if lost is not None:
            found[partition] = lost
    return found


def places_of(view: TableView, bounds: Mapping[PartitionId, LogBounds]) -> dict[PartitionId, list[LogPlace]]:
    """Where the table stands in today's partitions, as far as it knows the leader epochs."""
    places = {partition: view.place(partition) for partition in bounds}
    return {partition: [place] for partition, place in places.items() if place and place.leader_epoch >= 0}


def noticed_by_owners(
    view: TableView,
    bounds: Mapping[PartitionId, LogBounds],
    epochs: Callable[[PartitionId], Sequence[EpochRow]],
) -> dict[PartitionId, CutOff]:
    """Of partitions whose leader epoch the table does not know (an earlier release read them): what an owner
    found at its take-over since."""
    found = {}
    for partition in bounds:
        place = view.place(partition)
        if place is None or place.leader_epoch >= 0:
            continue
        lost = [row.cut_off for row in epochs(partition) if row.cut_off is not None]
        if lost and min(lost) < place.offset:
            found[partition] = CutOff(min(lost), place.offset, -1)
    return found


def follow(
    table: TransactionTable,
    topic: str,
    view: TableView,
    cut_offs: Mapping[PartitionId, CutOff],
    forget: Forget,
    noticed_ms: int,
) -> tuple[list[LogGapRow], list[TakenBack]]:
    """The new gaps, and what was taken back.

    Raises:
        StoreError: some partitions may have been taken back; the next run goes on.
    """
    gaps, taken = [], []
    for partition, cut_off in sorted(cut_offs.items()):
        position = view.position(partition) or 0
        reason = (
            f"the log was cut off at {cut_off.offset}: other records have these offsets, or will have them"
        )
        gap = LogGapRow(partition, topic, cut_off.offset, position, reason, noticed_ms)
        gaps += table.record_gaps([gap])
        forget(partition, cut_off.offset)
        found = table.take_back(partition, LogPlace(cut_off.offset, cut_off.leader_epoch))
        if found is not None:
            logger.error("ingest: %s", told(found))
            taken.append(found)
    return gaps, taken


def told(lost: TakenBack) -> str:
    """A sentence for people."""
    return (
        f"{lost.partition}: the log was cut off at offset {lost.from_offset}, and the lake had read up to "
        f"{lost.to_offset}: {lost.rows} rows were removed (version {lost.version} of `transactions` has them "
        "still), and what the log has there now is read"
    )
