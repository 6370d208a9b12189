"""The slices of a plan by Ray Data: a task per slice reads, decodes, writes files, and tells about them.

Rows never pass the driver. Tasks run in worker processes of their own, with low priority.

Never: `ray.data.read_kafka` (it needs another client, and hangs on transaction markers).
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import msgspec
import pyarrow as pa

from batch.ingest.config import IngestConfig
from batch.ingest.manifest import Written, write_rows
from batch.ingest.plan import Slice
from batch.ingest.read import read_slice
from batch.ray_data import answers_of
from ray_fraud.stores.connections import from_json, to_json
from ray_fraud.stores.log.kafka_reader import KafkaLogReader
from ray_fraud.stores.partition_facts import deciding_decoder
from ray_fraud.stores.tables.delta import DeltaTransactions
from ray_fraud.stores.text_users.postgres import PostgresTextUsers


def read_and_write(config: IngestConfig, slices: Sequence[Slice]) -> Iterator[Written]:
    """Reads and writes all slices; what was written, as it comes. Needs a connection to Ray.

    Raises:
        StoreError: a task's own, or `StoreUnavailable` if tasks died however often they were repeated.
    """
    return written_by(partial(one_slice, packed=to_json(config)), slices, config.tasks)


def written_by(work: Callable[[Slice], bytes], slices: Sequence[Slice], tasks: int) -> Iterator[Written]:
    """What `work`, in worker processes, says that it wrote; see `read_and_write`."""
    for answer in answers_of(work, slices, tasks):
        yield from msgspec.json.decode(answer, type=list[Written])


def one_slice(piece: Slice, packed: bytes) -> bytes:
    """In a worker process: one slice, from the log to its files."""
    config = from_json(packed, IngestConfig)
    reader = KafkaLogReader(config.connections.kafka, config.connections.topics.transactions, piece.partition)
    register = PostgresTextUsers(config.connections.postgres)
    try:
        decoder = deciding_decoder(config.connections, register)
        parts = list(read_slice(reader, piece, decoder, config.settings, register=register))
        leader_epoch = reader.leader_epoch()
    finally:
        reader.close()
        register.close()
    table, partitions = DeltaTransactions(config.connections.lake), config.connections.topics.partitions
    return msgspec.json.encode(write_rows(table, pa.concat_tables(parts), partitions, leader_epoch))
