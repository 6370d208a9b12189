"""The one loop that folds records into a partition, and the replay: what the platform must have done.

Everything that folds or audits goes through `in_batches`: owners, audits, the fold of the lake, backtests.

Never: I/O of its own; records, timeline, scores and explanations come in as arguments.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ray_fraud.domain.explanation import Explain
from ray_fraud.domain.observed import Effects, Observed
from ray_fraud.domain.partition import PartitionState
from ray_fraud.domain.record import DecodedRecord, Record
from ray_fraud.domain.scores import Scores
from ray_fraud.domain.split import Split

R = TypeVar("R", Record, DecodedRecord)

Score = Callable[[Split, NDArray[np.int64], NDArray[np.float32]], Scores | None]
"""(split, user ids (n,), features (n, len(FEATURES))) to n scores, or None if the split has no arms."""

REPLAY_BATCH_RECORDS = 500


def in_batches(
    observe: Callable[[Sequence[R]], Observed], records: Sequence[R], batch_records: int | None = None
) -> Iterator[Observed]:
    """Folds all of the records; a batch ends where a control event is due, or is full.

    Args:
        observe: `PartitionState.observe` or `observe_decoded`, or what calls it.
        records: offsets ascend.
        batch_records: None: as many as there are.

    Raises:
        OffsetOrderError, FoldVersionError, TablesMissingError: as `PartitionState.observe`; the batches
            before have been folded.
    """
    position, count = 0, len(records)
    while position < count:
        end = count if batch_records is None else min(position + batch_records, count)
        observed = observe(records if end - position == count else records[position:end])
        yield observed
        # Not beyond the batch: of a declared gap the records behind it are still to be passed over.
        if records[end - 1].offset < observed.next_offset:
            position = end
        else:
            position = bisect_left(records, observed.next_offset, position, end, key=_offset)


def _offset(record: Record | DecodedRecord) -> int:
    return record.offset


class Decided(NamedTuple):
    """One batch of a replay."""

    observed: Observed
    scores: Scores | None
    effects: Effects


def replay(
    records: Iterable[Record],
    state: PartitionState,
    score: Score,
    batch_records: int = REPLAY_BATCH_RECORDS,
    explain: Explain | None = None,
) -> Iterator[Decided]:
    """Yields what was decided of `records` in order, one micro-batch at a time, and moves `state` along.

    The effects and the final state do not depend on `batch_records`.

    Raises:
        FoldVersionError: the log goes on under another fold version.
        OffsetOrderError: `records` go back.
    """
    source = iter(records)
    while batch := list(islice(source, batch_records)):
        for observed in in_batches(state.observe, batch):
            scores = score(observed.split, observed.user_ids, observed.features)
            yield Decided(observed, scores, state.decide(observed, scores, explain))
