"""Labelled rows from the lake: features as they were known at each moment, labels by the one rule.

Never: a transaction whose label may still come, judged or not (see `ray_fraud.domain.known_labels`).
"""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batch.training.labelled import Ints, LabelledRows, Rows32
from batch.training.sampler import LabelledSample
from ray_fraud.domain.features import FEATURE_NAMES
from ray_fraud.domain.known_labels import KnownLabels
from ray_fraud.stores.tables.columns import IMPORTED

COLUMNS = ("topic_id", "transaction_id", "user_id", "event_time", *FEATURE_NAMES)
"""What has to be read of `ml_features`."""


def labelled_rows(
    tables: Iterable[pa.Table], labels: KnownLabels, max_rows: int, seed: int = 1
) -> LabelledRows:
    """Those rows that have a label; a weighted sample of all their days if they are more than `max_rows`.

    Imported ones are left out: there were no alerts of them, so what nobody judged may be anything, and the
    judged ones by themselves would be frauds without the rest.

    Args:
        tables: `COLUMNS` of rows, in any order, one after the other.
        labels: what was known when, and of what.
        max_rows: bounds memory: about 500 bytes a row, with what is made of them.
        seed: of the sample.
    """
    judged = pa.array({key[0] for key in labels.keys}, pa.string())
    sample = LabelledSample(max_rows, seed)
    for table in tables:
        _offer(sample, table, labels, judged)
    return sample.rows()


def _offer(sample: LabelledSample, table: pa.Table, labels: KnownLabels, judged: pa.Array) -> None:
    event_ms = pc.divide(table["event_time"].cast(pa.int64()), 1_000).to_numpy()
    users = table["user_id"].to_numpy()
    mature = labels.mature(event_ms) & ~pc.starts_with(table["topic_id"], IMPORTED).to_numpy()
    fraud = np.zeros(len(event_ms), np.bool_)
    named = pc.is_in(table["transaction_id"], judged).to_numpy(zero_copy_only=False)
    for row in np.flatnonzero(named & mature).tolist():
        key = table["transaction_id"][row].as_py(), int(users[row])
        fraud[row] = labels.fraud(key, int(event_ms[row]))
    known = np.flatnonzero(mature)

    def features(chosen: Ints) -> Rows32:
        rows = table.take(pa.array(known[chosen]))
        return np.column_stack([_floats(rows[name]) for name in FEATURE_NAMES])

    sample.offer(fraud[known], users[known], event_ms[known], features)


def _floats(column: pa.ChunkedArray) -> "np.typing.NDArray[np.float32]":
    """Null is NaN."""
    values: np.typing.NDArray[np.float32] = column.combine_chunks().to_numpy(zero_copy_only=False)
    return values.astype(np.float32, copy=False)
