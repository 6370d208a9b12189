"""Users' habits day by day, by one query of DuckDB over the Delta table's files.

Never: today's transactions, which the user's own state knows; more memory than is allowed.
"""

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ray_fraud.domain.daily_habits import DailyHabits, PlaceDays
from ray_fraud.domain.feature_tables import HOURS, Ints, ProfileTable
from ray_fraud.domain.windows import DAY_MS

MEMORY = "1GB"
COLUMNS = ("user_id", "amount", "event_time", "lat", "lon")
"""What has to be read of the table."""
_DAY = f"epoch_ms(event_time) // {DAY_MS}"
_HOURS = ", ".join(f"count(*) FILTER (WHERE hour = {hour})::INTEGER" for hour in range(HOURS))
_HABITS = f"""
SELECT user_id, day, count(*) AS count, avg(amount) AS mean, var_pop(amount) * count(*) AS squares,
    max(amount) AS largest, [{_HOURS}] AS hours,
    map_entries(histogram(place) FILTER (WHERE place IS NOT NULL)) AS places
FROM (
    SELECT user_id, {_DAY} AS day, amount, hour(event_time AT TIME ZONE 'UTC') AS hour,
        CASE WHEN lat IS NOT NULL AND lon IS NOT NULL AND NOT (lat = 0 AND lon = 0)
            THEN {{'lat': round(lat, 1), 'lon': round(lon, 1)}} END AS place
    FROM rows
)
GROUP BY user_id, day ORDER BY user_id, day
"""  # noqa: S608 - only numbers of ours are in it
"""A place is a tenth of a degree, about 11 km; lat = lon = 0 means "unknown" and is none."""


def daily_habits(rows: "pa.Table | pa.RecordBatchReader | object") -> DailyHabits:
    """The habits of each day that there are rows of. `rows`: `COLUMNS`; read once."""
    with duckdb.connect(":memory:") as engine:
        engine.execute(f"SET memory_limit = '{MEMORY}'")
        engine.execute("SET threads = 1")
        engine.execute("SET enable_external_access = false")
        engine.execute("SET enable_progress_bar = false")  # It would go to stdout, among the results.
        engine.execute("SET TimeZone = 'UTC'")
        engine.register("rows", rows)
        table: pa.Table = engine.sql(_HABITS).to_arrow_table()
    return _habits(table.combine_chunks())


def profiles_of(
    rows: "pa.Table | pa.RecordBatchReader | object", from_day: int, until_day: int
) -> ProfileTable:
    """The profiles of `[from_day, until_day)`, of users with enough rows. `rows`: `COLUMNS`; read once."""
    return daily_habits(rows).profiles(from_day, until_day)


def _habits(table: pa.Table) -> DailyHabits:
    users, days = _ints(table, "user_id"), _ints(table, "day")
    hours = pc.list_flatten(table["hours"]).to_numpy().astype(np.int32, copy=False).reshape(-1, HOURS)
    rows = pc.list_parent_indices(table["places"]).to_numpy()
    entries = pc.list_flatten(table["places"]).combine_chunks()
    place, counts = entries.field("key"), entries.field("value")
    return DailyHabits(
        users,
        days,
        _ints(table, "count"),
        table["mean"].to_numpy(),
        table["squares"].to_numpy(),
        table["largest"].to_numpy(),
        hours,
        PlaceDays(
            users[rows],
            days[rows],
            place.field("lat").to_numpy(zero_copy_only=False),
            place.field("lon").to_numpy(zero_copy_only=False),
            counts.to_numpy(zero_copy_only=False).astype(np.int64),
        ),
    )


def _ints(table: pa.Table, name: str) -> Ints:
    values: Ints = table[name].to_numpy().astype(np.int64, copy=False)
    return values
