"""What care of the lake is worth: `python -m tests.benchmarks.lake_care`.

Fills a table with days of many small ingests of as many users, and asks for one user's transactions as it is,
after compaction, and after sorting by user: files, bytes, seconds of the care itself and of the query, once
through `ray-fraud lake query`'s engine and once through plain pyarrow, as pattern rules and training read.

Each query is asked a few times, and the median counts; files come from the page cache, so what differs is
work, not disks. On object storage each file that is opened costs a request more.

Never: a verdict.
"""

import shutil
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import click
import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
from rich.table import Table

from ray_fraud.cli.output import Output, output_option, progress, show
from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.tables.care import TableCare
from ray_fraud.stores.tables.columns import SCHEMA, TRANSACTIONS
from ray_fraud.stores.tables.dataset import table_dataset
from ray_fraud.stores.tables.delta import DeltaTransactions
from ray_fraud.stores.tables.lake_tables import open_table
from ray_fraud.stores.tables.port import Append, ReadRange
from ray_fraud.stores.tables.query import query

PARTITION = PartitionId("benchmark", "benchmark", 0)
FIRST_DAY = date(2026, 11, 1)
REPEATS = 5


class State(msgspec.Struct, frozen=True):
    name: str
    files: int
    bytes: int
    care_seconds: float
    query_seconds: float
    """SQL for one user's rows, all columns."""
    scan_seconds: float
    """The same rows through an Arrow dataset."""
    count_seconds: float
    """SQL for the sum of all amounts: what reads everything anyway."""


class Measured(msgspec.Struct, frozen=True):
    rows: int
    users: int
    states: list[State]


def made_rows(rng: np.random.Generator, begin: int, count: int, users: int, day: date) -> pa.Table:
    """Rows of random users in the order of their times."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
    seconds = np.round(start + np.sort(rng.uniform(0, 86_399, count)), 3)
    times = pa.array((seconds * 1000).round().astype("int64") * 1000).cast(pa.timestamp("us", "UTC"))
    nothing = {field.name: pa.nulls(count, field.type) for field in SCHEMA if field.nullable}
    columns = nothing | {
        "topic_id": pa.repeat("benchmark", count),
        "partition": pa.repeat(pa.scalar(0, pa.int32()), count),
        "offset": pa.array(np.arange(begin, begin + count)),
        "record_time": times,
        "event_time": times,
        "transaction_id": pa.array([uuid.UUID(bytes=rng.bytes(16)).hex for _ in range(count)]),
        "user_id": pa.array(rng.integers(0, users, count)),
        "amount": pa.array(rng.lognormal(3, 1, count).round(2)),
        "timestamp": pa.array(seconds),
        "lat": pa.array(rng.uniform(-60, 60, count)),
        "lon": pa.array(rng.uniform(-180, 180, count)),
        "merchant_id": pa.array([f"m-{number}" for number in rng.integers(0, 5_000, count)]),
        "payload_digest": pa.array([rng.bytes(16) for _ in range(count)], pa.binary()),
        "event_date": pa.repeat(pa.scalar(day), count),
    }
    return pa.table({field.name: columns[field.name] for field in SCHEMA}, schema=SCHEMA)


def fill(table: DeltaTransactions, days: int, ingests: int, rows: int, users: int) -> int:
    """As many commits a day as ingests; how many rows there are."""
    table.create()
    rng = np.random.default_rng(1)
    begin = 0
    for number in range(days):
        for _ in range(ingests):
            files = table.write_files(made_rows(rng, begin, rows, users, FIRST_DAY + timedelta(days=number)))
            read = ReadRange(PARTITION, "benchmark", begin, begin + rows, rows, {}, 0)
            table.append(Append(uuid.uuid4().hex, [read], files))
            begin += rows
    return begin


def median_seconds(action: Callable[[], object]) -> float:
    """Of a few; once before them, for what is only done once."""
    action()
    taken = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        action()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def look(name: str, location: LakeLocation, user: int, care_seconds: float) -> State:
    facts = TableCare(location, TRANSACTIONS).facts()

    def scan() -> int:
        dataset = table_dataset(location, TRANSACTIONS, open_table(location, TRANSACTIONS))
        return int(dataset.to_table(filter=ds.field("user_id") == user).num_rows)

    one = f"select * from transactions where user_id = {int(user)}"  # noqa: S608 - a number
    state = State(
        name,
        facts.files,
        facts.bytes,
        care_seconds,
        median_seconds(lambda: query(location, one, None, 100_000)),
        median_seconds(scan),
        median_seconds(lambda: query(location, "select sum(amount) from transactions", None, 1)),
    )
    progress.print(f"{name}: one user {state.query_seconds * 1000:.0f} ms")
    return state


def cared(location: LakeLocation, *, sort: bool) -> float:
    """Seconds of all rewrites and the checkpoint."""
    care = TableCare(location, TRANSACTIONS)
    began = time.perf_counter()
    for rewrite in care.plan(sort=sort):
        care.rewrite(rewrite, "benchmark")
    care.checkpoint()
    return time.perf_counter() - began


@click.command(help=__doc__)
@click.option("--days", type=click.IntRange(min=2), default=7, show_default=True)
@click.option("--ingests", type=click.IntRange(min=1), default=48, show_default=True, help="A day.")
@click.option("--rows", type=click.IntRange(min=1), default=10_000, show_default=True, help="Of an ingest.")
@click.option("--users", type=click.IntRange(min=1), default=50_000, show_default=True)
@output_option
def main(days: int, ingests: int, rows: int, users: int, output: Output) -> None:
    folder = Path(tempfile.mkdtemp(prefix="ray-fraud-care-"))
    try:
        location = LakeLocation(folder.as_uri())
        total = fill(DeltaTransactions(location), days, ingests, rows, users)
        states = [look("as ingested", location, users // 2, 0.0)]
        states.append(look("compacted", location, users // 2, cared(location, sort=False)))
        states.append(look("sorted by user", location, users // 2, cared(location, sort=True)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    result = Measured(total, users, states)
    show("benchmark lake_care", msgspec.to_builtins(result), output, lambda: _table(result))


def _table(result: Measured) -> Table:
    columns = (
        "state",
        "files",
        "MB",
        "care s",
        "one user, SQL ms",
        "one user, Arrow ms",
        "sum of all, SQL ms",
    )
    table = Table(*columns, title=f"{result.rows:,} rows of {result.users:,} users")
    for one in result.states:
        times = (one.query_seconds, one.scan_seconds, one.count_seconds)
        shown = [f"{seconds * 1000:.0f}" for seconds in times]
        table.add_row(one.name, f"{one.files:,}", f"{one.bytes / 1e6:.1f}", f"{one.care_seconds:.1f}", *shown)
    return table


if __name__ == "__main__":
    sys.exit(main())
