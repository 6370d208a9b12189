"""What a cut keeps is enough: a partition restored from it goes on as if it had never stopped."""

import random
from collections.abc import Iterator

import pytest

from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.observed import Observed
from ray_fraud.domain.partition import PartitionState
from tests.oracle.compare import compare
from tests.oracle.controls import Changes
from tests.oracle.oracle import run_oracle
from tests.oracle.product import collect_all, position_of, run_product, scores_of
from tests.oracle.scores import score_row
from tests.oracle.streams import Stream, StreamOptions, make_stream
from tests.oracle.tables import DRAWN


@pytest.fixture(scope="module")
def stream() -> Stream:
    changes = Changes(settings=4, splits=6, quarantines=10, gaps=2, max_events=12, idle_hours=24)
    return make_stream(StreamOptions(seed=55, records=2_000, users=40, quiet_periods=0.004, changes=changes))


def observed_batches(state: PartitionState, stream: Stream, batch_records: int) -> Iterator[Observed]:
    position = 0
    while position < len(stream.records):
        observed = state.observe(stream.records[position : position + batch_records])
        yield observed
        position = position_of(stream.records, observed.next_offset)


@pytest.mark.parametrize("batch_records", [1, 50])
def test_the_changes_of_all_batches_add_up_to_the_state(stream: Stream, batch_records: int) -> None:
    state = PartitionState(partition=0, decoder=Decoder(None), timeline=stream.timeline, tables=DRAWN)
    stored: dict[int, bytes] = {}
    for observed in observed_batches(state, stream, batch_records):
        assert observed.before == {user_id: stored.get(user_id) for user_id in observed.changed}
        for user_id, packed in observed.changed.items():
            if packed is None:
                stored.pop(user_id, None)
            else:
                stored[user_id] = packed
        assert stored == state.users


def test_a_partition_restored_at_any_cut_goes_on_alike(stream: Stream) -> None:
    rng = random.Random(56)
    state = PartitionState(partition=0, decoder=Decoder(None), timeline=stream.timeline, tables=DRAWN)
    pieces = []
    position = 0
    while position < len(stream.records):
        observed = state.observe(stream.records[position : position + rng.randrange(1, 90)])
        pieces.append((observed, state.decide(observed, scores_of(observed))))
        state = PartitionState(
            partition=0,
            decoder=Decoder(None),
            next_offset=state.next_offset,
            watermark_ms=state.watermark_ms,
            votes=state.votes,
            users=dict(state.users),
            timeline=stream.timeline,
            tables=DRAWN,
        )
        # Not the batch's: a gap that is due there is already behind the restored partition.
        position = position_of(stream.records, state.next_offset)
    assert len(pieces) > 40
    actual = collect_all(state, pieces)
    assert str(compare(run_product(stream.records, stream.timeline), actual)) == "no difference"
    assert str(compare(run_oracle(stream.records, stream.timeline, score_row), actual)) == "no difference"
