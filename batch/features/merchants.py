"""The history of merchants with a known fraud, by one query of DuckDB over the lake's rows and the labels.

Never: a label that is not among those given; all rows of a merchant in memory (the newest that count are).
"""

from collections.abc import Iterable, Mapping
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from ray_fraud.domain.merchant_history import MAX_RUN, MerchantHistory
from ray_fraud.domain.verdicts import Verdict

MEMORY = "1GB"
COLUMNS = ("transaction_id", "user_id", "merchant_id", "event_time")
"""What has to be read of the table."""
Key = tuple[str, int]
"""(transaction id, user id)"""
_NOT_THERE: dict[str, Any] = {"daily": (), "newest": ()}
"""A merchant that the lake does not know yet."""

_EVENT_MS = "epoch_ms(event_time)"
_HISTORY = f"""
SELECT merchant_id,
    histogram({_EVENT_MS} // 86400000) AS daily,
    max(({_EVENT_MS}, transaction_id, user_id, coalesce(fraud, false)), {MAX_RUN})
        FILTER (WHERE fraud IS NOT NULL OR {_EVENT_MS} <= $mature_ms) AS newest
FROM rows JOIN suspects USING (merchant_id) LEFT JOIN labels USING (transaction_id, user_id)
WHERE {_EVENT_MS} <= $as_of_ms
GROUP BY merchant_id ORDER BY merchant_id
"""  # noqa: S608 - only numbers of ours are in it
_PLACES = f"""
SELECT transaction_id, user_id, any_value(merchant_id), min({_EVENT_MS})
FROM rows SEMI JOIN wanted USING (transaction_id, user_id) GROUP BY ALL
"""  # noqa: S608


def merchant_history(
    rows: object,
    labels: Mapping[Key, Verdict],
    frauds: Mapping[Key, tuple[str, int]],
    as_of_ms: int,
    maturity_ms: int,
) -> MerchantHistory:
    """What the lake's rows and the labels say about merchants.

    Args:
        rows: `COLUMNS` of the days that count, as something of Arrow that DuckDB reads.
        labels: of all transactions that are known as one or the other.
        frauds: (merchant, event time in unix milliseconds) of those that are known as fraud; the lake may not
            have the newest of them yet.
        as_of_ms, maturity_ms: see `MerchantHistory.table_at`; later rows do not count.
    """
    suspects = {merchant for merchant, _ in frauds.values()}
    named = pa.table({"merchant_id": pa.array(sorted(suspects), pa.string())})
    with _engine({"rows": rows, "suspects": named, "labels": _label_rows(labels)}) as engine:
        found = engine.sql(
            _HISTORY, params={"mature_ms": as_of_ms - maturity_ms, "as_of_ms": as_of_ms}
        ).to_arrow_table()
    return _history({row["merchant_id"]: row for row in found.to_pylist()}, frauds)


def places_of(rows: object, keys: Iterable[Key]) -> dict[Key, tuple[str | None, int]]:
    """(merchant, event time in unix milliseconds) of those transactions that are among the rows."""
    ids, users = zip(*keys, strict=True)
    wanted = pa.table({"transaction_id": pa.array(ids, pa.string()), "user_id": pa.array(users, pa.int64())})
    with _engine({"rows": rows, "wanted": wanted}) as engine:
        return {(row[0], row[1]): (row[2], row[3]) for row in engine.sql(_PLACES).fetchall()}


def _engine(tables: Mapping[str, object]) -> duckdb.DuckDBPyConnection:
    engine = duckdb.connect(":memory:")
    engine.execute(f"SET memory_limit = '{MEMORY}'")
    engine.execute("SET threads = 1")
    engine.execute("SET enable_external_access = false")
    engine.execute("SET enable_progress_bar = false")  # It would go to stdout, among the results.
    engine.execute("SET TimeZone = 'UTC'")
    for name, table in tables.items():
        engine.register(name, table)
    return engine


def _label_rows(labels: Mapping[Key, Verdict]) -> pa.Table:
    return pa.table(
        {
            "transaction_id": pa.array([key[0] for key in labels], pa.string()),
            "user_id": pa.array([key[1] for key in labels], pa.int64()),
            "fraud": pa.array([label.fraud for label in labels.values()], pa.bool_()),
        }
    )


def _history(found: Mapping[str, dict[str, Any]], frauds: Mapping[Key, tuple[str, int]]) -> MerchantHistory:
    known: dict[str, dict[Key, tuple[int, bool]]] = {merchant: {} for merchant, _ in frauds.values()}
    for key, (merchant, event_ms) in frauds.items():
        known[merchant][key] = event_ms, True
    merchants = sorted(known)
    days = [day for row in found.values() for day, _ in row["daily"]]
    first_day = min(days, default=0)
    daily = np.zeros((len(merchants), max(days, default=0) - first_day + 1), np.int64)
    starts, events = [0], []
    for index, merchant in enumerate(merchants):
        row = found.get(merchant, _NOT_THERE)
        for day, count in row["daily"]:
            daily[index, day - first_day] = count
        # A fraud that is not among the newest ones still counts in the windows.
        labelled = known[merchant] | dict(map(_labelled, row["newest"] or ()))
        events += [labelled[key] for key in sorted(labelled, key=lambda key: (labelled[key][0], key))]
        starts.append(len(events))
    return MerchantHistory(
        merchants,
        first_day,
        daily,
        np.array(starts, np.int64),
        np.array([event_ms for event_ms, _ in events], np.int64),
        np.array([fraud for _, fraud in events], np.bool_),
    )


def _labelled(row: dict[str, Any]) -> tuple[Key, tuple[int, bool]]:
    """The transaction, and its event time and whether it is fraud."""
    event_ms, transaction_id, user_id, fraud = row.values()
    return (transaction_id, user_id), (event_ms, fraud)
