"""Labelled rows from the lake: features as they were known at each moment, labels by the one rule.

Never: a transaction whose label may still come, judged or not (see `ray_fraud.domain.known_labels`).
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batch.training.labelled import LabelledRows
from ray_fraud.domain.features import FEATURE_NAMES
from ray_fraud.domain.known_labels import KnownLabels
from ray_fraud.stores.tables.columns import IMPORTED

COLUMNS = ("topic_id", "transaction_id", "user_id", "event_time", *FEATURE_NAMES)
"""What has to be read of `ml_features`."""


def labelled_rows(tables: Iterable[pa.Table], labels: KnownLabels, max_rows: int) -> LabelledRows:
    """Those rows that have a label, the newest `max_rows` of them.

    Imported ones are left out: there were no alerts of them, so what nobody judged may be anything, and the
    judged ones by themselves would be frauds without the rest.

    Args:
        tables: `COLUMNS` of rows, in any order.
        labels: what was known when, and of what.
        max_rows: bounds memory: 120 bytes a row.
    """
    judged = pa.array({key[0] for key in labels.keys}, pa.string())
    parts = [part for table in tables if len(part := _labelled(table, labels, judged))]
    return _joined(parts, max_rows)


def _labelled(table: pa.Table, labels: KnownLabels, judged: pa.Array) -> LabelledRows:
    event_ms = pc.divide(table["event_time"].cast(pa.int64()), 1_000).to_numpy()
    users = table["user_id"].to_numpy()
    mature = labels.mature(event_ms) & ~pc.starts_with(table["topic_id"], IMPORTED).to_numpy()
    fraud = np.zeros(len(event_ms), np.bool_)
    named = pc.is_in(table["transaction_id"], judged).to_numpy(zero_copy_only=False)
    for row in np.flatnonzero(named & mature).tolist():
        key = table["transaction_id"][row].as_py(), int(users[row])
        fraud[row] = labels.fraud(key, int(event_ms[row]))
    known = np.flatnonzero(mature)
    order = known[np.argsort(event_ms[known], kind="stable")]
    columns = [_floats(table[name])[order] for name in FEATURE_NAMES]
    return LabelledRows(
        np.column_stack(columns) if len(order) else np.empty((0, len(FEATURE_NAMES)), np.float32),
        fraud[order],
        users[order],
        event_ms[order],
    )


def _floats(column: pa.ChunkedArray) -> "np.typing.NDArray[np.float32]":
    """Null is NaN."""
    values: np.typing.NDArray[np.float32] = column.combine_chunks().to_numpy(zero_copy_only=False)
    return values.astype(np.float32, copy=False)


def _joined(parts: Sequence[LabelledRows], max_rows: int) -> LabelledRows:
    if not parts:
        return LabelledRows(
            np.empty((0, len(FEATURE_NAMES)), np.float32),
            np.empty(0, np.bool_),
            np.empty(0, np.int64),
            np.empty(0, np.int64),
        )
    event_ms = np.concatenate([part.event_ms for part in parts])
    order = np.argsort(event_ms, kind="stable")[-max_rows:]
    return LabelledRows(
        np.concatenate([part.features for part in parts])[order],
        np.concatenate([part.fraud for part in parts])[order],
        np.concatenate([part.user_ids for part in parts])[order],
        event_ms[order],
    )
