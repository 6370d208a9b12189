"""An ingest in a process that kills itself at one step of its work on the lake: SIGKILL, before or after it.

Never: a step that is only imagined; the table is a real Delta table, the log a real Kafka.
"""

import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from batch.ingest.config import IngestConfig
from batch.ingest.job import Ingest, IngestReport
from batch.ingest.manifest import Written, write_rows
from batch.ingest.plan import Slice
from batch.ingest.read import read_slice
from batch.ingest.run import log_bounds, log_cut_offs
from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.connections import from_json
from ray_fraud.stores.log.kafka_reader import KafkaLogReader
from ray_fraud.stores.partition_facts import decoder_of
from ray_fraud.stores.tables.delta import DeltaTransactions, DeltaView
from ray_fraud.stores.tables.port import Append, DataFile, LogGapRow, LogPlace, Quarantined
from ray_fraud.stores.tables.take_back import TakenBack

T = TypeVar("T")
NEVER = -1


class DeadlyTable:
    """The real table; at half-step `kill_at` (two of each step: before, after) the process dies."""

    def __init__(self, table: DeltaTransactions, kill_at: int) -> None:
        self._table = table
        self._kill_at = kill_at
        self.half_steps = 0

    def _step(self, action: Callable[[], T]) -> T:
        self._pass()
        result = action()
        self._pass()
        return result

    def _pass(self) -> None:
        if self.half_steps == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.half_steps += 1

    def create(self) -> None:
        self._step(self._table.create)

    def view(self) -> DeltaView:
        return self._step(self._table.view)

    def write_files(self, rows: pa.Table) -> list[DataFile]:
        return self._step(lambda: self._table.write_files(rows))

    def append(self, append: Append) -> int:
        return self._step(lambda: self._table.append(append))

    def record_gaps(self, gaps: Sequence[LogGapRow]) -> list[LogGapRow]:
        return self._step(lambda: self._table.record_gaps(gaps))

    def take_back(self, partition: PartitionId, to: LogPlace) -> TakenBack | None:
        return self._step(lambda: self._table.take_back(partition, to))

    def recent(self, columns: Sequence[str], span_ms: int) -> pa.Table:
        return self._table.recent(columns, span_ms)

    def quarantine(self, rows: Sequence[Quarantined]) -> list[Quarantined]:
        return self._table.quarantine(rows)

    def quarantined(self) -> list[Quarantined]:
        return self._table.quarantined()

    def gaps(self) -> list[LogGapRow]:
        return self._table.gaps()


def ingest(config: IngestConfig, kill_at: int = NEVER) -> tuple[IngestReport, int]:
    """One ingest in this process, without Ray; what it did and how many half-steps it took."""
    table = DeadlyTable(DeltaTransactions(config.connections.lake), kill_at)

    def read_and_write(slices: list[Slice]) -> Iterable[Written]:
        for piece in slices:
            yield from _one(config, table, piece)

    job = Ingest(
        config,
        table,
        lambda: log_bounds(config),
        read_and_write,
        cut_offs=lambda places: log_cut_offs(config, places),
    )
    return job.run(), table.half_steps


def _one(config: IngestConfig, table: DeadlyTable, piece: Slice) -> Iterator[Written]:
    connections = config.connections
    with closing(
        KafkaLogReader(connections.kafka, connections.topics.transactions, piece.partition)
    ) as reader:
        for rows in read_slice(reader, piece, decoder_of(connections), config.settings):
            yield from write_rows(table, rows, leader_epoch=reader.leader_epoch())


def main(config_file: str, kill_at: int) -> None:
    """What the process runs."""
    ingest(from_json(Path(config_file).read_bytes(), IngestConfig), kill_at)
