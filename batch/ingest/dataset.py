"""The slices of a plan as a Ray Data dataset: read, decode, write files, tell about them.

    KafkaSlices (one read task per slice) → rows → write_block → one row per written block

Rows never pass the driver. Tasks run in worker processes of their own, with low priority.

Never: `ray.data.read_kafka` (it needs another client, and hangs on transaction markers).
"""

from collections.abc import Iterable, Iterator
from functools import partial

import msgspec
import pyarrow as pa
import ray.data
from ray.data import DataContext, Datasource, ReadTask
from ray.data.block import BlockMetadata

from batch.ingest.config import IngestConfig
from batch.ingest.manifest import Written, write_rows
from batch.ingest.plan import Slice
from batch.ingest.read import read_slice
from batch.ray_data import few_tasks, quiet_ray_data
from ray_fraud.stores.connections import from_json, to_json
from ray_fraud.stores.log.kafka_reader import KafkaLogReader
from ray_fraud.stores.partition_facts import decoder_of
from ray_fraud.stores.tables.delta import DeltaTransactions

BYTES_PER_ROW = 250
"""In memory, roughly; Ray Data plans its buffers by it."""
_WRITTEN = "written"


class KafkaSlices(Datasource):
    """One read task per slice of the log."""

    def __init__(self, config: IngestConfig, slices: Iterable[Slice]) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # Ray Data's
        self._config = to_json(config)
        self._slices = list(slices)

    def estimate_inmemory_data_size(self) -> int:
        return sum(piece.to_offset - piece.from_offset for piece in self._slices) * BYTES_PER_ROW

    def get_read_tasks(
        self,
        parallelism: int,  # noqa: ARG002 - a slice is a task, however many Ray Data would like
        per_task_row_limit: int | None = None,
        data_context: DataContext | None = None,  # noqa: ARG002
    ) -> list[ReadTask]:
        return [
            ReadTask(partial(_read, self._config, piece), self._metadata(piece), None, per_task_row_limit)
            for piece in self._slices
        ]

    def _metadata(self, piece: Slice) -> BlockMetadata:
        rows = piece.to_offset - piece.from_offset
        return BlockMetadata(
            num_rows=rows, size_bytes=rows * BYTES_PER_ROW, input_files=None, exec_stats=None
        )


def _read(packed: bytes, piece: Slice) -> Iterator[pa.Table]:
    """One slice as one block."""
    config = from_json(packed, IngestConfig)
    reader = KafkaLogReader(config.connections.kafka, config.connections.topics.transactions, piece.partition)
    try:
        parts = list(read_slice(reader, piece, decoder_of(config.connections), config.settings))
    finally:
        reader.close()
    yield pa.concat_tables(parts)


def _write_block(rows: pa.Table, packed: bytes) -> pa.Table:
    config = from_json(packed, IngestConfig)
    written = write_rows(DeltaTransactions(config.connections.lake), rows)
    return pa.table({_WRITTEN: [msgspec.json.encode(one) for one in written]})


def read_and_write(config: IngestConfig, slices: list[Slice]) -> Iterator[Written]:
    """Reads and writes all slices; what was written, as it comes. Needs a connection to Ray.

    Raises:
        RayError: a task failed; its cause is the store's own error.
    """
    quiet_ray_data()
    # The same resources for both, so that Ray Data makes one task of reading a slice and writing it.
    resources = few_tasks(config.tasks, len(slices))
    dataset = ray.data.read_datasource(
        KafkaSlices(config, slices), override_num_blocks=len(slices), **resources
    ).map_batches(
        partial(_write_block, packed=to_json(config)),
        batch_size=None,
        batch_format="pyarrow",
        zero_copy_batch=True,
        **resources,
    )
    for row in dataset.iter_rows():
        yield msgspec.json.decode(row[_WRITTEN], type=Written)
