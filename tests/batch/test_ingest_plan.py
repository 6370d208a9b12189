"""What an ingest reads: everything between the positions and the log's ends, and what is gone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.ingest.manifest import Written, joined
from batch.ingest.plan import Plan, Slice, plan_ingest
from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.errors import StoreDamaged
from ray_fraud.stores.log.port import LogBounds

TOPIC = "transactions"
P0, P1 = PartitionId("c", "life-2", 0), PartitionId("c", "life-2", 1)


def plan(
    bounds: dict[PartitionId, LogBounds],
    positions: dict[PartitionId, int] | None = None,
    known: list[tuple[str, PartitionId, int]] | None = None,
    *,
    slice_records: int = 10,
    commit_records: int = 1_000,
) -> Plan:
    return plan_ingest(
        TOPIC,
        bounds,
        positions or {},
        known or [],
        noticed_ms=1,
        slice_records=slice_records,
        commit_records=commit_records,
    )


partitions = st.dictionaries(
    st.integers(0, 5).map(lambda number: PartitionId("c", "t", number)),
    st.tuples(st.integers(0, 50), st.integers(0, 200), st.integers(0, 250)),
    min_size=1,
    max_size=4,
)


@given(partitions, st.integers(1, 40), st.integers(1, 300))
def test_slices_tile_the_ranges_and_nothing_else(
    log: dict[PartitionId, tuple[int, int, int]], slice_records: int, commit_records: int
) -> None:
    bounds = {p: LogBounds(start, start + length) for p, (start, length, _) in log.items()}
    positions = {p: min(position, bounds[p].end) for p, (_, _, position) in log.items()}
    made = plan(bounds, positions, slice_records=slice_records, commit_records=commit_records)
    for whole in made.ranges:
        pieces = sorted(
            (piece for piece in made.slices if piece.partition == whole.partition),
            key=lambda piece: piece.from_offset,
        )
        ends = [whole.from_offset, *(piece.to_offset for piece in pieces)]
        assert [piece.from_offset for piece in pieces] == ends[:-1]
        assert ends[-1] == whole.to_offset
        assert all(0 < piece.to_offset - piece.from_offset <= slice_records for piece in pieces)
        assert whole.from_offset == max(bounds[whole.partition].start, positions[whole.partition])
    waiting = sum(end - max(start, positions[p]) for p, (start, end) in bounds.items())
    assert made.to_read == waiting
    assert made.complete == (sum(r.to_offset - r.from_offset for r in made.ranges) == waiting)


def test_a_log_that_starts_above_the_position_is_a_gap() -> None:
    made = plan({P0: LogBounds(30, 40)}, {P0: 12})
    (gap,) = made.gaps
    assert (gap.partition, gap.from_offset, gap.to_offset) == (P0, 12, 30)
    assert list(made.ranges) == [Slice(P0, 30, 40)]


def test_a_log_that_lost_its_begin_before_the_first_ingest_is_a_gap() -> None:
    (gap,) = plan({P0: LogBounds(30, 40)}).gaps
    assert (gap.from_offset, gap.to_offset) == (0, 30)


def test_a_topic_made_again_leaves_a_gap_of_unknown_length() -> None:
    old = PartitionId("c", "life-1", 0)
    elsewhere = ("another topic", P1._replace(topic_id="x"), 3)
    made = plan({P0: LogBounds(0, 5)}, {}, [(TOPIC, old, 77), elsewhere])
    (gap,) = made.gaps
    assert (gap.partition, gap.from_offset, gap.to_offset) == (old, 77, None)
    assert list(made.ranges) == [Slice(P0, 0, 5)]


def test_a_topic_made_again_with_fewer_partitions_leaves_a_gap_in_each_it_had() -> None:
    old = [PartitionId("c", "life-1", number) for number in range(3)]
    known = [(TOPIC, partition, 7 + partition.partition) for partition in old]
    made = plan({P0: LogBounds(0, 5)}, {}, known)
    assert [(gap.partition, gap.from_offset, gap.to_offset) for gap in made.gaps] == [
        (partition, 7 + partition.partition, None) for partition in old
    ]
    assert list(made.ranges) == [Slice(P0, 0, 5)]


def test_a_log_that_was_cut_short_is_told_and_not_read() -> None:
    made = plan({P0: LogBounds(0, 5), P1: LogBounds(0, 3)}, {P0: 9})
    (gap,) = made.gaps
    assert (gap.from_offset, gap.to_offset) == (9, 5)
    assert [whole.partition for whole in made.ranges] == [P1]


def test_nothing_new_is_a_complete_plan() -> None:
    made = plan({P0: LogBounds(0, 5)}, {P0: 5})
    assert (list(made.ranges), made.complete, made.to_read) == ([], True, 0)


def block(first: int, last: int, accepted: int | None = None, offsets: int | None = None) -> Written:
    span = last + 1 - first
    return Written(0, first, last, span if offsets is None else offsets, accepted or span, {}, [])


@pytest.mark.parametrize(
    "blocks",
    [
        [],
        [block(0, 4)],
        [block(5, 9)],
        [block(0, 4), block(6, 9)],
        [block(0, 5), block(5, 9)],
        [block(0, 9), block(0, 9)],
        [block(0, 9, accepted=9)],
        [block(0, 9, offsets=9)],
    ],
    ids=["none", "no end", "no begin", "hole", "overlap", "twice", "one not counted", "one twice"],
)
def test_offsets_that_were_not_seen_exactly_once_are_not_committed(blocks: list[Written]) -> None:
    with pytest.raises(StoreDamaged, match="nothing was committed"):
        joined(TOPIC, [Slice(P0, 0, 10)], blocks)


def test_blocks_in_any_order_make_one_range() -> None:
    (read,), files = joined(TOPIC, [Slice(P0, 0, 10)], [block(5, 9), block(0, 4)])
    assert (read.from_offset, read.to_offset, read.accepted, read.holes, files) == (0, 10, 10, 0, [])
