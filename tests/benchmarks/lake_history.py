"""A history that the lake has before a benchmark begins, as the ingest writes it.

Never: written by the process that is measured (what a process had once of memory it may keep).
"""

import multiprocessing
import uuid
from collections.abc import Callable
from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ray_fraud.domain.payload import PAYLOAD_DIGEST_BYTES
from ray_fraud.domain.record import PartitionId
from ray_fraud.generator.stream import StreamSettings
from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.tables.columns import SCHEMA
from ray_fraud.stores.tables.delta import DeltaTransactions
from ray_fraud.stores.tables.port import Append, ReadRange
from tests.batch.pattern_quality import history

TIMEOUT_SECONDS = 900.0
PARTITION = PartitionId("history-cluster", "history-topic", 0)
TOPIC = "history"
"""Not the platform's, so no job takes it for a stretch of its own."""


def append_history(location: LakeLocation, table: pa.Table, commit_rows: int) -> None:
    """Rows with what pattern rules look at, in order of time, in commits; all else is made up or absent."""
    target = DeltaTransactions(location)
    target.create()
    ordered = table.take(np.argsort(table["event_time"].cast(pa.int64()).to_numpy(), kind="stable"))
    for begin in range(0, ordered.num_rows, commit_rows):
        part = ordered.slice(begin, commit_rows)
        end = begin + part.num_rows
        files = target.write_files(_whole_rows(part, begin))
        read = ReadRange(PARTITION, TOPIC, begin, end, part.num_rows, {}, 0)
        target.append(Append(uuid.uuid4().hex, [read], files))


def _whole_rows(part: pa.Table, begin: int) -> pa.Table:
    offsets = np.arange(begin, begin + part.num_rows)
    full = {field.name: pa.nulls(part.num_rows, field.type) for field in SCHEMA}
    full |= {name: part[name] for name in part.column_names}
    full |= {
        "topic_id": pa.array([PARTITION.topic_id] * part.num_rows),
        "partition": pa.array(np.full(part.num_rows, PARTITION.partition, np.int32)),
        "offset": pa.array(offsets),
        "record_time": part["event_time"],
        "timestamp": pa.array(part["event_time"].cast(pa.int64()).to_numpy() / 1e6),
        "transaction_id": pa.array([f"transaction-{offset:020}" for offset in offsets.tolist()]),
        "payload_digest": pa.array([_digest(offset) for offset in offsets.tolist()]),
        "event_date": part["event_time"].cast(pa.date32()),
    }
    return pa.table(full).cast(SCHEMA)


def _digest(offset: int) -> bytes:
    """As evenly spread, and as little compressible, as those of real payloads."""
    return blake2b(b"%d" % offset, digest_size=PAYLOAD_DIGEST_BYTES).digest()


def append_stream(url: str, settings: StreamSettings, commit_rows: int, later_us: int = 0) -> None:
    """A generated stream, all of it `later_us` microseconds later than its settings say."""
    table = history(settings).table
    at = table.schema.get_field_index("event_time")
    moved = pc.add(table["event_time"], pa.scalar(later_us, pa.duration("us")))
    append_history(LakeLocation(url), table.set_column(at, "event_time", moved), commit_rows)


def in_a_process(work: Callable[..., None], *arguments: object) -> None:
    """Does the work in a process that is gone afterwards.

    Raises:
        RuntimeError: it failed, or took too long.
    """
    child = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    child.start()
    child.join(TIMEOUT_SECONDS)
    if child.exitcode != 0:
        child.kill()
        raise RuntimeError(f"the history was not written: exit code {child.exitcode}")
