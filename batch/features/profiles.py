"""Users' habits over the completed days of the lake, by one query of DuckDB over the Delta table's files.

Never: today's transactions, which the user's own state knows; more memory than is allowed.
"""

import duckdb
import numpy as np
import pyarrow as pa

from ray_fraud.domain.feature_tables import HOURS, MIN_PROFILE, ProfileTable

MEMORY = "1GB"
COLUMNS = ("user_id", "amount", "event_time", "lat", "lon")
"""What has to be read of the table."""
_HOURS = ", ".join(f"count(*) FILTER (WHERE hour = {hour})::INTEGER" for hour in range(HOURS))
_PROFILES = f"""
SELECT user_id, count(*) AS count,
    avg(amount) AS mean, stddev_pop(amount) AS deviation, max(amount) AS largest,
    [{_HOURS}] AS hours,
    mode(place) FILTER (WHERE place IS NOT NULL) AS home
FROM (
    SELECT user_id, amount, hour(event_time AT TIME ZONE 'UTC') AS hour,
        CASE WHEN lat IS NOT NULL AND lon IS NOT NULL
            THEN {{'lat': round(lat, 1), 'lon': round(lon, 1)}} END AS place
    FROM rows
)
GROUP BY user_id HAVING count(*) >= {MIN_PROFILE} ORDER BY user_id
"""  # noqa: S608 - only numbers of ours are in it
"""The home is the tenth of a degree (about 11 km) where the user was most often."""


def profiles_of(rows: "pa.Table | pa.RecordBatchReader | object") -> ProfileTable:
    """The profiles of all users with enough rows. `rows`: `COLUMNS` of the days that count."""
    with duckdb.connect(":memory:") as engine:
        engine.execute(f"SET memory_limit = '{MEMORY}'")
        engine.execute("SET threads = 1")
        engine.execute("SET enable_external_access = false")
        engine.execute("SET TimeZone = 'UTC'")
        engine.register("rows", rows)
        table: pa.Table = engine.sql(_PROFILES).to_arrow_table()
    return _profiles(table.combine_chunks())


def _profiles(table: pa.Table) -> ProfileTable:
    homes = table["home"].to_pylist()
    hours = np.array(table["hours"].to_pylist(), np.int32).reshape(-1, HOURS)
    return ProfileTable(
        table["user_id"].to_numpy(),
        table["count"].to_numpy().astype(np.int64),
        table["mean"].to_numpy(),
        table["deviation"].to_numpy(),
        table["largest"].to_numpy(),
        hours,
        np.array([np.nan if home is None else home["lat"] for home in homes], np.float64),
        np.array([np.nan if home is None else home["lon"] for home in homes], np.float64),
    )
