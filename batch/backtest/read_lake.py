"""A period of the lake as a history: its rows, and what verdicts say of them by now.

Never: a row twice; a verdict that was taken back.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batch.backtest.history import READ, History, history_of
from batch.backtest.request import BacktestRefused
from batch.training.labelled import Period
from ray_fraud.domain.feature_tables import Bools
from ray_fraud.domain.verdicts import Verdict, labels_at
from ray_fraud.domain.windows import DAY_MS
from ray_fraud.stores.tables.delta import DeltaTransactions
from ray_fraud.stores.verdicts.port import Verdicts

VERDICTS_READ = 10_000
"""At a time."""
_ORDER = ("topic_id", "partition", "offset")
_US_PER_MS = 1_000


def read_lake(
    table: DeltaTransactions, verdicts: Verdicts, period: Period, now_ms: int, maturity_ms: int
) -> History:
    """The rows with event times in the period; fraud is what verdicts known by now call so.

    What is younger than `maturity_ms`, by the newest event, is left out: of it only alerts are judged,
    and what nobody judged yet would count as legitimate.

    Raises:
        BacktestRefused: the period has no row that is old enough.
        StoreError: lake or PostgreSQL do not answer.
    """
    until_day = -(-period.until_ms // DAY_MS)
    columns = tuple(dict.fromkeys((*_ORDER, *READ)))
    scanner = table.rows_of_days(period.from_ms // DAY_MS, until_day, columns)
    rows = scanner.to_table()  # type: ignore[attr-defined]  # Arrow's scanner, of which there are no types
    event_ms = pc.divide(rows["event_time"].cast(pa.int64()), _US_PER_MS)
    newest_ms = max(table.newest_ms() or 0, pc.max(event_ms).as_py() or 0)
    until_ms = min(period.until_ms, newest_ms - maturity_ms + 1)
    within = pc.and_(pc.greater_equal(event_ms, period.from_ms), pc.less(event_ms, until_ms))
    rows = rows.filter(within).sort_by([(name, "ascending") for name in _ORDER])
    if not rows.num_rows:
        raise BacktestRefused(
            "the lake has no row in this period whose label is known: younger ones than the label delay are "
            "left out; see `lake query` for what it has"
        )
    return history_of(rows, frauds_among(rows, all_verdicts(verdicts), now_ms))


def all_verdicts(verdicts: Verdicts) -> list[Verdict]:
    """All that were ever given, in their order.

    Raises:
        StoreError: PostgreSQL does not answer.
    """
    found: list[Verdict] = []
    while new := verdicts.since(found[-1].number if found else 0, VERDICTS_READ):
        found += new
    return found


def frauds_among(rows: pa.Table, verdicts: list[Verdict], now_ms: int) -> Bools:
    """Which rows are known as fraud by now, shape (rows,)."""
    frauds = {key for key, label in labels_at(verdicts, now_ms).items() if label.fraud}
    names = pa.array({transaction_id for transaction_id, _ in frauds}, pa.string())
    found = np.zeros(rows.num_rows, np.bool_)
    for row in np.flatnonzero(pc.is_in(rows["transaction_id"], names).to_numpy()).tolist():
        found[row] = (rows["transaction_id"][row].as_py(), rows["user_id"][row].as_py()) in frauds
    return found
