"""A labelled history as the log that it would have been: rows in order of event time, each with its verdict.

Never: a row that the decoder has not accepted; a verdict used before its time (see `Delays`).
"""

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batch.features.records import COLUMNS
from ray_fraud.domain.feature_tables import Bools, Floats, Ints
from ray_fraud.domain.labelled_past import LabelledPast
from ray_fraud.domain.merchant_history import MerchantHistory
from ray_fraud.domain.windows import DAY_MS

READ = (*COLUMNS, "event_time")
"""Columns of `transactions` that a history is made of."""
FRAUD, EVENT_MS = "fraud", "event_ms"
_US_PER_MS = 1_000
_BY_EVENT = [(name, "ascending") for name in ("merchant", EVENT_MS, "transaction_id", "user_id")]


class Delays(msgspec.Struct, frozen=True):
    """How long after a transaction its verdict counts, milliseconds, each above 0."""

    features_ms: int
    """In the feature tables."""
    training_ms: int
    """As a label: training sees what is known when the test begins."""
    filter_ms: int
    """For leaving compromised cards out of the test."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name}: {getattr(self, name)}, must be at least 1: no verdict comes at once"
                )


@dataclass(frozen=True, eq=False)
class History:
    """n rows in the order of the log: by event time, equal ones as they were read."""

    rows: pa.Table
    """`COLUMNS`, `event_ms` and `fraud`; `offset` is the row's number, the record's time its event time."""

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    @property
    def event_ms(self) -> Ints:
        return _numbers(self.rows, EVENT_MS)

    @property
    def user_ids(self) -> Ints:
        return _numbers(self.rows, "user_id")

    @property
    def amounts(self) -> Floats:
        values: Floats = self.rows["amount"].to_numpy()
        return values

    @property
    def fraud(self) -> Bools:
        values: Bools = self.rows[FRAUD].to_numpy()
        return values


def history_of(rows: pa.Table, fraud: Bools) -> History:
    """The log that accepted rows make.

    Args:
        rows: `READ`, in the order in which they were read.
        fraud: what each is, shape (rows,); a row that nobody called a fraud is none.
    """
    event_ms = pc.divide(rows["event_time"].cast(pa.int64()), _US_PER_MS)
    order = np.argsort(event_ms.to_numpy(), kind="stable")
    known: dict[str, Any] = {name: rows[name] for name in COLUMNS}
    known |= {"record_time": rows["event_time"], EVENT_MS: event_ms, FRAUD: pa.array(fraud)}
    ordered = pa.table(known).take(order).combine_chunks()
    place = ordered.schema.get_field_index("offset")
    return History(ordered.set_column(place, "offset", pa.array(np.arange(len(order)))))


def labelled_past(history: History) -> LabelledPast:
    """What its verdicts say in the end."""
    fraud = history.fraud
    return LabelledPast(_merchants(history), history.user_ids[fraud].copy(), history.event_ms[fraud].copy())


def _merchants(history: History) -> MerchantHistory:
    """Of those with a fraud; records that are equal count once among the labelled ones, as in the lake."""
    rows = history.rows
    names = sorted(set(rows.filter(rows[FRAUD])["merchant_id"].to_pylist()) - {None})
    merchant = pc.index_in(rows["merchant_id"], pa.array(names, pa.string()))
    columns = {name: rows[name] for name in (EVENT_MS, "transaction_id", "user_id", FRAUD)}
    table = pa.table({"merchant": merchant} | columns).filter(pc.is_valid(merchant))
    table = table.sort_by(_BY_EVENT).combine_chunks()
    event_ms, merchants = _numbers(table, EVENT_MS), _numbers(table, "merchant").astype(np.int64)
    days = event_ms // DAY_MS
    first_day = int(days.min()) if len(days) else 0
    width = int(days.max()) - first_day + 1 if len(days) else 1
    daily = np.bincount(merchants * width + (days - first_day), minlength=len(names) * width)
    new = _different(table)
    return MerchantHistory(
        names,
        first_day,
        daily.astype(np.int64).reshape(len(names), width),
        np.searchsorted(merchants[new], np.arange(len(names) + 1)).astype(np.int64),
        event_ms[new],
        table[FRAUD].to_numpy()[new],
    )


def _different(table: pa.Table) -> Ints:
    """Positions of the rows that differ from the one before."""
    count = table.num_rows
    if count < 2:
        return np.arange(count)
    same = None
    for name, _ in _BY_EVENT:
        equal = pc.equal(table[name].slice(1), table[name].slice(0, count - 1))
        same = equal if same is None else pc.and_(same, equal)
    return np.flatnonzero(np.append(True, ~pa.chunked_array(same).to_numpy()))


def _numbers(table: pa.Table, name: str) -> Ints:
    values: Ints = table[name].to_numpy()
    return values
