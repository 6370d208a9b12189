"""Single-threaded replay of a log under its timeline: the definition of what the platform must have done.

Never: I/O of its own; records, timeline, scores and explanations come in as arguments.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from ray_fraud.domain.explanation import Explain
from ray_fraud.domain.observed import Effects
from ray_fraud.domain.partition import PartitionState
from ray_fraud.domain.record import Record
from ray_fraud.domain.scores import Scores
from ray_fraud.domain.split import Split
from ray_fraud.domain.timeline import ControlEvent

Score = Callable[[Split, NDArray[np.int64], NDArray[np.float32]], Scores | None]
"""(split, user ids (n,), features (n, len(FEATURES))) to n scores, or None if the split has no arms."""


def replay(
    records: Iterable[Record],
    timeline: Sequence[ControlEvent],
    state: PartitionState,
    score: Score,
    batch_records: int = 500,
    explain: Explain | None = None,
) -> Iterator[Effects]:
    """Yields the effects of `records` in order, one micro-batch at a time, and moves `state` along.

    `timeline` holds the events that `state` does not know yet. The effects and the final state do not depend
    on `batch_records`.

    Raises:
        TimelineError: an event of `timeline` lies below the state's next offset, or is damaged.
        FoldVersionError: the log goes on under another fold version.
        OffsetOrderError: `records` go back.
    """
    for event in timeline:
        state.extend_timeline(event)
    source = iter(records)
    while batch := list(islice(source, batch_records)):
        while batch:
            observed = state.observe(batch)
            scores = score(observed.split, observed.user_ids, observed.features)
            yield state.decide(observed, scores, explain)
            batch = [record for record in batch if record.offset >= observed.next_offset]
