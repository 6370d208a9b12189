"""Rows of the table for the tests of pattern shards, from short descriptions.

Never: Ray.
"""

import uuid
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batch.patterns.rows import READ
from ray_fraud.domain.feature_tables import HOURS, WEEKDAYS, ProfileTable
from ray_fraud.domain.patterns.settings import (
    CoordinatedSettings,
    FrequencySettings,
    GeographicSettings,
    PatternSettings,
    TemporalSettings,
)
from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.tables.columns import PARTITION_COLUMN, SCHEMA
from ray_fraud.stores.tables.delta import DeltaTransactions
from ray_fraud.stores.tables.port import Append, ReadRange

START_US = 1_788_220_800_000_000


def eager(surprise: float) -> PatternSettings:
    """Finds something nearly everywhere; with a low probability, what is usual for everybody matters."""
    return PatternSettings(
        FrequencySettings(count=4, small_count=3, surprise=surprise),
        GeographicSettings(users=2, windows=2, surprise=surprise),
        TemporalSettings(
            history=2,
            history_days=1e-6,
            unusual_count=2,
            burst_count=3,
            burst_surprise=surprise,
            robot_count=2,
        ),
        CoordinatedSettings(users=2, surprise=surprise),
    )


EAGER = eager(0.9)


def profiles() -> ProfileTable:
    """Users of odd numbers are known to be awake twelve hours before the rows begin, on three weekdays."""
    users = np.arange(1, 40, 2)
    hour = (START_US // 3_600_000_000 + 12) % HOURS
    hours, weekdays = np.zeros((len(users), HOURS), np.int32), np.zeros((len(users), WEEKDAYS), np.int32)
    hours[:, hour] = 42
    weekdays[:, :3] = 14
    counts = np.full(len(users), 42)
    return replace(ProfileTable(), user_ids=users, counts=counts, hours=hours, weekdays=weekdays)


PLACES = ((48.137, 11.575), (52.520, 13.405), (-33.868, 151.209))


class Tx(NamedTuple):
    user: int
    seconds: int
    amount: float = 40.0
    merchant: str | None = None
    device: str | None = None
    place: int | None = None
    """Of `PLACES`."""
    copy_of: str | None = None
    """Records with the same one have the same payload."""


def rows_of_transactions(transactions: Sequence[Tx], first_offset: int = 0) -> pa.Table:
    """In three partitions of two topics, by user; offsets in the order given."""
    made = []
    for number, tx in enumerate(transactions, first_offset):
        content = f"{tx.user}:{tx.copy_of or number}"
        lat, lon = (None, None) if tx.place is None else PLACES[tx.place]
        made.append(
            {
                "user_id": tx.user,
                "event_time": START_US + tx.seconds * 1_000_000,
                "amount": tx.amount,
                "lat": lat,
                "lon": lon,
                "merchant_id": tx.merchant,
                "device_id": tx.device,
                "topic_id": "import:b" if tx.user % 3 == 2 else "topic-a",
                "partition": tx.user % 2,
                "offset": number,
                "record_time": START_US + number,
                "transaction_id": content,
                "payload_digest": blake2b(content.encode(), digest_size=16).digest(),
            }
        )
    schema = pa.schema([SCHEMA.field(name) for name in READ])
    return pa.Table.from_pylist(made, schema=schema)


def append_to_lake(lake: LakeLocation, rows: pa.Table, commits: int) -> DeltaTransactions:
    """The rows, in their order, in so many commits; at least one partition gets further with each."""
    table = DeltaTransactions(lake)
    table.create()
    full = {field.name: pa.nulls(rows.num_rows, field.type) for field in SCHEMA}
    full |= {name: rows[name] for name in rows.column_names}
    full["timestamp"] = pc.divide(rows["event_time"].cast(pa.int64()).cast(pa.float64()), 1e6)
    full[PARTITION_COLUMN] = rows["event_time"].cast(pa.date32())
    whole = pa.table(full).cast(SCHEMA)
    size = -(-rows.num_rows // commits)
    for begin in range(0, rows.num_rows, size):
        part = whole.slice(begin, size)
        last = part.group_by(["topic_id", "partition"]).aggregate([("offset", "min"), ("offset", "max")])
        ranges = [
            ReadRange(
                PartitionId("cluster", row["topic_id"], row["partition"]),
                "transactions",
                row["offset_min"],
                row["offset_max"] + 1,
                0,
                {},
                0,
            )
            for row in last.to_pylist()
        ]
        table.append(Append(uuid.uuid4().hex, ranges, table.write_files(part)))
    return table
