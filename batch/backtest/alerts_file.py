"""The alerts of a backtest's test as a Parquet file, under the uids that the hot path would give them.

Never: an alert of a pattern, which is about no single transaction.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from batch.backtest.history import History
from batch.backtest.job import Backtested
from ray_fraud.domain.alert import RuleName, alert_uid
from ray_fraud.domain.feature_tables import Bools, Floats

SCHEMA: pa.Schema = pa.schema(
    [
        pa.field("alert_uid", pa.string(), nullable=False),
        pa.field("rule_name", pa.string(), nullable=False),
        pa.field("transaction_id", pa.string(), nullable=False),
        pa.field("user_id", pa.int64(), nullable=False),
        pa.field("event_time", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("amount", pa.float64(), nullable=False),
        pa.field("fraud", pa.bool_(), nullable=False),
        pa.field("model", pa.string()),
        pa.field("score", pa.float64()),
    ]
)
_COPIED = ("transaction_id", "user_id", "amount", "fraud")


def write_alerts(file: Path, history: History, done: Backtested) -> None:
    """Writes them, by rule and model, each in order of event time.

    Raises:
        OSError: the file cannot be written.
    """
    pq.write_table(alerts_of(history, done), file)


def alerts_of(history: History, done: Backtested) -> pa.Table:
    """The rows of `SCHEMA`."""
    judged = history.rows.filter(pa.array(done.test))
    parts = [
        _alerts(judged, rule, done.outcome.broke(rule)[done.test], None, None)
        for rule in (RuleName.HIGH_AMOUNT, RuleName.GEO_VELOCITY)
    ]
    parts += [
        _alerts(judged, RuleName.ML_ANOMALY, scores > each.threshold, each.model.manifest.label, scores)
        for each, scores in zip(done.models, done.scores, strict=True)
    ]
    return pa.concat_tables(parts)


def _alerts(
    judged: pa.Table, rule: RuleName, hit: Bools, model: str | None, scores: Floats | None
) -> pa.Table:
    rows = judged.filter(pa.array(hit))
    names = zip(
        rows["transaction_id"].to_pylist(),
        rows["user_id"].to_pylist(),
        rows["payload_digest"].to_pylist(),
        strict=True,
    )
    count = rows.num_rows
    columns = {name: rows[name] for name in _COPIED} | {
        "alert_uid": [str(alert_uid(transaction, user, rule, digest)) for transaction, user, digest in names],
        "rule_name": pa.repeat(rule.value, count),
        "event_time": rows["record_time"],
        "model": pa.repeat(pa.scalar(model, pa.string()), count),
        "score": pa.nulls(count, pa.float64()) if scores is None else pa.array(scores[hit]),
    }
    return pa.table(columns).select(SCHEMA.names).cast(SCHEMA)
