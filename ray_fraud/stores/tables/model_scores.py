"""How the live versions scored lately: figures of table `scores`, without its rows.

Never: a change of the table; all rows in memory at once (DuckDB counts as it reads).
"""

from datetime import UTC, datetime

from ray_fraud.domain.live_comparison import BINS, ModelScores
from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.tables.feature_columns import SCORES
from ray_fraud.stores.tables.lake_tables import present_tables
from ray_fraud.stores.tables.period import newest_event_ms
from ray_fraud.stores.tables.query import query

QUANTILES = (0.5, 0.9, 0.99, 0.999)
_NAMES = ("p50", "p90", "p99", "p999")
_MOST_VERSIONS = 10_000


def model_scores(location: LakeLocation, span_ms: int) -> dict[str, ModelScores]:
    """Figures by `name:version` of the rows whose event time lies within `span_ms` of the newest one.

    Whatever the time is now: of a history that is replayed, its last days. Empty if no batch has scored
    anything yet.

    Raises:
        StoreError: the lake does not answer.
    """
    if SCORES not in present_tables(location):
        return {}
    newest_ms = newest_event_ms(location, SCORES)
    if newest_ms is None:
        return {}
    since_ms = max(0, newest_ms + 1 - span_ms)
    since = datetime.fromtimestamp(since_ms // 1000, UTC)
    # Both are whole numbers and dates of our own; the date lets files be skipped.
    where = f"event_date >= DATE '{since:%Y-%m-%d}' AND epoch_ms(event_time) >= {since_ms:d}"
    bins = ", ".join(f"count(*) FILTER (WHERE bin = {index})" for index in range(BINS))
    statement = f"""
        SELECT model, count(*), count(*) FILTER (WHERE live), count(*) FILTER (WHERE anomaly), avg(score),
            quantile_disc(score, {list(QUANTILES)}), [{bins}]
        FROM (
            SELECT *, greatest(0, least({BINS - 1}, floor(score * {BINS})))::integer AS bin
            FROM {SCORES} WHERE {where}
        ) AS binned
        GROUP BY model ORDER BY model
    """  # noqa: S608
    found = query(location, statement, None, _MOST_VERSIONS)
    return {
        model: ModelScores(
            model, rows, live, anomalies, mean, dict(zip(_NAMES, quantiles, strict=True)), tuple(histogram)
        )
        for model, rows, live, anomalies, mean, quantiles, histogram in found.rows
    }
